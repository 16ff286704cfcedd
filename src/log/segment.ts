// One LevelDB database holding a bounded stretch of one stream (D2): born, written, sealed, read, dropped. What each of these leaves on the
// disk is told in segment-directory.ts.

import { rm } from 'node:fs/promises'
import { Encoder } from 'cbor-x'
import { assert } from '../base/assert.js'
import { SluiceError } from '../base/errors.js'
import { withoutCheck } from '../state/checked-value.js'
import { type LevelDatabase, type LevelOperation, mayPass, openLevel, storageError } from '../state/level-database.js'
import { metaKey } from './keys.js'
import { markSucceeded } from './live-file.js'
import { beginRemoval, readSealedFile, writeSealedFile } from './segment-directory.js'
import { isSameDigest, NO_FACTS, readFacts, type SegmentFacts } from './segment-facts.js'
import { assertFlushed, flushToTable } from './segment-flush.js'
import { addGap, type Extent, emptyExtents, encodeSummary, type SegmentHeader } from './segment-index.js'
import { FileSource, LevelSource, type SegmentSource } from './segment-source.js'
import { type PreparedSegment, SegmentWriter } from './segment-writer.js'
import { SharedSource } from './shared-source.js'
import { TopicSet } from './topic-set.js'

const cbor = new Encoder({ useRecords: false })
/** More than any segment holds. */
export const UNSEALED_WRITE_BUFFER_BYTES = 128 * 1024 * 1024

export class Segment {
  readonly extents: Extent[]
  /** While it is written; afterwards they are in the database. */
  readonly topics = new TopicSet()
  private sealedTopics: readonly string[] | null | undefined
  lastWritePoweredOnMs: number
  /** At its seal. */
  private factsDigest = NO_FACTS
  private readonly source: SharedSource

  private constructor(
    readonly directory: string,
    readonly header: SegmentHeader,
    /** While it is written or sealed. */
    private database: LevelDatabase | null,
    public state: 'active' | 'sealed' | 'dropped' | 'replaced',
    /** Of one born by this process. */
    private readonly writer: SegmentWriter | null,
    extents?: Extent[],
  ) {
    this.source = new SharedSource(database && new LevelSource(database), () => this.open())
    this.extents = extents ?? emptyExtents(header)
    this.lastWritePoweredOnMs = header.poweredOnMs
  }

  /** Makes a prepared database a segment: after this, records in it may be acknowledged. @throws SluiceError as storageError. */
  static async birth(
    prepared: PreparedSegment,
    header: SegmentHeader,
    facts: ReadonlyMap<string, Uint8Array>,
  ): Promise<Segment> {
    const writer = await SegmentWriter.birth(prepared, header, facts)
    return new Segment(prepared.directory, header, prepared.database, 'active', writer)
  }

  /** A sealed segment as its `sealed` file describes it; null if there is no such file or it is damaged. */
  static async openSealed(directory: string): Promise<Segment | null> {
    const summary = await readSealedFile(directory)
    if (summary === null) return null
    const segment = new Segment(directory, summary.header, null, 'sealed', null, [...summary.extents])
    segment.lastWritePoweredOnMs = summary.lastWritePoweredOnMs
    segment.factsDigest = summary.facts
    return segment
  }

  /** A segment that was not sealed when its node ended: see recovery.ts. */
  static unsealed(directory: string, header: SegmentHeader, database: LevelDatabase): Segment {
    return new Segment(directory, header, database, 'active', null)
  }

  /** Bytes of the record batches stored. */
  get bytes(): number {
    return this.extents.reduce((sum, extent) => sum + extent.bytes, 0)
  }

  get records(): number {
    return this.extents.reduce((sum, extent) => sum + extent.records, 0)
  }

  /** One sync write, while no other is under way. Only for the active segment. @param onCopied Called when its bytes have been copied. */
  async write(operations: LevelOperation[], onCopied: () => void): Promise<void> {
    assert(this.state === 'active' && this.writer !== null, 'only the active segment is written')
    await this.writer.write(operations, onCopied)
  }

  /** Nothing is written to it any more, and the next segment is born: remembered before anything is acknowledged out of that one. */
  async succeeded(): Promise<void> {
    await this.writer?.end()
    await markSucceeded(this.directory)
  }

  /**
   * Runs `read` with what the segment holds; that stays open until `read` has settled.
   * @throws SluiceError OFFSET_OUT_OF_RANGE if the segment has been dropped or replaced meanwhile; as `openLevel` if it cannot be opened.
   */
  use<T>(read: (source: SegmentSource) => Promise<T>): Promise<T> {
    return this.source.use(read)
  }

  /**
   * Completes the segment: index, flush to a table, close. It is opened again when somebody reads.
   * @throws SluiceError when it could not be flushed: the database stays open and readable, see recoverSegment for what then.
   */
  async seal(): Promise<void> {
    const { database } = this
    assert(this.state === 'active' && database !== null, 'only an active segment is sealed')
    try {
      this.factsDigest = (await this.use(readFacts)).digest
      const summary = this.summary()
      await flushToTable(database, this.directory, summary, this.topics.names())
      // A reader that opened it in between would begin another write-ahead log.
      await this.whileClosed(async () => {
        await assertFlushed(this.directory)
        await writeSealedFile(this.directory, summary)
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
    await writeSealedFile(this.directory, this.summary()).catch((error) => {
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
    const doomed = await this.whileClosed(() => {
      this.state = 'dropped'
      return beginRemoval(this.directory)
    })
    await rm(doomed, { recursive: true, force: true })
  }

  private summary(): Buffer {
    const { header, extents, lastWritePoweredOnMs, factsDigest } = this
    return encodeSummary({ header, extents, lastWritePoweredOnMs, facts: factsDigest })
  }

  private async open(): Promise<SegmentSource> {
    if (this.state === 'dropped' || this.state === 'replaced')
      throw new SluiceError('OFFSET_OUT_OF_RANGE', 'retention has removed these records')
    if (this.state === 'sealed') return FileSource.open(this.directory)
    // One that could not be sealed still has its records in the write-ahead log, which is replayed into one memtable.
    const options = { writeBufferBytes: UNSEALED_WRITE_BUFFER_BYTES, createIfMissing: false }
    try {
      this.database = await openLevel(this.directory, options)
      return new LevelSource(this.database)
    } catch (error) {
      // Opening writes: on a disk that is full, or read-only, reading goes on without. What a flush has left there half done is no damage.
      if (!mayPass(storageError(error, `the segment ${this.directory} cannot be opened`))) throw error
      return FileSource.open(this.directory, false).catch(() => {
        throw error
      })
    }
  }

  /** Waits for readers, closes the database, and runs `work` before anybody can open it again. */
  private whileClosed<T>(work: () => Promise<T>): Promise<T> {
    return this.source.whileClosed(async () => {
      this.database = null
      this.sealedTopics = undefined
      await this.writer?.end()
      return work()
    })
  }
}
