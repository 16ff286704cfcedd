// One LevelDB database holding a bounded stretch of one stream (D2): opened ahead of need, born, written, sealed, read, dropped. Each step
// leaves the directory such that a crash at any point gives either the segment or nothing.
//
//   no file `live`        nothing in it was acknowledged: removed at start
//   `live`                may hold acknowledged records, and says how many at least: verified and sealed at start
//   `live` and `sealed`   complete, never written again; `sealed` says what is in it
//   name ends .dropped    its removal was begun: finished at start

import { readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Encoder } from 'cbor-x'
import { assert } from '../base/assert.js'
import { SluiceError } from '../base/errors.js'
import { withCheck, withoutCheck } from '../state/checked-value.js'
import { listDirectory, syncDirectory, writeFileDurably } from '../state/durable-files.js'
import {
  type LevelDatabase,
  type LevelOperation,
  openLevel,
  storageError,
  writeSynced,
} from '../state/level-database.js'
import { checkWal } from '../state/wal-check.js'
import type { WitnessFile } from '../state/witness-file.js'
import { KEY_END, META_START, metaKey } from './keys.js'
import { createLiveFile, LIVE_FILE, markSucceeded, openLiveFile } from './live-file.js'
import { factOperation, isSameDigest, NO_FACTS, readFacts, type SegmentFacts } from './segment-facts.js'
import {
  addGap,
  decodeSummary,
  type Extent,
  emptyExtents,
  encodeHeader,
  encodeSummary,
  type SegmentHeader,
  type SegmentSummary,
} from './segment-index.js'
import { LevelSource, SealedSource, type SegmentSource } from './segment-source.js'
import { TopicSet } from './topic-set.js'
import { WalLayout, walBytesOf } from './wal-layout.js'

export const SEGMENT_NAME = /^\d{12}$/
export const DROPPED_SUFFIX = '.dropped'
const cbor = new Encoder({ useRecords: false })

const SEALED_FILE = 'sealed'
/** LevelDB's. */
const LEVELS = 7
/** More than any segment holds. */
export const UNSEALED_WRITE_BUFFER_BYTES = 128 * 1024 * 1024

export function segmentName(sequence: number): string {
  return String(sequence).padStart(12, '0')
}

/** A segment's database, opened ahead of need; holds nothing and is nothing until its birth. */
export interface PreparedSegment {
  readonly directory: string
  readonly database: LevelDatabase
  readonly layout: WalLayout
}

export interface PrepareOptions {
  /** Larger than the segment, so that LevelDB never flushes by itself. */
  readonly writeBufferBytes: number
  /** How much of the write-ahead log to lay out until its birth. */
  readonly laidOutBytes: number
}

export async function prepareSegment(directory: string, options: PrepareOptions): Promise<PreparedSegment> {
  await rm(directory, { recursive: true, force: true })
  const database = await openLevel(directory, { writeBufferBytes: options.writeBufferBytes, createIfMissing: true })
  return { directory, database, layout: new WalLayout(directory, options.laidOutBytes) }
}

export class Segment {
  readonly extents: Extent[]
  /** While it is written; afterwards they are in the database. */
  readonly topics = new TopicSet()
  private sealedTopics: readonly string[] | null | undefined
  lastWritePoweredOnMs: number
  /** At its seal. */
  private factsDigest = NO_FACTS
  /** While it is written. */
  private live: WitnessFile | null = null
  private layout: WalLayout | null = null
  private source: SegmentSource | null
  private writingEnded: Promise<void> | null = null
  private operations = 0
  private users = 0
  private idleWaiters: (() => void)[] = []
  /** While the database is being opened or closed; readers wait for it. */
  private transition: Promise<void> | null = null

  private constructor(
    readonly directory: string,
    readonly header: SegmentHeader,
    /** While it is written or sealed. */
    private database: LevelDatabase | null,
    public state: 'active' | 'sealed' | 'dropped' | 'replaced',
    extents?: Extent[],
  ) {
    this.source = database && new LevelSource(database)
    this.extents = extents ?? emptyExtents(header)
    this.lastWritePoweredOnMs = header.poweredOnMs
  }

  /** Makes a prepared database a segment: after this, records in it may be acknowledged. */
  static async birth(
    { directory, database, layout }: PreparedSegment,
    header: SegmentHeader,
    facts: ReadonlyMap<string, Uint8Array>,
  ): Promise<Segment> {
    const segment = new Segment(directory, header, database, 'active')
    try {
      await layout.begin()
      const operations: LevelOperation[] = [{ type: 'put', key: metaKey('header'), value: encodeHeader(header) }]
      for (const [name, value] of facts) operations.push(factOperation(name, value))
      // Not laid out for: whether what follows is small enough to gain by it is not known yet.
      await database.batch(operations, { sync: true })
      segment.operations = operations.length
      await createLiveFile(directory, { count: segment.operations, succeeded: false })
      await syncDirectory(dirname(directory))
      segment.live = await openLiveFile(directory)
      segment.layout = layout
    } catch (error) {
      await layout.close()
      // Otherwise the next attempt would find it locked.
      await database.close()
      throw storageError(error, `the segment ${directory} cannot be begun`)
    }
    return segment
  }

