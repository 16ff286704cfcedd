// A stream: append on one side, fetch on the other, durable in between. Called by the publish path, by fetches of every kind, by replication.
//
// Invariants: an offset is given at append and never twice; a Commit settles as durable only after the sync write that holds it; what is
// above the high watermark is shown to nobody.

import { assert } from '../base/assert.js'
import { SluiceError } from '../base/errors.js'
import type { CompressionCodec } from '../record/compression.js'
import type { Offset, PartitionId, RecordInput } from '../record/record.js'
import { baseOffsetOf, lastOffsetOf, recordCountOf } from '../record/record-batch.js'
import { maxEncodedRecordBytes } from '../record/record-batch-builder.js'
import type { Ballast } from '../state/ballast.js'
import type { LedgerReason } from '../state/ledger.js'
import { mayPass, storageError } from '../state/level-database.js'
import { type AddedPartition, addedPartitionName, encodeAddedPartition } from './added-partition.js'
import { BatchCompressor } from './batch-compressor.js'
import { GroupCommit } from './commit.js'
import { CommitQueue } from './commit-queue.js'
import { Fetcher } from './fetcher.js'
import type { Gathering } from './gathering.js'
import { type ProducerSequence, ProducerTable } from './producer-table.js'
import { type DropCandidate, dropCandidate, dropOldest, enforceRetention, type RetentionOptions } from './retention.js'
import type { OpenSegments } from './segment-list.js'
import type { Damage, SegmentStore } from './segment-store.js'
import type { Commit, Fetched, FetchLimits, ProducerAppend, Stream, StreamStats } from './types.js'
import { WriteRecovery } from './write-recovery.js'

/** Small facts a stream carries from segment to segment, inclusive. */
export const MAX_FACTS_PER_STREAM = 131_072

export interface LogStreamOptions {
  readonly name: string
  readonly topics: readonly string[]
  /** It takes no records any more. */
  readonly retired: boolean
  readonly store: SegmentStore
  readonly openSegments: OpenSegments
  readonly directory: string
  readonly segmentBytes: number
  readonly maxBatchBytes: number
  readonly maxPendingBytes: number
  readonly lingerMs: number
  readonly compression: CompressionCodec
  /** Largest encoded record taken, inclusive. */
  readonly maxRecordBytes: number
  readonly retention: Omit<RetentionOptions, 'store'>
  /** Given up when the disk is full, so that reading goes on. */
  readonly ballast: Ballast
  /** Names offsets that turned out to be damaged; durable when it resolves. */
  readonly onDamage: (damage: readonly Damage[]) => Promise<void>
  /** Called for a failed write after which nothing may be trusted (D4): the process must end. */
  readonly onFatal: (error: SluiceError) => void
}

/** Of what was durable before this start. */
const DURABLE = new GroupCommit()
DURABLE.settle(null)

export class LogStream implements Stream {
  private readonly queue: CommitQueue
  private readonly next: number[]
  private readonly listeners = new Set<() => void>()
  private readonly store: SegmentStore
  private readonly fetcher: Fetcher
  private readonly compressor: BatchCompressor
  private readonly producers = new ProducerTable()
  private readonly recovery: WriteRecovery
  private readonly retention: RetentionOptions
  /** Set while nothing can be appended: why. */
  private refusal: SluiceError | null = null
  private full: SluiceError | null = null
  private appendedRecords = 0
  private commits = 0
  private closing = false

  constructor(private readonly options: LogStreamOptions) {
    this.store = options.store
    this.retention = { ...options.retention, store: options.store }
    this.next = this.store.ends.map((end) => end.offset)
    this.producers.load(this.store.facts)
    this.compressor = new BatchCompressor(options.compression)
    this.recovery = new WriteRecovery({
      stream: options.name,
      directory: options.directory,
      segmentBytes: options.segmentBytes,
      ballast: options.ballast,
      store: options.store,
      exclusive: (task) => this.queue.exclusive(task),
      makeRoom: () => this.makeRoom('disk_full'),
      isClosing: () => this.closing,
    })
    this.fetcher = new Fetcher({
      stream: options.name,
      store: options.store,
      openSegments: options.openSegments,
      giveUpBallast: () => this.recovery.giveUpBallast(),
      onDamage: options.onDamage,
    })
    this.queue = new CommitQueue({
      maxBatchBytes: options.maxBatchBytes,
      maxPendingBytes: options.maxPendingBytes,
      lingerMs: options.lingerMs,
      write: (gathering, onSubmitted) => this.write(gathering, onSubmitted),
      onCommitted: () => this.notify(),
    })
  }

  get name(): string {
    return this.options.name
  }

  get topics(): readonly string[] {
    return this.options.topics
  }

  get partitions(): number {
    return this.next.length
  }

