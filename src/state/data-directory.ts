// The data directory as a whole: whose it is, which format it has, that nobody else uses it. Looked at before anything in it is opened, so
// that a directory which is not ours, or is newer than we are, stays untouched.

import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { listDirectory, writeFileDurably } from './durable-files.js'
import { assertUnlocked, storageError } from './level-database.js'
import { OffsetCeilings } from './offset-ceilings.js'
import { setAside } from './quarantine.js'
import { LevelStateStore, type StateStoreOptions } from './state-store.js'
import { damagedTables } from './table-check.js'
import { checkWal } from './wal-check.js'

/** Raised when older versions could no longer read what this one writes. */
export const DATA_FORMAT = 2
/** The oldest that this version reads. */
const OLDEST_DATA_FORMAT = 2
const FORMAT_FILE = 'format'
const FORMAT_LINE = /^sluice-data (\d+)\n$/
const NODE_ID_FILE = 'node-id'
const WHAT_IS_LOST =
  'consumer groups start at the earliest record, upstreams are sent what is stored, the ledger and sessions begin anew; no record is lost'
const WHAT_IS_OLD =
  'offsets of groups, cursors of upstreams, sessions, tokens and the ledger may be as they were before: records may be delivered again, what was removed may be back; no record is lost'
/** What a freshly made file system has in its root. */
const IGNORED_ENTRIES = new Set(['lost+found'])

/**
 * Makes the directory if there is none and checks that it is ours and readable by this version.
 * @throws SluiceError DATA_DIR_TOO_NEW, DATA_DIR_TOO_OLD; STORAGE_FAILED if it is something else's; STORAGE_READ_ONLY, STORAGE_FULL.
 */
export async function claimDataDirectory(directory: string): Promise<void> {
  const entries = await entriesOf(directory)
  if (!entries.includes(FORMAT_FILE)) {
    if (entries.length > 0) {
      const message = `${directory} is not empty and not a Sluice data directory (it has ${entries[0]}); choose another with data_dir or --data`
      throw new SluiceError('STORAGE_FAILED', message, { directory })
    }
    return writeFileDurably(join(directory, FORMAT_FILE), Buffer.from(`sluice-data ${DATA_FORMAT}\n`))
  }
  const found = FORMAT_LINE.exec(await readFile(join(directory, FORMAT_FILE), 'utf8'))
  if (found === null) {
    const message = `${join(directory, FORMAT_FILE)} is damaged; it should say "sluice-data ${DATA_FORMAT}"`
    throw new SluiceError('CORRUPT_MESSAGE', message, { directory })
  }
  const format = Number(found[1])
  if (format > DATA_FORMAT) {
    const message = `${directory} has data format ${format}, written by a newer Sluice; this one reads up to ${DATA_FORMAT}. Run the newer version, or choose another directory with data_dir or --data`
    throw new SluiceError('DATA_DIR_TOO_NEW', message, { directory, format, supported: DATA_FORMAT })
  }
  if (format < OLDEST_DATA_FORMAT) {
    const message = `${directory} has data format ${format}, written by an older Sluice; this one reads none below ${OLDEST_DATA_FORMAT}. Drain it with the older version (forward or consume what it holds), or choose another directory with data_dir or --data`
    throw new SluiceError('DATA_DIR_TOO_OLD', message, { directory, format, supported: OLDEST_DATA_FORMAT })
  }
}

/** The node id: the configured one, else the one kept here, else a new one; kept from then on. */
export async function nodeIdOf(directory: string, configured: string | undefined, logger: Logger): Promise<string> {
  const path = join(directory, NODE_ID_FILE)
  const kept = await readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => '',
  )
  const nodeId = configured ?? (kept || `gw-${randomBytes(4).toString('hex')}`)
  if (nodeId === kept) return nodeId
  if (kept) logger.warn('node id changed; upstreams will know this node by the new one', { from: kept, to: nodeId })
  await writeFileDurably(path, Buffer.from(`${nodeId}\n`))
  return nodeId
}

/**
 * Opens the state database. A damaged one is set aside and a new one begun: positions are lost, records are not (D6). Rows that are left
 * of a damaged one are not taken over: what had been deleted could be among them.
 * @throws SluiceError DATA_DIR_LOCKED if another node runs on this directory.
 */
export async function openState(
  directory: string,
  options: Omit<StateStoreOptions, 'directory'>,
): Promise<LevelStateStore> {
  const inState = { ...options, directory: join(directory, 'state') }
  const names = (await listDirectory(inState.directory)).filter((name) => name !== 'LOCK' && !/^LOG/.test(name))
  // Without the file CURRENT, LevelDB would begin a new database in the place of the old one.
  const isThere = names.includes('CURRENT')
  if (names.length === 0 && (await listDirectory(join(directory, 'streams'))).length > 0)
    options.logger.error('the state database is gone; a new one is begun', { meaning: WHAT_IS_LOST })
  let problem = await problemOfFiles(inState.directory, isThere, names)
  try {
    if (problem === null) {
      const state = await LevelStateStore.open({ ...inState, createIfMissing: names.length === 0 || isThere })
      problem = await state.problem()
      if (problem === null) return await counting(state, options.logger)
      await state.close()
    } else await assertUnlocked(inState.directory)
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    if (error.code === 'DATA_DIR_LOCKED') {
      const message = `${directory} is in use by another node; stop that one, or choose another directory with data_dir or --data`
      throw new SluiceError('DATA_DIR_LOCKED', message, { directory }, error)
    }
    if (error.code !== 'CORRUPT_MESSAGE') throw error
    problem ??= error.message
  }
  const aside = await setAside(inState.directory, directory, 'state', options.logger)
  options.logger.error('the state database is damaged and was set aside', {
    aside,
    reason: problem,
    meaning: WHAT_IS_LOST,
  })
  return counting(await LevelStateStore.open(inState), options.logger)
}

/**
 * What its files say before LevelDB touches them: opening it removes the log, and with it what is found there, and may begin a compaction, whose
 * asserts on a changed table end the process, at every start.
 */
async function problemOfFiles(directory: string, isThere: boolean, names: readonly string[]): Promise<string | null> {
  if (isThere && !names.some((name) => name.endsWith('.log'))) return 'its write-ahead log is missing'
  if ((await checkWal(directory)).damaged) return 'its write-ahead log is damaged'
  const tables = await damagedTables(directory)
  return tables.length > 0 ? `bytes have changed in ${tables.join(', ')}` : null
}

/** What is there of a state database that has gone back is still worth more than nothing, but for offsets that must not be given twice. */
async function counting(state: LevelStateStore, logger: Logger): Promise<LevelStateStore> {
  try {
    const lostWrites = await state.beginCounting()
    if (lostWrites === 0) return state
    if (lostWrites === null)
      logger.error('whether the state database is as it was cannot be told', { meaning: WHAT_IS_OLD })
    else
      logger.error('the state database has gone back: its last writes are gone', { lostWrites, meaning: WHAT_IS_OLD })
    await OffsetCeilings.recover(state, lostWrites)
    return state
  } catch (error) {
    await state.close()
    throw error
  }
}

async function entriesOf(directory: string): Promise<string[]> {
  try {
    await mkdir(directory, { recursive: true })
    return (await readdir(directory)).filter((name) => !IGNORED_ENTRIES.has(name) && !name.endsWith('.tmp'))
  } catch (error) {
    throw storageError(error, `the data directory ${directory} cannot be used`)
  }
}