  /** A sealed segment as its `sealed` file describes it; null if there is no such file or it is damaged. */
  static async openSealed(directory: string): Promise<Segment | null> {
    let summary: SegmentSummary | null
    try {
      summary = decodeSummary(await readFile(join(directory, SEALED_FILE)))
    } catch {
      return null
    }
    if (summary === null) return null
    const segment = new Segment(directory, summary.header, null, 'sealed', [...summary.extents])
    segment.lastWritePoweredOnMs = summary.lastWritePoweredOnMs
    segment.factsDigest = summary.facts
    return segment
  }

  /** A segment that was not sealed when its node ended: see recovery.ts. */
  static unsealed(directory: string, header: SegmentHeader, database: LevelDatabase): Segment {
    return new Segment(directory, header, database, 'active')
  }

  /** Bytes of the record batches stored. */
  get bytes(): number {
    return this.extents.reduce((sum, extent) => sum + extent.bytes, 0)
  }

  get records(): number {
    return this.extents.reduce((sum, extent) => sum + extent.records, 0)
  }

  get isOpen(): boolean {
    return this.source !== null
  }

  get isIdle(): boolean {
    return this.users === 0
  }

  /** One sync write, while no other is under way. Only for the active segment. @param onCopied Called when its bytes have been copied. */
  async write(operations: LevelOperation[], onCopied: () => void): Promise<void> {
    const { database } = this
    assert(this.state === 'active' && database !== null, 'only the active segment is written')
    await this.layout?.beforeWrite(walBytesOf(operations))
    const written = writeSynced(database, operations)
    onCopied()
    await written
    this.operations += operations.length
    this.live?.note({ count: this.operations, succeeded: false })
  }

  /** Nothing is written to it any more, and the next segment is born: remembered before anything is acknowledged out of that one. */
  async succeeded(): Promise<void> {
    await this.endWriting()
    await markSucceeded(this.directory)
  }

  /**
   * Runs `read` with what the segment holds; that stays open until `read` has settled.
   * @throws SluiceError OFFSET_OUT_OF_RANGE if the segment has been dropped or replaced meanwhile; as `openLevel` if it cannot be opened.
   */
  async use<T>(read: (source: SegmentSource) => Promise<T>): Promise<T> {
    const source = await this.acquire()
    try {
      return await read(source)
    } finally {
      this.users -= 1
      if (this.users === 0) for (const wake of this.idleWaiters.splice(0)) wake()
    }
  }

  /**
   * Completes the segment: index, flush to a table, close. It is opened again when somebody reads.
   * @throws SluiceError when it could not be flushed: the database stays open and readable, see recoverSegment for what then.
   */
  async seal(): Promise<void> {
    const database = this.database
    assert(this.state === 'active' && database !== null, 'only an active segment is sealed')
    try {
      this.factsDigest = (await readFacts(new LevelSource(database))).digest
      const summary = this.summary()
      const topics = withCheck(cbor.encode(this.topics.names()), metaKey('topics'))
      await database.batch(
        [
          { type: 'put', key: metaKey('index'), value: summary },
          { type: 'put', key: metaKey('topics'), value: topics },
        ],
        { sync: true },
      )
      await database.compactRange(KEY_END, KEY_END)
      await assertTable(database, this.directory, summary)
      // A reader that opened it in between would begin another write-ahead log.
      await this.whileClosed(async () => {
        await this.assertFlushed()
        await writeFileDurably(join(this.directory, SEALED_FILE), summary)
        this.state = 'sealed'
      })
    } catch (error) {
      throw storageError(error, `the segment ${this.directory} cannot be sealed`)
    }
  }

  /** The facts that held when the last record was written. */
  async facts(): Promise<SegmentFacts> {
    const found = await this.use(readFacts)
    return { ...found, complete: this.state !== 'sealed' || isSameDigest(found.digest, this.factsDigest) }
  }

  /** The MQTT topics it holds records of; null when they are too many to list. @throws SluiceError CORRUPT_MESSAGE if the list is damaged. */
  async topicNames(): Promise<readonly string[] | null> {
    if (this.state !== 'sealed') return this.topics.names()
    if (this.sealedTopics === undefined) {
      const key = metaKey('topics')
      const stored = await this.use((source) => source.get(key))
      const bytes = stored && withoutCheck(stored, key)
      if (!bytes) throw new SluiceError('CORRUPT_MESSAGE', `the list of topics of ${this.directory} is damaged`)
      this.sealedTopics = cbor.decode(bytes) as readonly string[] | null
    }
    return this.sealedTopics
  }

  /** Its list of topics cannot be read: for as long as it stays open, any may be there. */
  topicsLost(): void {
    this.sealedTopics = null
  }

