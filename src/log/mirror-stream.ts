// The mirror of another node's stream, as readers see it: `<origin>.<stream>`, with the origin's partitions, offsets and times. Its records lie in
// a log that it shares with the mirrors of other origins (mirrors.ts). It is read only: what is appended comes from its origin.

import { SluiceError } from '../base/errors.js'
import type { Offset, PartitionId } from '../record/record.js'
import type { LogStream } from './stream.js'
import type { Commit, Fetched, FetchLimits, MirrorOrigin, ProducerAppend, Stream, StreamStats } from './types.js'

export class MirrorStream implements Stream {
  readonly topics: readonly string[] = []
  readonly hasRoom = false
  /** Partition of the origin -> partition of the shared log. */
  readonly local: PartitionId[] = []

  constructor(
    /** `<origin>.<stream>`, or `<origin>.<stream>.N` for the Nth before it. */
    public name: string,
    /** The node where its records were first acknowledged. */
    readonly origin: string,
    /** What the origin calls the stream. */
    readonly stream: string,
    /** Counts from 1; a higher one has taken the place of this one. */
    readonly incarnation: number,
    /** The node it comes from now: the origin, or the last one in a chain. */
    public via: string,
    readonly log: LogStream,
  ) {}

  get mirrorOf(): MirrorOrigin {
    return { origin: this.origin, via: this.via, incarnation: this.incarnation }
  }

  get partitions(): number {
    return this.local.length
  }

  logStartOffset(partition: PartitionId): Offset {
    return this.log.logStartOffset(this.localOf(partition))
  }

  highWatermark(partition: PartitionId): Offset {
    return this.log.highWatermark(this.localOf(partition))
  }

  nextOffset(partition: PartitionId): Offset {
    return this.log.nextOffset(this.localOf(partition))
  }

  fetch(partition: PartitionId, from: Offset, limits: FetchLimits): Promise<Fetched> {
    return this.log.fetch(this.localOf(partition), from, limits)
  }

  offsetForTime(partition: PartitionId, timestampMs: number): Promise<Offset> {
    return this.log.offsetForTime(this.localOf(partition), timestampMs)
  }

  onChange(listener: () => void): () => void {
    return this.log.onChange(listener)
  }

  /** See LogStream.appendBatch. */
  appendBatch(partition: PartitionId, batch: Buffer): Commit {
    return this.log.appendBatch(this.localOf(partition), batch)
  }

  /** Of the last durable batch, as its origin gave it. */
  epoch(partition: PartitionId): number {
    return this.log.epoch(this.localOf(partition))
  }

  /** Where the next record has to begin: at the end of the log, or where a gap ends that nothing has followed yet. */
  position(partition: PartitionId): number {
    return Math.max(this.nextOffset(partition), this.passedTo(partition))
  }

  /** One past the offsets behind the end of the log that will never come, as far as is durable; 0 if there were none. */
  passedTo(partition: PartitionId): number {
    const fact = this.log.fact(passedName(this.localOf(partition)))
    return fact === undefined ? 0 : Number(Buffer.from(fact).readBigUInt64BE())
  }

  /** Offsets up to there, exclusive, will never come; they are in the ledger. Durable with the commit. */
  passTo(partition: PartitionId, next: number): Commit {
    const value = Buffer.alloc(8)
    value.writeBigUInt64BE(BigInt(next))
    return this.log.setFact(passedName(this.localOf(partition)), value)
  }

  append(): Commit {
    throw this.readOnly()
  }

  appendFrom(): ProducerAppend {
    throw this.readOnly()
  }

  setFact(): Commit {
    throw this.readOnly()
  }

  facts(): ReadonlyMap<string, Uint8Array> {
    return new Map()
  }

  whenRoom(): Promise<void> {
    return Promise.reject(this.readOnly())
  }

  /** Of the log it shares. */
  stats(): StreamStats {
    return this.log.stats()
  }

  private localOf(partition: PartitionId): PartitionId {
    const local = this.local[partition]
    if (local !== undefined) return local
    throw new SluiceError(
      'UNKNOWN_STREAM_OR_PARTITION',
      `stream ${this.name} has partitions 0 to ${this.partitions - 1}`,
      { stream: this.name, partition },
    )
  }

  private readOnly(): SluiceError {
    return new SluiceError('FORBIDDEN', `${this.name} is a mirror: its records come from ${this.origin}`, {
      stream: this.name,
    })
  }
}

/** A fact of the shared log: u64be, one past a gap that was told with no record behind it. */
function passedName(local: PartitionId): string {
  return `passed/${local}`
}
