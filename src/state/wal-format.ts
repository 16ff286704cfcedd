// LevelDB's write-ahead log (its doc/log_format.md and write_batch.cc), as wal-check.ts and wal-salvage.ts read it.
//
//   log       = block*                                      of 32 KB, the last one shorter
//   block     = fragment* zeros                             zeros where less than a fragment's header is left
//   fragment  = crc:u32le length:u16le type:u8 payload      crc of type and payload: CRC-32C, "masked"
//   type      = 1 whole record · 2 first part · 3 middle part · 4 last part
//   record    = sequence:u64le count:u32le operation*       a WriteBatch; one is begun only when the one before is synced
//   operation = 1 length key length value · 0 length key    lengths are varint32

import { crc32c } from '../base/crc32c.js'

export const BLOCK_BYTES = 32 * 1024
export const FRAGMENT_HEADER_BYTES = 7
export const RECORD_HEADER_BYTES = 12
export const WHOLE = 1
export const FIRST = 2
export const LAST = 4

export interface WalOperation {
  readonly key: Buffer
  /** null: a deletion. */
  readonly value: Buffer | null
}

/** Where the fragment ends that begins there, as its header says, which may be beyond the block. */
export function fragmentEnd(block: Buffer, at: number): number {
  return at + FRAGMENT_HEADER_BYTES + block.readUInt16LE(at + 4)
}

/** Whether a fragment begins there, lies in the block wholly, and is what was written. */
export function isSoundFragment(block: Buffer, at: number): boolean {
  if (at + FRAGMENT_HEADER_BYTES > block.length) return false
  const type = block[at + 6]
  if (type < WHOLE || type > LAST) return false
  const end = fragmentEnd(block, at)
  return end <= block.length && crc32c(block, at + 6, end) === unmaskedCrc(block.readUInt32LE(at))
}

/** LevelDB stores CRCs rotated and offset, so that a CRC of bytes that hold CRCs stays meaningful. */
export function unmaskedCrc(stored: number): number {
  const rotated = (stored - 0xa282ead8) >>> 0
  return ((rotated >>> 17) | (rotated << 15)) >>> 0
}

/** The sequence number of a record's first operation. */
export function sequenceOf(record: Buffer): number {
  return Number(record.readBigUInt64LE(0))
}

/** What stands at a place of a record, and where the next operation begins; null where none can begin. */
export function operationAt(record: Buffer, at: number): (WalOperation & { readonly end: number }) | null {
  const type = record[at]
  if (type !== 0 && type !== 1) return null
  const key = sliceAt(record, at + 1)
  if (key === null) return null
  if (type === 0) return { key: key.bytes, value: null, end: key.end }
  const value = sliceAt(record, key.end)
  return value && { key: key.bytes, value: value.bytes, end: value.end }
}

/** The operations of a record that is what was written. */
export function* operationsOf(record: Buffer): Iterable<WalOperation> {
  let operation = operationAt(record, RECORD_HEADER_BYTES)
  for (; operation !== null; operation = operationAt(record, operation.end)) yield operation
}

/** Bytes with their length in front of them; null if they do not end in the record. */
function sliceAt(record: Buffer, start: number): { readonly bytes: Buffer; readonly end: number } | null {
  let length = 0
  for (let at = start, scale = 1; at < record.length && at < start + 5; scale *= 128) {
    const byte = record[at++]
    length += (byte & 0x7f) * scale
    if (byte >= 0x80) continue
    return at + length <= record.length ? { bytes: record.subarray(at, at + length), end: at + length } : null
  }
  return null
}
