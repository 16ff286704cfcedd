// What the log offers to the parts of a node above it. Stream (stream.ts) and Log (log.ts) implement it; tests of other parts may
// put a small fake in their place.

import type { SluiceError } from '../base/errors.js'
import type { Offset, PartitionId, RecordInput } from '../record/record.js'
import type { ProducerSequence } from './producer-table.js'

/**
 * One group commit: all records that were gathered while the one before it was written share one Commit object. It settles once,
 * after fdatasync of the LevelDB batch that holds them, or fails as a whole. Commits of a stream settle in order.
 */
export interface Commit {
  readonly state: 'pending' | 'durable' | 'failed'
  /** Set when `state` is 'failed': then nothing in this commit may be acknowledged. */
  readonly error: SluiceError | null
  /** Calls back exactly once, in order of subscription; at once if already settled. Must not throw. */
  onSettled(callback: (error: SluiceError | null) => void): void
  /** The same as a promise: rejects with `error`. */
  durable(): Promise<void>
}

export interface FetchLimits {
  /** Stop before this many stored bytes would be passed; the first batch is returned whatever its size. */
  readonly maxBytes: number
  /** Stop once the batches hold at least this many records at or after the start. Default: no limit. */
  readonly maxRecords?: number
  /**
   * Segments that hold no record of a wanted topic are passed over, so that `nextOffset` may be far ahead of the last record. Records of
   * other topics still come along with those that are wanted.
   */
  readonly wantsTopic?: (mqttTopic: string) => boolean
  /** Read what is stored, also where the newest records are held in memory. */
  readonly fromDisk?: boolean
}

export interface Fetched {
  /**
   * Kafka RecordBatch v2 as stored, consecutive. The first may begin before the offset asked for: a batch is never cut, skip
   * its records below `from` when decoding (`decodeRecords(batch, from)`).
   */
  readonly batches: readonly Buffer[]
  /** Where to go on: one past the last record returned, or the offset asked for if there was none. */
  readonly nextOffset: Offset
  readonly logStartOffset: Offset
  /** One past the last durable record. */
  readonly highWatermark: Offset
}

/** Reading side of a stream. */
export interface StreamReader {
  readonly name: string
  readonly partitions: number
  /** The oldest offset still stored. */
  logStartOffset(partition: PartitionId): Offset
  /** One past the last durable record: what may be read, delivered, forwarded. */
  highWatermark(partition: PartitionId): Offset
  /**
   * Reads stored batches from `from`; no records, at once, when `from` is the high watermark.
   * @throws SluiceError OFFSET_OUT_OF_RANGE (details: logStartOffset, highWatermark) below the log start or above the
   * high watermark; UNKNOWN_STREAM_OR_PARTITION. Damaged batches are entered in the ledger and passed over: then the first
   * batch begins above `from`.
   */
  fetch(partition: PartitionId, from: Offset, limits: FetchLimits): Promise<Fetched>
  /** The first offset whose batch holds a record at or after `timestampMs` (D11); the high watermark if there is none. */
  offsetForTime(partition: PartitionId, timestampMs: number): Promise<Offset>
  /** Calls `listener` after every durable commit and after retention has moved a log start; the returned function ends it. */
  onChange(listener: () => void): () => void
}

export interface ProducerAppend {
  readonly firstOffset: Offset
  readonly commit: Commit
  /** It was appended before. */
  readonly duplicate: boolean
}

export interface Stream extends StreamReader {
  /** Set for the mirror of another node's stream, which can only be read. */
  readonly mirrorOf?: MirrorOrigin
  /** MQTT topic filters routed here, in order. */
  readonly topics: readonly string[]
  /**
   * Adds a record to the commit being gathered and returns that commit. Everything is copied before this returns; the record's
   * offset is what `nextOffset` said before the call.
   * @throws SluiceError RECORD_TOO_LARGE; STORAGE_FULL or STORAGE_READ_ONLY while writing is impossible; SHUTTING_DOWN.
   */
  append(partition: PartitionId, record: RecordInput): Commit
  /**
   * Appends records of a producer that numbers them; a batch that comes again is not appended again, also after a restart.
   * @returns the offset of the first record and the commit that holds it, of the first time if it came before.
   * @throws SluiceError OUT_OF_ORDER_SEQUENCE (details: expected), FENCED_EPOCH; as append.
   */
  appendFrom(producer: ProducerSequence, partition: PartitionId, records: readonly RecordInput[]): ProducerAppend
  /**
   * Stores a small fact in the same commit as the records appended with it in one go: both are durable, or neither. It stays until it
   * is removed (`null`), whatever retention does. For what must be atomic with a record (D6): QoS 2 handshakes, producer sequences.
   * @param name At most 1 KB of UTF-8; by convention `kind/…`.
   * @throws SluiceError TOO_MANY_REQUESTS at the maximum of facts; as append.
   */
  setFact(name: string, value: Uint8Array | null): Commit
  /** The durable facts whose names begin with `prefix`: what a start finds. */
  facts(prefix: string): ReadonlyMap<string, Uint8Array>
  /** The offset the next append to this partition will get. */
  nextOffset(partition: PartitionId): Offset
  /** False while the bytes waiting to be committed exceed the bound: stop reading sockets, await `whenRoom`. */
  readonly hasRoom: boolean
  /** Resolves when `hasRoom` is true again (also when the stream closes). */
  whenRoom(): Promise<void>
  stats(): StreamStats
}

/** Where the records of a mirror come from. */
export interface MirrorOrigin {
  /** The node that acknowledged them first. */
  readonly origin: string
  /** The node they come from: the origin, or the last one in a chain. */
  readonly via: string
  /** Counts from 1. A higher one has taken the place, and the name, of this one: then the mirror's name ends in `.N`. */
  readonly incarnation: number
}

export interface StreamStats {
  /** Stored bytes of all live segments, before LevelDB's own overhead. */
  readonly bytes: number
  readonly segments: number
  /** Appended but not yet durable. */
  readonly pendingBytes: number
  readonly appendedRecords: number
  readonly commits: number
  /** Why it takes no records at the moment, as a sentence; null while it does. */
  readonly refusal: string | null
}

/** All streams of a node, in the order of the configuration. */
export interface StreamCatalog {
  readonly streams: ReadonlyMap<string, Stream>
  /** @throws SluiceError UNKNOWN_STREAM_OR_PARTITION, naming the streams there are. */
  stream(name: string): Stream
}
