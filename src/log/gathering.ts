// The records that wait for the next commit: per partition one open record batch and the closed ones before it. Builders are reused, so
// that a node at work allocates nothing per record.

import type { RecordInput } from '../record/record.js'
import { recordCountOf } from '../record/record-batch.js'
import { maxEncodedRecordBytes, RecordBatchBuilder } from '../record/record-batch-builder.js'
import type { StoredBatch } from './batch-reader.js'
import { GroupCommit } from './commit.js'
import { type ProducerSequence, wrapped } from './producer-table.js'
import { TopicSet } from './topic-set.js'

const INITIAL_BUILDER_BYTES = 16 * 1024

/** A pool of builders; one that an outsized record has grown is let go. */
export class BuilderPool {
  private readonly free: RecordBatchBuilder[] = []

  constructor(
    private readonly keepBytes: number,
    private readonly maxFree: number,
  ) {}

  take(baseOffset: number): RecordBatchBuilder {
    const builder = this.free.pop() ?? new RecordBatchBuilder(INITIAL_BUILDER_BYTES)
    builder.reset(baseOffset)
    return builder
  }

  give(builder: RecordBatchBuilder): void {
    if (builder.capacity <= this.keepBytes && this.free.length < this.maxFree) this.free.push(builder)
  }
}

export class Gathering {
  readonly commit = new GroupCommit()
  bytes = 0
  records = 0
  /** Facts to be stored with the records; null removes one. */
  readonly facts = new Map<string, Uint8Array | null>()
  readonly topics = new TopicSet(false)
  /** Batches that came encoded, in order. */
  private readonly encoded: StoredBatch[] = []
  /** Per partition: batches in order, the last one open. */
  private readonly lines: (RecordBatchBuilder[] | undefined)[] = []

  constructor(
    private readonly pool: BuilderPool,
    private readonly maxBatchBytes: number,
  ) {}

  /** @param offset The record's offset, one past the one before in its partition. */
  append(partition: number, offset: number, record: RecordInput): void {
    let line = this.lines[partition]
    if (!line) this.lines[partition] = line = [this.pool.take(offset)]
    let builder = line[line.length - 1]
    const full = builder.count > 0 && builder.bytes + maxEncodedRecordBytes(record) > this.maxBatchBytes
    if (full || builder.hasProducer) {
      line.push((builder = this.pool.take(offset)))
    }
    this.bytes += builder.append(record)
    this.records += 1
    this.topics.add(record.key)
  }

  /** Appends a producer's records, in batches of their own. */
  appendFrom(producer: ProducerSequence, partition: number, offset: number, records: readonly RecordInput[]): void {
    let line = this.lines[partition]
    if (!line) this.lines[partition] = line = []
    let builder: RecordBatchBuilder | null = null
    records.forEach((record, i) => {
      if (builder === null || builder.bytes + maxEncodedRecordBytes(record) > this.maxBatchBytes) {
        builder = this.pool.take(offset + i)
        builder.setProducer(producer.producerId, producer.epoch, wrapped(producer.sequence + i))
        line.push(builder)
      }
      this.bytes += builder.append(record)
      this.records += 1
      this.topics.add(record.key)
    })
  }

  /** Takes a batch as it is; its bytes must stay as they are until the commit has settled. */
  appendBatch(partition: number, batch: Buffer): void {
    this.encoded.push({ partition, batch })
    this.bytes += batch.length
    this.records += recordCountOf(batch)
    this.topics.addAny()
  }

  get isEmpty(): boolean {
    return this.records === 0 && this.facts.size === 0
  }

  setFact(name: string, value: Uint8Array | null): void {
    this.facts.set(name, value)
    this.bytes += name.length + (value?.length ?? 0)
  }

  /** Completes all batches, in partition order. The bytes are valid until `recycle`. */
  *finish(epochOf: (partition: number) => number): Iterable<StoredBatch> {
    for (let partition = 0; partition < this.lines.length; partition++) {
      for (const builder of this.lines[partition] ?? []) yield { partition, batch: builder.finish(epochOf(partition)) }
    }
    yield* this.encoded
  }

  recycle(): void {
    for (const line of this.lines) for (const builder of line ?? []) this.pool.give(builder)
    this.lines.length = 0
  }
}
