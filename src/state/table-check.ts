// Checks the tables of a LevelDB block by block, because LevelDB here does not (D5): a changed byte would come back as good data, or bring
// back a row that was deleted, or fail an assert that ends the process. Called before a database is opened. table-format.ts has the grammar.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { listDirectory } from './durable-files.js'
import { FOOTER_BYTES, type Handle, isSoundBlock, MAGIC, Varints } from './table-format.js'

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
