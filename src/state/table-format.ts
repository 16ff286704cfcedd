// LevelDB's tables (its doc/table_format.md), as table-check.ts and table-reader.ts read them.
//
//   table  = (block type:u8 crc:u32le)* footer         crc of block and type: CRC-32C, "masked"
//   footer = metaindex:handle index:handle zeros magic:u64le                        48 bytes
//   handle = offset:varint size:varint
//   block  = entry* restart:u32le* restarts:u32le      the index has an entry for each other block: key, handle
//   entry  = shared:varint unshared:varint length:varint key[unshared] value[length]

import { crc32c } from '../base/crc32c.js'
import { unmaskedCrc } from './wal-format.js'

export const FOOTER_BYTES = 48
export const TRAILER_BYTES = 5
export const MAGIC = Buffer.from('57fb808b247547db', 'hex')
/** A LevelDB internal key ends with these: sequence number, and whether it was put (1) or deleted (0). */
export const KEY_TRAILER_BYTES = 8

export interface TableEntry {
  readonly key: Buffer
  /** A view. */
  readonly value: Buffer
  readonly sequence: number
  readonly deleted: boolean
}

/** Where a block lies in its table. */
export interface Handle {
  readonly offset: number
  readonly size: number
}

export function isSoundBlock(table: Buffer, { offset, size }: Handle): boolean {
  const end = offset + size + 1
  if (end + TRAILER_BYTES - 1 > table.length) return false
  return crc32c(table, offset, end) === unmaskedCrc(table.readUInt32LE(end))
}

export function restartsOf(block: Buffer): Uint32Array {
  const count = block.length < 4 ? 0 : block.readUInt32LE(block.length - 4)
  const from = block.length - 4 - 4 * count
  if (from < 0) return new Uint32Array()
  return Uint32Array.from({ length: count }, (_, i) => block.readUInt32LE(from + 4 * i))
}

/** What can be made out in a block. After an entry that makes no sense it goes on at the next restart, where keys share nothing with those before. */
export function entriesOf(block: Buffer): TableEntry[] {
  const restarts = restartsOf(block)
  const end = block.length - 4 - 4 * restarts.length
  const entries: TableEntry[] = []
  let before: Buffer = Buffer.alloc(0)
  const reader = new Varints(block, 0)
  while (reader.at < end) {
    const start = reader.at
    const shared = reader.next()
    const unshared = reader.next()
    const length = reader.next()
    const { at } = reader
    if (shared > before.length || at + unshared + length > end || shared + unshared < KEY_TRAILER_BYTES) {
      const next = restarts.find((restart) => restart > start)
      if (next === undefined) break
      reader.at = next
      before = Buffer.alloc(0)
      continue
    }
    const own = block.subarray(at, at + unshared)
    before = shared === 0 ? own : Buffer.concat([before.subarray(0, shared), own])
    const trailer = before.length - KEY_TRAILER_BYTES
    entries.push({
      key: before.subarray(0, trailer),
      value: block.subarray(at + unshared, at + unshared + length),
      sequence: before.readUIntLE(trailer + 1, 6),
      deleted: before[trailer] === 0,
    })
    reader.at = at + unshared + length
  }
  return entries
}

/** LevelDB's: unsigned, seven bits a byte, least significant first. Past the end there are zeros. */
export class Varints {
  constructor(
    private readonly bytes: Buffer,
    public at: number,
  ) {}

  next(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.at++] ?? 0
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }

  handle(): Handle {
    return { offset: this.next(), size: this.next() }
  }
}