  get hasRoom(): boolean {
    return this.queue.hasRoom
  }

  whenRoom(): Promise<void> {
    return this.queue.whenRoom()
  }

  /** Why nothing can be appended now; null if something can. Listeners of `onChange` hear of its coming and going. */
  get refused(): SluiceError | null {
    return this.refusal ?? this.full
  }

  nextOffset(partition: PartitionId): Offset {
    return this.next[this.checked(partition)] as Offset
  }

  logStartOffset(partition: PartitionId): Offset {
    return this.store.startOf(this.checked(partition)) as Offset
  }

  /** Of the last durable batch. */
  epoch(partition: PartitionId): number {
    return this.store.ends[this.checked(partition)].epoch
  }

  highWatermark(partition: PartitionId): Offset {
    return this.store.ends[this.checked(partition)].offset as Offset
  }

  append(partition: PartitionId, record: RecordInput): Commit {
    this.checkWritable()
    this.checkSize(record)
    const offset = this.nextOffset(partition)
    this.next[partition] = offset + 1
    this.appendedRecords += 1
    return this.queue.append(partition, offset, record)
  }

  appendFrom(producer: ProducerSequence, partition: PartitionId, records: readonly RecordInput[]): ProducerAppend {
    if (records.length === 0) throw new RangeError('a producer appends at least one record')
    const firstOffset = this.nextOffset(partition)
    const before = this.producers.find(partition, producer, records.length)
    if (before) return { firstOffset: before.offset, commit: before.commit ?? DURABLE, duplicate: true }
    this.checkWritable()
    for (const record of records) this.checkSize(record)
    this.next[partition] = firstOffset + records.length
    this.appendedRecords += records.length
    const commit = this.queue.appendFrom(producer, partition, firstOffset, records)
    const batch = { sequence: producer.sequence, count: records.length, offset: firstOffset, commit }
    const usedAtMs = this.options.retention.poweredOnMs()
    for (const { name, value } of this.producers.appended(partition, producer, batch, usedAtMs))
      this.queue.setFact(name, value)
    return { firstOffset, commit, duplicate: false }
  }

  /**
   * Appends a batch that is encoded already, as it is: offsets, times, producer and epoch stay. What it leaves out before it must be in
   * the ledger. Its bytes must not change before the commit has settled. @throws SluiceError as append.
   */
  appendBatch(partition: PartitionId, batch: Buffer): Commit {
    this.checkWritable()
    assert(baseOffsetOf(batch) >= this.nextOffset(partition), 'no offset is used twice')
    this.next[partition] = lastOffsetOf(batch) + 1
    this.appendedRecords += recordCountOf(batch)
    return this.queue.appendBatch(partition, batch)
  }

  /** Adds a partition behind the last one. Durable with the commit. */
  addPartition(added: AddedPartition): Commit {
    this.checkWritable()
    const commit = this.setFact(addedPartitionName(this.partitions), encodeAddedPartition(added))
    this.store.addPartition({ offset: added.base, epoch: added.epoch })
    this.next.push(added.base)
    return commit
  }

  setFact(name: string, value: Uint8Array | null): Commit {
    if (this.refusal) throw this.refusal
    if (value !== null && this.store.facts.size >= MAX_FACTS_PER_STREAM) {
      throw new SluiceError('TOO_MANY_REQUESTS', `stream ${this.name} keeps ${MAX_FACTS_PER_STREAM} facts, its maximum`)
    }
    return this.queue.setFact(name, value)
  }

  /** As durable. */
  fact(name: string): Uint8Array | undefined {
    return this.store.facts.get(name)
  }

