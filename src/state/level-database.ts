// Opens LevelDB databases and names their failures. Both the log's segments and the state store go through here, so that one place
// knows what LevelDB's errors look like.

import { Level } from 'level'
import { messageOf, SluiceError } from '../base/errors.js'

/** `level` on Node is classic-level; these are the parts of it that the common type leaves out. */
export type LevelDatabase = Level<Buffer, Buffer> & {
  compactRange(start: Buffer, end: Buffer): Promise<void>
  getProperty(name: string): string
  /** What `batch` ends in, for operations whose keys and values are bytes already. */
  _batch(operations: readonly LevelOperation[], options: { readonly sync: boolean }): Promise<void>
}

export type LevelOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

export interface LevelOptions {
  /** Bytes a memtable grows to before LevelDB flushes it; a segment stays below, so that it never does. */
  readonly writeBufferBytes: number
  /** Bytes of decompressed blocks kept; nothing of ours is compressed by LevelDB, and the page cache serves better. */
  readonly cacheBytes?: number
  readonly createIfMissing: boolean
}

/**
 * @throws SluiceError DATA_DIR_LOCKED when another process (or this one) has it open; CORRUPT_MESSAGE when LevelDB finds it damaged;
 * STORAGE_FULL, STORAGE_READ_ONLY; STORAGE_FAILED otherwise.
 */
export async function openLevel(directory: string, options: LevelOptions): Promise<LevelDatabase> {
  const database = new Level<Buffer, Buffer>(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    compression: false,
    writeBufferSize: options.writeBufferBytes,
    cacheSize: options.cacheBytes ?? 64 * 1024,
    createIfMissing: options.createIfMissing,
    maxOpenFiles: 64,
  } as object) as LevelDatabase
  try {
    await database.open()
    return database
  } catch (error) {
    // A database that failed to open keeps no lock and no descriptor, but its object must not be opened again.
    throw storageError(error, `the database ${directory} cannot be opened`)
  }
}

/**
 * Takes the lock of a database and lets it go; nothing of it is read or written. (LevelDB locks before it finds that there is one already.)
 * @throws SluiceError DATA_DIR_LOCKED when another process (or this one) has it open.
 */
export async function assertUnlocked(directory: string): Promise<void> {
  const database = new Level(directory, { createIfMissing: false, errorIfExists: true } as object)
  try {
    await database.open()
    await database.close()
  } catch (error) {
    const failure = storageError(error, `the database ${directory} cannot be opened`)
    if (failure.code === 'DATA_DIR_LOCKED') throw failure
  }
}

const SYNC = { sync: true }

/**
 * One sync write; the bytes are copied before it returns its promise. Goes past the `batch` of abstract-level, which copies every operation to
 * ask for encodings that change nothing here: measured with one value of 200 B, 45 to 57 µs a call became 28, and of 560 bytes a call that outlived
 * the young generation, so that its collections took milliseconds, 23 are left.
 * @throws SluiceError STORAGE_FAILED unless the database is open, at once.
 */
export function writeSynced(database: LevelDatabase, operations: readonly LevelOperation[]): Promise<void> {
  if (database.status !== 'open') throw new SluiceError('STORAGE_FAILED', `the database is ${database.status}`)
  return database._batch(operations, SYNC)
}

/** What LevelDB says of files that are not what they were: changed, missing, or (reading a table beyond its end) too short. */
const DAMAGE =
  /^Corruption|does not exist|missing files|no meta-nextfile|^IO error: .*No such file|^IO error: .*\.ldb: Invalid argument/s

/** Turns what LevelDB threw into a SluiceError whose code tells what may be done about it (D4). */
export function storageError(error: unknown, what: string): SluiceError {
  if (error instanceof SluiceError) return error
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  const reason = messageOf(cause)
  const code = (cause as { code?: string }).code
  const fail = (
    name: 'DATA_DIR_LOCKED' | 'CORRUPT_MESSAGE' | 'STORAGE_FULL' | 'STORAGE_READ_ONLY' | 'STORAGE_FAILED',
  ) => new SluiceError(name, `${what}: ${reason}`, { reason }, error)
  if (code === 'LEVEL_LOCKED') return fail('DATA_DIR_LOCKED')
  if (/No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/.test(reason)) return fail('STORAGE_FULL')
  if (/Read-only file system|EROFS/.test(reason)) return fail('STORAGE_READ_ONLY')
  if (code === 'LEVEL_CORRUPTION' || DAMAGE.test(reason)) return fail('CORRUPT_MESSAGE')
  return fail('STORAGE_FAILED')
}

/** True for failures that pass once there is room or the file system is writable again; after any other the process must end (D4). */
export function mayPass(failure: SluiceError): boolean {
  return failure.code === 'STORAGE_FULL' || failure.code === 'STORAGE_READ_ONLY'
}
