// Turns what a segment's LevelDB holds in memory and in its write-ahead log into its table, and makes sure of it: LevelDB's compactRange
// resolves also when it has failed.

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Encoder } from 'cbor-x'
import { SluiceError } from '../base/errors.js'
import { withCheck } from '../state/checked-value.js'
import { listDirectory } from '../state/durable-files.js'
import type { LevelDatabase } from '../state/level-database.js'
import { KEY_END, metaKey } from './keys.js'

/** LevelDB's. */
const LEVELS = 7
const cbor = new Encoder({ useRecords: false })

/** Adds what a segment says of itself, and flushes. @param topics null: too many to list. @throws whatever LevelDB does; SluiceError STORAGE_FAILED. */
export async function flushToTable(
  database: LevelDatabase,
  directory: string,
  summary: Buffer,
  topics: readonly string[] | null,
): Promise<void> {
  await database.batch(
    [
      { type: 'put', key: metaKey('index'), value: summary },
      { type: 'put', key: metaKey('topics'), value: withCheck(cbor.encode(topics), metaKey('topics')) },
    ],
    { sync: true },
  )
  const tables = tablesOf(database)
  await database.compactRange(KEY_END, KEY_END)
  await assertTable(database, directory, summary, tables)
}

/**
 * compactRange resolves even when its flush failed; then the records are still in memory, and no table exists. LevelDB keeps the reason for
 * whoever writes next, and refuses that write without touching the disk.
 */
async function assertTable(
  database: LevelDatabase,
  directory: string,
  summary: Buffer,
  tablesBefore: number,
): Promise<void> {
  // A segment that is recovered has a table from before.
  if (tablesOf(database) > tablesBefore) return
  await database.batch([{ type: 'put', key: metaKey('index'), value: summary }])
  throw new SluiceError('STORAGE_FAILED', `LevelDB did not flush the memtable of ${directory} and does not say why`)
}

function tablesOf(database: LevelDatabase): number {
  let tables = 0
  for (let level = 0; level < LEVELS; level++)
    tables += Number(database.getProperty(`leveldb.num-files-at-level${level}`))
  return tables
}

/** The second witness of the flush, of a database that is closed: the write-ahead log that is left is empty. @throws SluiceError STORAGE_FAILED. */
export async function assertFlushed(directory: string): Promise<void> {
  const logs = (await listDirectory(directory)).filter((name) => name.endsWith('.log'))
  const sizes = await Promise.all(logs.map(async (name) => (await stat(join(directory, name))).size))
  if (sizes.length === 1 && sizes[0] === 0) return
  throw new SluiceError(
    'STORAGE_FAILED',
    `LevelDB did not flush its memtable: ${logs.join(', ')} of ${sizes.join(', ')} bytes`,
  )
}
