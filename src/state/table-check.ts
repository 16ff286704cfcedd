// Checks the tables of a LevelDB block by block, because LevelDB here does not (D5): a changed byte would come back as good data, or bring
// back a row that was deleted, or fail an assert that ends the process. Called before a database is opened.
//
//   table  = (block type:u8 crc:u32le)* footer         crc of block and type: CRC-32C, "masked"
//   footer = metaindex:handle index:handle zeros magic:u64le                        48 bytes
//   handle = offset:varint size:varint
//   block  = entry* restart:u32le* restarts:u32le      the index has an entry for each other block: key, handle
//   entry  = shared:varint unshared:varint length:varint key[unshared] value[length]

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '../base/crc32c.js'
import { listDirectory } from './durable-files.js'
import { unmaskedCrc } from './wal-check.js'

export const FOOTER_BYTES = 48
export const TRAILER_BYTES = 5
export const MAGIC = Buffer.from('57fb808b247547db', 'hex')

interface Handle {
  readonly offset: number
  readonly size: number
}

/** The names of tables in which a block is not what was written. One without an end is being written, or LevelDB fails to read it. */
export async function damagedTables(directory: string): Promise<string[]> {
  const damaged: string[] = []
  for (const name of (await listDirectory(directory)).filter((one) => one.endsWith('.ldb'))) {
    // LevelDB may remove one that a compaction has made superfluous.
    const table = await readFile(join(directory, name)).catch(() => null)
    if (table !== null && !isSound(table)) damaged.push(name)
  }
  return damaged
}

function isSound(table: Buffer): boolean {
  const footer = table.length - FOOTER_BYTES
  if (footer < 0 || !table.subarray(-MAGIC.length).equals(MAGIC)) return true
  const handles = new Varints(table, footer)
  const metaIndex = handles.handle()
  const index = handles.handle()
  if (!isSoundBlock(table, metaIndex) || !isSoundBlock(table, index)) return false
  for (const block of [metaIndex, index]) {
    for (const handle of handlesIn(table.subarray(block.offset, block.offset + block.size))) {
      if (!isSoundBlock(table, handle)) return false
    }
  }
  return true
}

export function isSoundBlock(table: Buffer, { offset, size }: Handle): boolean {
  const end = offset + size + 1
  if (end + TRAILER_BYTES - 1 > table.length) return false
  return crc32c(table, offset, end) === unmaskedCrc(table.readUInt32LE(end))
}

function* handlesIn(block: Buffer): Iterable<Handle> {
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4)
  const entries = new Varints(block, 0)
  while (entries.at < end) {
    entries.next()
    const unshared = entries.next()
    const length = entries.next()
    const value = entries.at + unshared
    yield new Varints(block, value).handle()
    entries.at = value + length
  }
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
