// The small mutable facts of a node in one LevelDB: committed offsets, cursors, sessions, the ledger. A write resolves once it is
// synced; what is written while a sync runs goes together into the next. The log is the truth and this a checkpoint (D6): losing
// it costs positions, never records.
//
// How many writes have been synced is counted in a row that each write brings along, and in the file `live` beside the database: a database that has gone
// back to what it was before, because its log was cut short or its files are older, is noticed.
//
// Key = table name, NUL, key (UTF-8). Value = CBOR and its check (checked-value.ts). Row by row in src/log/DATA_FORMAT.md.

import { join } from 'node:path'
import { Encoder } from 'cbor-x'
import { assert } from '../base/assert.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { withCheck, withoutCheck } from './checked-value.js'
import { type LevelDatabase, type LevelOperation, openLevel, storageError, writeSynced } from './level-database.js'
import type { StateOperation, StateStore, StateTable } from './types.js'
import { createWitness, readWitness, WitnessFile } from './witness-file.js'

export const MAX_STATE_KEY_BYTES = 1024
export const MAX_STATE_VALUE_BYTES = 1024 * 1024
const WRITE_BUFFER_BYTES = 1024 * 1024
const REOPEN_DELAY_MS = 1000

// Records would put a table of shapes into the stream: lose it and every value is unreadable.
const cbor = new Encoder({ useRecords: false })

const WITNESS_FILE = 'live'
const WRITES_KEY = Buffer.from('node\0writes')

interface Waiting {
  readonly operations: readonly LevelOperation[]
  readonly resolve: () => void
  readonly reject: (error: SluiceError) => void
}

export interface StateStoreOptions {
  readonly directory: string
  /** Default: true. */
  readonly createIfMissing?: boolean
  readonly logger: Logger
  /** Called once for a failed write after which nothing may be trusted (D4): the process must end. */
  readonly onFatal: (error: SluiceError) => void
}

export class LevelStateStore implements StateStore {
  private waiting: Waiting[] = []
  private writing: Promise<void> | null = null
  /** Set while the database is closed after a rejected write, until it has been opened again. */
  private unavailable: SluiceError | null = null
  private reopening: Promise<void> | null = null
  private closed = false
  private writes = 0
  private witness: WitnessFile | null = null

  private constructor(
    private readonly options: StateStoreOptions,
    private database: LevelDatabase,
  ) {}

  /** @throws SluiceError as `openLevel`; DATA_DIR_LOCKED means that another node uses this data directory. */
  static async open(options: StateStoreOptions): Promise<LevelStateStore> {
    return new LevelStateStore(options, await LevelStateStore.openDatabase(options.directory, options.createIfMissing))
  }

  /**
   * Begins to count; nothing is written before. To be called once `problem` has found none.
   * @returns how many writes that were synced are gone: 0 as it should be, null if nobody knows.
   */
  async beginCounting(): Promise<number | null> {
    const path = join(this.options.directory, WITNESS_FILE)
    const stored = await this.read(WRITES_KEY)
    const known = await readWitness(path)
    this.writes = stored === undefined ? 0 : (cbor.decode(stored) as number)
    const isNew = stored === undefined && known === null
    const missing = isNew ? 0 : known && Math.max(0, known.count - this.writes)
    // Numbers that were used are not used again: a copy of the database from before would pass for this one.
    this.writes += missing ?? 0
    if (known === null) await createWitness(path, { count: 0, succeeded: false })
    this.witness = await WitnessFile.open(path)
    return missing
  }

  /** Reads every row. @returns what is damaged, as a phrase, or null. */
  async problem(): Promise<string | null> {
    try {
      for await (const [key, stored] of this.usable().iterator()) {
        if (withoutCheck(stored, key) === null) return `the row ${nameOf(key)} has changed`
      }
      return null
    } catch (error) {
      return messageOf(error)
    }
  }

  private static openDatabase(directory: string, createIfMissing = true): Promise<LevelDatabase> {
    return openLevel(directory, { writeBufferBytes: WRITE_BUFFER_BYTES, createIfMissing })
  }

  table<V>(name: string): StateTable<V> {
    assert(/^[a-z-]+$/.test(name), 'a table name is plain')
    return new LevelStateTable<V>(this, name)
  }

  /** Durable when it resolves. @throws SluiceError STORAGE_FULL, STORAGE_READ_ONLY; after any other failure the node ends. */
  write(operations: readonly LevelOperation[]): Promise<void> {
    if (operations.length === 0) return Promise.resolve()
    const refused = this.closed ? new SluiceError('SHUTTING_DOWN', 'the state store is closed') : this.unavailable
    if (refused) return Promise.reject(refused)
    return new Promise((resolve, reject) => {
      this.waiting.push({ operations, resolve, reject })
      this.writing ??= this.writeAll()
    })
  }

