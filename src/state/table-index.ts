// How the blocks of a LevelDB table are found: by the table's own index, or, where that is damaged, one by one (table-scan.ts).

import type { FileHandle } from 'node:fs/promises'
import {
  entriesOf,
  FOOTER_BYTES,
  isSoundBlock,
  KEY_TRAILER_BYTES,
  MAGIC,
  restartsOf,
  TRAILER_BYTES,
  Varints,
} from './table-format.js'
import { scanTable } from './table-scan.js'

export interface IndexedBlock {
  /** At or behind its last key, and before the first of the next. */
  readonly key: Buffer
  readonly offset: number
  readonly size: number
}

export class TableIndex {
  private constructor(
    /** An index block of LevelDB's; of which each entry is read when it is needed. */
    private readonly bytes: Buffer,
    /** Where in `bytes` its entries begin; they share nothing with each other. */
    private readonly starts: Uint32Array,
    /** Behind what it names there may have been more. */
    readonly isCut: boolean,
  ) {}

  /** @returns null if no block can be found. */
  static async read(handle: FileHandle): Promise<TableIndex | null> {
    const { size } = await handle.stat()
    return (await TableIndex.stored(handle, size)) ?? (await TableIndex.found(handle, size))
  }

  /** The table's own; null if it, or what says where it is, is damaged. */
  private static async stored(handle: FileHandle, size: number): Promise<TableIndex | null> {
    const footer = await bytesAt(handle, size - FOOTER_BYTES, FOOTER_BYTES)
    if (footer === null || !footer.subarray(-MAGIC.length).equals(MAGIC)) return null
    const handles = new Varints(footer, 0)
    handles.handle()
    const at = handles.handle()
    const bytes = at.offset + at.size < size ? await bytesAt(handle, at.offset, at.size + TRAILER_BYTES) : null
    if (bytes === null || !isSoundBlock(bytes, { offset: 0, size: at.size })) return null
    return new TableIndex(bytes, restartsOf(bytes.subarray(0, at.size)), false)
  }

  /** One of the blocks that can be found without. */
  private static async found(handle: FileHandle, size: number): Promise<TableIndex | null> {
    const table = await bytesAt(handle, 0, size)
    if (table === null) return null
    const { blocks, isComplete } = scanTable(table)
    const starts: number[] = []
    const entries: Buffer[] = []
    let length = 0
    let before: Buffer | null = null
    for (const { offset, size: blockBytes } of blocks) {
      const key = entriesOf(table.subarray(offset, offset + blockBytes)).at(-1)?.key
      if (key === undefined || (before !== null && key.compare(before) < 0)) continue
      before = key
      const place = Buffer.concat([varint(offset), varint(blockBytes)])
      const head = [varint(0), varint(key.length + KEY_TRAILER_BYTES), varint(place.length)]
      const entry = Buffer.concat([...head, key, Buffer.alloc(KEY_TRAILER_BYTES), place])
      starts.push(length)
      entries.push(entry)
      length += entry.length
    }
    return starts.length === 0 ? null : new TableIndex(Buffer.concat(entries), Uint32Array.from(starts), !isComplete)
  }

  /** How many blocks there are. */
  get count(): number {
    return this.starts.length
  }

  block(number: number): IndexedBlock {
    const entry = new Varints(this.bytes, this.starts[number])
    entry.next()
    const keyBytes = entry.next()
    entry.next()
    const keyAt = entry.at
    const key = this.bytes.subarray(keyAt, keyAt + keyBytes - KEY_TRAILER_BYTES)
    return { key, ...new Varints(this.bytes, keyAt + keyBytes).handle() }
  }

  /** The first block whose last key is at or behind `key`; `count` if there is none. */
  firstFrom(key: Buffer): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.block(middle).key.compare(key) >= 0) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** @returns null if the file ends before. */
export async function bytesAt(handle: FileHandle, offset: number, size: number): Promise<Buffer | null> {
  if (offset < 0) return null
  const bytes = Buffer.allocUnsafeSlow(size)
  for (let read = 0; read < size; ) {
    const { bytesRead } = await handle.read(bytes, read, size - read, offset + read)
    if (bytesRead === 0) return null
    read += bytesRead
  }
  return bytes
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80)
  return Buffer.from([...bytes, value])
}
