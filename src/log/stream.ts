// A stream: append on one side, fetch on the other, durable in between. Called by the publish path, by fetches of every kind, by replication.
//
// Invariants: an offset is given at append and never twice; a Commit settles as durable only after the sync write that holds it; what is
// above the high watermark is shown to nobody.

import { assert } from '../base/assert.js'
import { SluiceError } from '../base/errors.js'
import type { Offset, PartitionId, RecordInput } from '../record/record.js'
import { baseOffsetOf, lastOffsetOf, recordCountOf } from '../record/record-batch.js'
import { maxEncodedRecordBytes } from '../record/record-batch-builder.js'
import type { LedgerReason } from '../state/ledger.js'
import { type AddedPartition, addedPartitionName, encodeAddedPartition } from './added-partition.js'
import { GroupCommit } from './commit.js'
import { CommitPath, type CommitPathOptions } from './commit-path.js'
import type { Damage } from './damage-ledger.js'
import { Fetcher } from './fetcher.js'
import { type ProducerSequence, ProducerTable } from './producer-table.js'
import type { DropCandidate, RetentionOptions } from './retention.js'
import type { OpenSegments } from './segment-list.js'
import type { SegmentStore } from './segment-store.js'
import { StreamRetention } from './stream-retention.js'
import type { Commit, Fetched, FetchLimits, ProducerAppend, Stream, StreamStats } from './types.js'

/** Small facts a stream carries from segment to segment, inclusive. */
export const MAX_FACTS_PER_STREAM = 131_072

export interface LogStreamOptions extends CommitPathOptions {
  readonly topics: readonly string[]
  /** It takes no records any more. */
  readonly retired: boolean
  readonly openSegments: OpenSegments
  /** Largest encoded record taken, inclusive. */
  readonly maxRecordBytes: number
  readonly retention: Omit<RetentionOptions, 'store'>
  /** Names offsets that turned out to be damaged; durable when it resolves. */
  readonly onDamage: (damage: readonly Damage[]) => Promise<void>
}

/** Of what was durable before this start. */
const DURABLE = new GroupCommit()
DURABLE.settle(null)

export class LogStream implements Stream {
  private readonly next: number[]
  private readonly listeners = new Set<() => void>()
  private readonly store: SegmentStore
  private readonly commits: CommitPath
  private readonly retention: StreamRetention
  private readonly fetcher: Fetcher
  private readonly producers = new ProducerTable()
  private appendedRecords = 0

  constructor(private readonly options: LogStreamOptions) {
    const { name, store } = options
    this.store = store
    this.next = store.ends.map((end) => end.offset)
    this.producers.load(store.facts)
    const notify = (): void => this.notify()
    this.commits = new CommitPath(options, {
      onChange: notify,
      onRolled: () => this.maintain(),
      onReadBack: () => this.takeFromStore(),
      makeRoom: () => this.makeRoom('disk_full'),
    })
    this.retention = new StreamRetention(name, { ...options.retention, store }, this.commits, notify)
    this.fetcher = new Fetcher({
      stream: name,
      store,
      openSegments: options.openSegments,
      giveUpBallast: () => this.commits.recovery.giveUpBallast(),
      onDamage: options.onDamage,
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
    return this.commits.queue.hasRoom
  }

  whenRoom(): Promise<void> {
    return this.commits.queue.whenRoom()
  }

  /** Why nothing can be appended now; null if something can. Listeners of `onChange` hear of its coming and going. */
  get refused(): SluiceError | null {
    return this.commits.refusal ?? this.retention.full
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
    return this.commits.queue.append(partition, offset, record)
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
    const commit = this.commits.queue.appendFrom(producer, partition, firstOffset, records)
    const batch = { sequence: producer.sequence, count: records.length, offset: firstOffset, commit }
    const usedAtMs = this.options.retention.poweredOnMs()
    for (const { name, value } of this.producers.appended(partition, producer, batch, usedAtMs))
      this.commits.queue.setFact(name, value)
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
    return this.commits.queue.appendBatch(partition, batch)
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
    if (this.commits.refusal) throw this.commits.refusal
    // Those on their way to the disk are counted as if each were new.
    const facts = this.store.facts.size + this.commits.queue.pendingFacts
    if (value !== null && facts >= MAX_FACTS_PER_STREAM && !this.store.facts.has(name)) {
      throw new SluiceError('TOO_MANY_REQUESTS', `stream ${this.name} keeps ${MAX_FACTS_PER_STREAM} facts, its maximum`)
    }
    return this.commits.queue.setFact(name, value)
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
      pendingBytes: this.commits.queue.pendingBytes,
      appendedRecords: this.appendedRecords,
      commits: this.commits.commits,
      refusal: this.refused?.message ?? null,
    }
  }

  /** Drops what retention says, rolls what is old. Called at start, after a roll and every so often. */
  maintain(): Promise<void> {
    return this.retention.maintain()
  }

  /** The oldest segment, if retention lets it go for want of space. */
  get dropCandidate(): DropCandidate | null {
    return this.retention.dropCandidate
  }

  /** Drops that segment. @returns false if there is none. */
  makeRoom(reason: LedgerReason): Promise<boolean> {
    return this.retention.makeRoom(reason)
  }

  /** Commits what was appended, seals the active segment unless a write to it has failed, and closes. Later appends throw SHUTTING_DOWN. */
  async close(): Promise<void> {
    await this.commits.close()
    await this.store.close()
    this.notify()
  }

  private takeFromStore(): void {
    this.store.ends.forEach((end, partition) => {
      this.next[partition] = end.offset
    })
    this.producers.load(this.store.facts)
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
}