  facts(prefix: string): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.store.facts].filter(([name]) => name.startsWith(prefix)))
  }

  fetch(partition: PartitionId, from: Offset, limits: FetchLimits): Promise<Fetched> {
    return this.fetcher.fetch(this.checked(partition), from, limits)
  }

  offsetForTime(partition: PartitionId, timestampMs: number): Promise<Offset> {
    return this.fetcher.offsetForTime(this.checked(partition), timestampMs)
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  stats(): StreamStats {
    const { segments } = this.store
    return {
      bytes: segments.bytes,
      segments: segments.all.length,
      pendingBytes: this.queue.pendingBytes,
      appendedRecords: this.appendedRecords,
      commits: this.commits,
      refusal: this.refused?.message ?? null,
    }
  }

  /** Drops what retention says, rolls what is old. Called at start, after a roll and every so often. */
  maintain(): Promise<void> {
    return this.orEnd(async () => {
      if (this.closing || this.refusal) return
      if (this.store.hasUnsealed && (await this.recovery.diskHasRoom())) await this.store.reopen()
      const { maxAgeMs } = this.options.retention.policy
      // An eighth of the age, so that what expires goes in eight steps.
      if (maxAgeMs !== null && this.store.activeAgeMs > maxAgeMs / 8) await this.store.roll()
      const start = this.store.segments.oldest
      const full = await enforceRetention(this.retention)
      this.full = full ? this.fullError() : null
      if (start !== this.store.segments.oldest) this.notify()
    })
  }

  /** The oldest segment, if retention lets it go for want of space. */
  get dropCandidate(): DropCandidate | null {
    return this.closing ? null : dropCandidate(this.retention)
  }

  /** Drops that segment. @returns false if there is none. */
  async makeRoom(reason: LedgerReason): Promise<boolean> {
    let dropped = false
    await this.orEnd(async () => {
      dropped = await dropOldest(this.retention, reason)
    })
    if (dropped) this.notify()
    return dropped
  }

  /** Commits what was appended, seals the active segment unless a write to it has failed, and closes. Later appends throw SHUTTING_DOWN. */
  async close(): Promise<void> {
    this.closing = true
    await this.queue.flush()
    this.refusal = new SluiceError('SHUTTING_DOWN', `stream ${this.name} is closed`)
    await this.store.close()
    this.notify()
  }

  private async write(gathering: Gathering, onSubmitted: () => void): Promise<void> {
    const segmentsBefore = this.store.segments.newest
    const { bytes, facts, topics } = gathering
    const onCopied = (): void => {
      gathering.recycle()
      onSubmitted()
    }
    try {
      const plain = [...gathering.finish((partition) => this.store.ends[partition].epoch)]
      const batches = await this.compressor.compress(plain, bytes)
      await this.store.write({ batches, facts, topics, bytes, onCopied })
    } catch (error) {
      const failure = storageError(error, `stream ${this.name} cannot be written`)
      this.failed(failure)
      throw failure
    }
    this.commits += 1
    // Not awaited: it waits for this commit to end.
    if (this.store.segments.newest !== segmentsBefore) this.maintain().catch((error) => this.failed(error))
  }

  /** Runs a task while nothing is written. A failure that does not pass ends the process, as that of a write does (D4). */
  private orEnd(task: () => Promise<void>): Promise<void> {
    return this.queue.exclusive(task).catch((error) => {
      const failure = storageError(error, `stream ${this.name} cannot be maintained`)
      if (failure.code === 'STORAGE_FAILED') this.failed(failure)
      throw failure
    })
  }

  private failed(failure: SluiceError): void {
    if (this.refusal) return
    this.refusal = failure
    // Whatever failed, the write itself or what it needed first: from here on readers are told what the disk says (D4).
    this.store.tail.clear()
    this.queue.failGathering(failure)
    this.notify()
    if (mayPass(failure)) void this.recover()
    else this.options.onFatal(failure)
  }

  private async recover(): Promise<void> {
    try {
      await this.recovery.run()
    } catch (error) {
      this.options.onFatal(error as SluiceError)
      return
    }
    if (this.closing) return
    // What memory held of the failed write is gone; the disk says what there is (D4).
    this.store.ends.forEach((end, partition) => {
      this.next[partition] = end.offset
    })
    this.producers.load(this.store.facts)
    this.refusal = null
    this.notify()
    await this.maintain()
  }

  private notify(): void {
    for (const listener of this.listeners) listener()
  }

  private checked(partition: PartitionId): PartitionId {
    if (this.next[partition] !== undefined) return partition
    throw new SluiceError(
      'UNKNOWN_STREAM_OR_PARTITION',
      `stream ${this.name} has partitions 0 to ${this.partitions - 1}`,
      {
        stream: this.name,
        partition,
      },
    )
  }

  private checkWritable(): void {
    if (this.options.retired) {
      const message = `stream ${this.name} is no longer configured: it takes no records`
      throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', message, { stream: this.name })
    }
    if (this.refused) throw this.refused
  }

  private checkSize(record: RecordInput): void {
    if (maxEncodedRecordBytes(record) > this.options.maxRecordBytes) throw this.tooLarge(record)
  }

  private tooLarge(record: RecordInput): SluiceError {
    const limit = this.options.maxRecordBytes
    const bytes = maxEncodedRecordBytes(record)
    return new SluiceError('RECORD_TOO_LARGE', `a record of ${bytes} bytes is over the limit of ${limit}`, {
      bytes,
      limit,
    })
  }

  private fullError(): SluiceError {
    const { maxBytes } = this.options.retention.policy
    const message = `stream ${this.name} holds its max_bytes of ${maxBytes} and on_full is "reject"; it takes records again once upstreams have acknowledged the oldest`
    return new SluiceError('STORAGE_FULL', message, { stream: this.name, maxBytes })
  }
}
