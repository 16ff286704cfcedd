// The subset of CBOR that frames are made of: a sequence of unsigned integers, text and byte strings in their shortest form (RFC 8949, 4.2.1).
// Flat, so that nothing is built before it has been checked: no nesting, no tags, no indefinite lengths, no floats.

import { isUtf8 } from 'node:buffer'

export type Item = number | string | Uint8Array
/** Items of one body, inclusive. */
export const MAX_ITEMS = 9

const UNSIGNED = 0
const BYTES = 2
const TEXT = 3

/** @returns the items, byte strings as views; null for anything that is not of the subset. */
export function readItems(body: Buffer): Item[] | null {
  const items: Item[] = []
  for (let at = 0; at < body.length; ) {
    if (items.length === MAX_ITEMS) return null
    const major = body[at] >> 5
    const info = body[at++] & 31
    if (info > 27) return null
    const width = info < 24 ? 0 : 1 << (info - 24)
    if (at + width > body.length) return null
    const value = width === 0 ? info : width === 8 ? Number(body.readBigUInt64BE(at)) : body.readUIntBE(at, width)
    at += width
    if (!Number.isSafeInteger(value) || widthOf(value) !== width) return null
    if (major === UNSIGNED) {
      items.push(value)
      continue
    }
    if ((major !== BYTES && major !== TEXT) || value > body.length - at) return null
    const bytes = body.subarray(at, at + value)
    at += value
    if (major === TEXT && !isUtf8(bytes)) return null
    items.push(major === TEXT ? bytes.toString() : bytes)
  }
  return items
}

export function writeItems(items: readonly Item[]): Buffer {
  return Buffer.concat(
    items.flatMap((item) => {
      if (typeof item === 'number') return [head(UNSIGNED, item)]
      const bytes = typeof item === 'string' ? Buffer.from(item) : item
      return [head(typeof item === 'string' ? TEXT : BYTES, bytes.length), bytes]
    }),
  )
}

/** Bytes after the first that the shortest form of `value` takes. */
function widthOf(value: number): number {
  if (value < 24) return 0
  if (value < 2 ** 8) return 1
  if (value < 2 ** 16) return 2
  return value < 2 ** 32 ? 4 : 8
}

function head(major: number, value: number): Buffer {
  const width = widthOf(value)
  const bytes = Buffer.alloc(1 + width)
  bytes[0] = (major << 5) | (width === 0 ? value : 24 + Math.log2(width))
  if (width === 8) bytes.writeBigUInt64BE(BigInt(value), 1)
  else if (width > 0) bytes.writeUIntBE(value, 1, width)
  return bytes
}
