// Reads a LevelDB table (table-check.ts has its grammar) without LevelDB, whose asserts end the process when a changed byte makes a key too short, and
// which maps the file, so that one cut short, or a bad sector, ends it with SIGBUS. Whatever the bytes are, this gives entries or none; whether
// they are what was written is for the checks of those who stored them. Only the index is checked here, since everything else is found by it.

import { type FileHandle, open } from 'node:fs/promises'
import { SluiceError } from '../base/errors.js'
import { FOOTER_BYTES, isSoundBlock, MAGIC, TRAILER_BYTES, Varints } from './table-check.js'

/** A LevelDB internal key ends with these: sequence number, and whether it was put (1) or deleted (0). */
const KEY_TRAILER_BYTES = 8

export interface TableEntry {
  readonly key: Buffer
  /** A view. */
  readonly value: Buffer
  readonly sequence: number
  readonly deleted: boolean
}

export class TableReader {
  private constructor(
    private readonly handle: FileHandle,
    private readonly index: Buffer,
    /** Where in `index` its entries begin; they share nothing with each other. */
    private readonly starts: Uint32Array,
  ) {}

  /** @throws SluiceError CORRUPT_MESSAGE if its index is not what was written. */
  static async open(path: string): Promise<TableReader> {
    const handle = await open(path)
    try {
      const { size } = await handle.stat()
      const footer = await bytesAt(handle, size - FOOTER_BYTES, FOOTER_BYTES)
      if (footer === null || !footer.subarray(-MAGIC.length).equals(MAGIC)) throw corrupt(path, 'has lost its end')
      const handles = new Varints(footer, 0)
      handles.handle()
      const at = handles.handle()
      const index = at.offset + at.size < size ? await bytesAt(handle, at.offset, at.size + TRAILER_BYTES) : null
      if (index === null || !isSoundBlock(index, { offset: 0, size: at.size }))
        throw corrupt(path, 'has a damaged index')
      return new TableReader(handle, index, restartsOf(index.subarray(0, at.size)))
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** The entries of all blocks that may hold keys from `gte` on and below `lt`, block by block; also some outside. */
  async *blocks(gte: Buffer, lt: Buffer, readAheadBytes: number): AsyncGenerator<TableEntry[]> {
    let next = this.firstFrom(gte)
    while (next < this.starts.length) {
      const first = this.block(next)
      let last = first
      const blocks = [first]
      while (last.key.compare(lt) < 0 && ++next < this.starts.length) {
        const block = this.block(next)
        if (block.offset + block.size - first.offset > readAheadBytes) break
        blocks.push((last = block))
      }
      for (const bytes of await this.read(blocks)) {
        const entries = entriesOf(bytes)
        if (entries.length > 0) yield entries
      }
      if (last.key.compare(lt) >= 0) return
    }
  }

  close(): Promise<void> {
    return this.handle.close()
  }

  /** The first block whose last key is at or behind `key`. */
  private firstFrom(key: Buffer): number {
    let low = 0
    let high = this.starts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.block(middle).key.compare(key) >= 0) high = middle
      else low = middle + 1
    }
    return low
  }

  private block(number: number): { key: Buffer; offset: number; size: number } {
    const entry = new Varints(this.index, this.starts[number])
    entry.next()
    const keyBytes = entry.next()
    entry.next()
    const keyAt = entry.at
    const key = this.index.subarray(keyAt, keyAt + keyBytes - KEY_TRAILER_BYTES)
    return { key, ...new Varints(this.index, keyAt + keyBytes).handle() }
  }

  /** Blocks that follow each other in the file; those that cannot be read are left out. */
  private async read(blocks: readonly { offset: number; size: number }[]): Promise<Buffer[]> {
    const [{ offset }] = blocks
    const { offset: lastOffset, size: lastSize } = blocks[blocks.length - 1]
    try {
      const bytes = await bytesAt(this.handle, offset, lastOffset + lastSize - offset)
      if (bytes !== null)
        return blocks.map((block) => bytes.subarray(block.offset - offset, block.offset - offset + block.size))
    } catch (error) {
      // A bad sector: whoever stored something there misses it.
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error
    }
    if (blocks.length === 1) return []
    return (await Promise.all(blocks.map((block) => this.read([block])))).flat()
  }
}

/** @returns null if the file ends before. */
async function bytesAt(handle: FileHandle, offset: number, size: number): Promise<Buffer | null> {
  if (offset < 0) return null
  const bytes = Buffer.allocUnsafeSlow(size)
  for (let read = 0; read < size; ) {
    const { bytesRead } = await handle.read(bytes, read, size - read, offset + read)
    if (bytesRead === 0) return null
    read += bytesRead
  }
  return bytes
}

function restartsOf(block: Buffer): Uint32Array {
  const count = block.length < 4 ? 0 : block.readUInt32LE(block.length - 4)
  const from = block.length - 4 - 4 * count
  if (from < 0) return new Uint32Array()
  return Uint32Array.from({ length: count }, (_, i) => block.readUInt32LE(from + 4 * i))
}

/** What can be made out in a block. After an entry that makes no sense it goes on at the next restart, where keys share nothing with those before. */
function entriesOf(block: Buffer): TableEntry[] {
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

function corrupt(path: string, problem: string): SluiceError {
  return new SluiceError('CORRUPT_MESSAGE', `the table ${path} ${problem}`)
}
