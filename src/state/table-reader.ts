// Reads a LevelDB table (table-format.ts has its grammar) without LevelDB, whose asserts end the process when a changed byte makes a key too short, and
// which maps the file, so that one cut short, or a bad sector, ends it with SIGBUS. Whatever the bytes are, this gives entries or none; whether
// they are what was written is for the checks of those who stored them. Only the index is checked here, since everything else is found by it; where
// it is damaged, the blocks are looked for one by one (table-scan.ts).

import { type FileHandle, open } from 'node:fs/promises'
import { SluiceError } from '../base/errors.js'
import { entriesOf, isSoundBlock, type TableEntry, TRAILER_BYTES } from './table-format.js'
import { bytesAt, type IndexedBlock, TableIndex } from './table-index.js'

/** Keys that may have been where damage is: behind `after`, none if null, up to and with `upTo`, all there can be if null. */
export interface DamagedKeys {
  readonly after: Buffer | null
  readonly upTo: Buffer | null
}

/** Asked before each read: what is to be read at once, or one block, whatever its size; null: nothing more. */
export type ReadAheadBytes = () => number | null

export class TableReader {
  private constructor(
    private readonly handle: FileHandle,
    private readonly index: TableIndex,
  ) {}

  /** @throws SluiceError CORRUPT_MESSAGE if neither its index nor its first block is what was written. */
  static async open(path: string): Promise<TableReader> {
    const handle = await open(path)
    try {
      const index = await TableIndex.read(handle)
      if (index === null) throw new SluiceError('CORRUPT_MESSAGE', `the table ${path} has lost its index`)
      return new TableReader(handle, index)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /**
   * The entries of all blocks that may hold keys from `gte` on and below `lt`, block by block; also some outside.
   */
  async *blocks(gte: Buffer, lt: Buffer, readAheadBytes: ReadAheadBytes): AsyncGenerator<TableEntry[]> {
    const { index } = this
    let next = index.firstFrom(gte)
    while (next < index.count) {
      const first = index.block(next)
      const atOnce = readAheadBytes()
      if (atOnce === null) return
      let last = first
      const blocks = [first]
      while (last.key.compare(lt) < 0 && ++next < index.count) {
        const block = index.block(next)
        if (block.offset + block.size - first.offset > atOnce) break
        blocks.push((last = block))
      }
      for (const bytes of await this.read(blocks)) {
        const entries = entriesOf(bytes)
        if (entries.length > 0) yield entries
      }
      if (last.key.compare(lt) >= 0) return
    }
  }

  /** Where blocks are not what was written, in key order. What can be made out in them all the same, `blocks` gives. */
  async damaged(): Promise<DamagedKeys[]> {
    const { index } = this
    const damaged: DamagedKeys[] = []
    for (let number = 0; number < index.count; number++) {
      const { offset, size, key } = index.block(number)
      const bytes = await bytesAt(this.handle, offset, size + TRAILER_BYTES).catch(orBadSector)
      if (bytes !== null && isSoundBlock(bytes, { offset: 0, size })) continue
      damaged.push({ after: number === 0 ? null : index.block(number - 1).key, upTo: key })
    }
    if (index.isCut) damaged.push({ after: index.count === 0 ? null : index.block(index.count - 1).key, upTo: null })
    return damaged
  }

  close(): Promise<void> {
    return this.handle.close()
  }

  /** Blocks that follow each other in the file; those that cannot be read are left out. */
  private async read(blocks: readonly IndexedBlock[]): Promise<Buffer[]> {
    const [{ offset }] = blocks
    const { offset: lastOffset, size: lastSize } = blocks[blocks.length - 1]
    const bytes = await bytesAt(this.handle, offset, lastOffset + lastSize - offset).catch(orBadSector)
    if (bytes !== null)
      return blocks.map((block) => bytes.subarray(block.offset - offset, block.offset - offset + block.size))
    if (blocks.length === 1) return []
    return (await Promise.all(blocks.map((block) => this.read([block])))).flat()
  }
}

/** A bad sector reads as nothing: whoever stored something there misses it. */
function orBadSector(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error
  return null
}