  /** @throws SluiceError CORRUPT_MESSAGE if the row is not what was written. */
  async read(key: Buffer): Promise<Buffer | undefined> {
    const stored: Buffer | undefined = await this.usable().get(key)
    return stored && this.checked(key, stored)
  }

  /** @throws SluiceError CORRUPT_MESSAGE at the first row that is not what was written. */
  async *range(from: Buffer, to: Buffer): AsyncIterable<readonly [Buffer, Buffer]> {
    for await (const [key, stored] of this.usable().iterator({ gte: from, lt: to }))
      yield [key, this.checked(key, stored)]
  }

  private checked(key: Buffer, stored: Buffer): Buffer {
    const value = withoutCheck(stored, key)
    if (value !== null) return value
    const message = `the row ${nameOf(key)} of the state database has changed; the next start sets the database aside`
    this.options.logger.error(message)
    throw new SluiceError('CORRUPT_MESSAGE', message)
  }

  /** Waits for what is being written, then closes. */
  async close(): Promise<void> {
    this.closed = true
    await this.writing
    await this.reopening
    // What it failed with would have been heard of at the next write; there is none.
    await this.witness?.close().catch(() => {})
    if (this.database.status === 'open') await this.database.close()
  }

  private usable(): LevelDatabase {
    if (this.unavailable) throw this.unavailable
    return this.database
  }

  private async writeAll(): Promise<void> {
    while (this.waiting.length > 0) {
      const group = this.waiting
      this.waiting = []
      try {
        const count = this.writes + 1
        const counted = { type: 'put' as const, key: WRITES_KEY, value: withCheck(cbor.encode(count), WRITES_KEY) }
        await writeSynced(this.database, [...group.flatMap((one) => one.operations), counted])
        this.writes = count
        this.witness?.note({ count, succeeded: false })
        for (const one of group) one.resolve()
      } catch (error) {
        this.failed(storageError(error, 'the state store cannot be written'), group)
      }
    }
    this.writing = null
  }

  // LevelDB acknowledges and then loses sync writes after a rejected one (google/leveldb#578), so the database is not written again
  // before it has been closed, reopened and thereby read back from disk.
  private failed(error: SluiceError, group: readonly Waiting[]): void {
    const refused = [...group, ...this.waiting]
    this.waiting = []
    this.unavailable = error
    for (const one of refused) one.reject(error)
    if (error.code !== 'STORAGE_FULL' && error.code !== 'STORAGE_READ_ONLY') {
      this.options.onFatal(error)
      return
    }
    this.options.logger.warn('state cannot be written; will try again', { reason: error })
    this.reopening ??= this.reopen()
  }

  private async reopen(): Promise<void> {
    await this.database.close()
    while (!this.closed) {
      try {
        this.database = await LevelStateStore.openDatabase(this.options.directory)
        this.unavailable = null
        this.options.logger.info('state can be written again')
        break
      } catch {
        await new Promise((resolve) => setTimeout(resolve, REOPEN_DELAY_MS).unref())
      }
    }
    this.reopening = null
  }
}

class LevelStateTable<V> implements StateTable<V> {
  private readonly prefix: string

  constructor(
    private readonly store: LevelStateStore,
    name: string,
  ) {
    this.prefix = `${name}\0`
  }

  async get(key: string): Promise<V | undefined> {
    const value = await this.store.read(this.keyOf(key))
    return value === undefined ? undefined : (cbor.decode(value) as V)
  }

  async *entries(prefix = ''): AsyncIterable<readonly [string, V]> {
    const from = Buffer.from(this.prefix + prefix)
    const to = Buffer.concat([from, Buffer.from([0xff])])
    for await (const [key, value] of this.store.range(from, to)) {
      yield [key.toString('utf8', this.prefix.length), cbor.decode(value) as V]
    }
  }

  put(key: string, value: V): Promise<void> {
    return this.write([{ put: key, value }])
  }

  delete(key: string): Promise<void> {
    return this.write([{ delete: key }])
  }

  write(operations: readonly StateOperation<V>[]): Promise<void> {
    return this.store.write(operations.map((operation) => this.encode(operation)))
  }

  private encode(operation: StateOperation<V>): LevelOperation {
    if ('delete' in operation) return { type: 'del', key: this.keyOf(operation.delete) }
    const value = cbor.encode(operation.value)
    if (value.length > MAX_STATE_VALUE_BYTES)
      throw new RangeError(`a state value is at most ${MAX_STATE_VALUE_BYTES} bytes`)
    const key = this.keyOf(operation.put)
    return { type: 'put', key, value: withCheck(value, key) }
  }

  private keyOf(key: string): Buffer {
    const bytes = Buffer.from(this.prefix + key)
    if (bytes.length > MAX_STATE_KEY_BYTES) throw new RangeError(`a state key is at most ${MAX_STATE_KEY_BYTES} bytes`)
    return bytes
  }
}

/** For people: `table key`. */
function nameOf(key: Buffer): string {
  return key.toString('utf8').replace('\0', ' ')
}