  /** Remembers offsets that cannot be read any more, both inclusive, so that readers pass over them. */
  async addGap(partition: number, first: number, last: number): Promise<void> {
    addGap(this.extents[partition], first, last)
    if (this.state !== 'sealed') return
    await writeFileDurably(join(this.directory, SEALED_FILE), this.summary()).catch((error) => {
      // Retention may take it meanwhile: then nobody will read there.
      if (this.state !== 'dropped') throw error
    })
  }

  /** Waits for readers, then closes the database; `use` opens it again. */
  close(): Promise<void> {
    return this.whileClosed(async () => {})
  }

  /** Has a segment whose writing or sealing failed read back from disk. What that gives stands in its place from then on. */
  replacedBy(recover: () => Promise<Segment>): Promise<Segment> {
    return this.whileClosed(async () => {
      const recovered = await recover()
      this.state = 'replaced'
      return recovered
    })
  }

  /** Removes the segment from the disk. What it owes to anybody must be in the ledger before. */
  async drop(): Promise<void> {
    const doomed = this.directory + DROPPED_SUFFIX
    await this.whileClosed(async () => {
      this.state = 'dropped'
      await rename(this.directory, doomed)
      await syncDirectory(dirname(this.directory))
    })
    await rm(doomed, { recursive: true, force: true })
  }

  private summary(): Buffer {
    const { header, extents, lastWritePoweredOnMs, factsDigest } = this
    return encodeSummary({ header, extents, lastWritePoweredOnMs, facts: factsDigest })
  }

  private async acquire(): Promise<SegmentSource> {
    for (;;) {
      if (this.transition) await this.transition
      else if (this.state === 'dropped' || this.state === 'replaced')
        throw new SluiceError('OFFSET_OUT_OF_RANGE', 'retention has removed these records')
      else if (this.source === null) await this.open()
      else {
        // No await between the checks and this line: nobody can have begun to close it.
        this.users += 1
        return this.source
      }
    }
  }

  private open(): Promise<void> {
    return this.during(async () => {
      if (this.source !== null) return
      if (this.state === 'sealed') {
        this.source = await SealedSource.open(this.directory)
        return
      }
      // One that could not be sealed still has its records in the write-ahead log, which is replayed into one memtable.
      const options = { writeBufferBytes: UNSEALED_WRITE_BUFFER_BYTES, createIfMissing: false }
      this.database = await openLevel(this.directory, options)
      this.source = new LevelSource(this.database)
    })
  }

  /** Waits for readers, closes the database, and runs `work` before anybody can open it again. */
  private async whileClosed<T>(work: () => Promise<T>): Promise<T> {
    while (this.transition) await this.transition
    return this.during(async () => {
      if (this.users > 0) await new Promise<void>((resolve) => this.idleWaiters.push(resolve))
      await this.source?.close()
      this.source = null
      this.database = null
      this.sealedTopics = undefined
      await this.endWriting()
      return work()
    })
  }

  private endWriting(): Promise<void> {
    this.writingEnded ??= Promise.all([this.live?.close(), this.layout?.close()]).then(() => {})
    return this.writingEnded
  }

  private async during<T>(change: () => Promise<T>): Promise<T> {
    const changed = change().finally(() => {
      this.transition = null
    })
    this.transition = changed.then(
      () => {},
      () => {},
    )
    return changed
  }

  // The second witness of the flush: the write-ahead log that is left is empty.
  private async assertFlushed(): Promise<void> {
    const logs = (await listDirectory(this.directory)).filter((name) => name.endsWith('.log'))
    const sizes = await Promise.all(logs.map(async (name) => (await stat(join(this.directory, name))).size))
    if (sizes.length === 1 && sizes[0] === 0) return
    throw new SluiceError(
      'STORAGE_FAILED',
      `LevelDB did not flush its memtable: ${logs.join(', ')} of ${sizes.join(', ')} bytes`,
    )
  }
}

/**
 * compactRange resolves even when its flush failed; then the records are still in memory, and no table exists. LevelDB keeps the reason for
 * whoever writes next, and refuses that write without touching the disk.
 */
async function assertTable(database: LevelDatabase, directory: string, summary: Buffer): Promise<void> {
  for (let level = 0; level < LEVELS; level++) {
    if (Number(database.getProperty(`leveldb.num-files-at-level${level}`)) > 0) return
  }
  await database.batch([{ type: 'put', key: metaKey('index'), value: summary }])
  throw new SluiceError('STORAGE_FAILED', `LevelDB did not flush the memtable of ${directory} and does not say why`)
}

/** Whether records in this directory may have been acknowledged. Where the file `live` was lost, what else there is tells. */
export async function isLive(directory: string): Promise<boolean> {
  const names = await listDirectory(directory)
  if (names.some((name) => name === LIVE_FILE || name === SEALED_FILE || name.endsWith('.ldb'))) return true
  const { prefixes } = await checkWal(directory)
  return [...prefixes].some((prefix) => prefix !== META_START.readUInt32BE(0))
}
