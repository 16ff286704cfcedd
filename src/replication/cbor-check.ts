// Looks at CBOR (RFC 8949) from a stranger before a decoder does: a decoder builds whatever the bytes ask for, such as bignums that take
// seconds, regular expressions, or arrays nested a hundred thousand deep. What passes here is plain and small: integers, floats,
// byte and text strings, arrays, true, false and null, all of definite length. No maps, no tags.

/** Levels of arrays, inclusive. */
export const MAX_CBOR_DEPTH = 4
/** Items in all, inclusive. */
export const MAX_CBOR_ITEMS = 50_000

/** @returns what keeps the bytes from being decoded, as a phrase, or null: they are exactly one plain item. */
export function cborProblem(bytes: Uint8Array): string | null {
  /** Items still to come, per open array. */
  const open: number[] = []
  let at = 0
  for (let items = 0; ; ) {
    if (at >= bytes.length) return 'ends early'
    if (++items > MAX_CBOR_ITEMS) return `has more than ${MAX_CBOR_ITEMS} items`
    const major = bytes[at] >> 5
    const info = bytes[at] & 31
    const extra = info < 24 ? 0 : info <= 27 ? 1 << (info - 24) : -1
    if (extra === -1) return 'has an item of indefinite or unknown length'
    if (at + 1 + extra > bytes.length) return 'ends early'
    const value = info < 24 ? info : unsigned(bytes, at + 1, extra)
    at += 1 + extra
    if (major === 2 || major === 3) {
      if (value > bytes.length - at) return 'has a string that is longer than the rest'
      at += value
    } else if (major === 4 && value > 0) {
      // Each item takes a byte at least.
      if (value > bytes.length - at) return 'has an array that is longer than the rest'
      if (open.length === MAX_CBOR_DEPTH) return `is nested deeper than ${MAX_CBOR_DEPTH}`
      open.push(value)
      continue
    } else if (major === 5) return 'has a map'
    else if (major === 6) return 'has a tag'
    else if (major === 7 && !(info >= 20 && info <= 22) && info !== 26 && info !== 27)
      return 'has an unknown simple value'
    while (open.length > 0 && --open[open.length - 1] === 0) open.pop()
    if (open.length === 0) return at === bytes.length ? null : 'has bytes behind its end'
  }
}

function unsigned(bytes: Uint8Array, at: number, size: number): number {
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + bytes[at + i]
  return value
}
