// Takes what is found in the files of a damaged segment, stores the record batches that prove themselves as they come, and keeps of all else
// what was written last. See salvage.ts.

import { baseOffsetOf, leaderEpochOf } from '../record/record-batch.js'
import { CHECK_BYTES } from '../state/checked-value.js'
import type { LevelDatabase, LevelOperation } from '../state/level-database.js'
import { addedPartition, addedPartitionName } from './added-partition.js'
import { factKey, isBatchKey, metaKey, partitionOfKey, proves } from './keys.js'
import { decodeHeader, decodeSummary, encodeHeader, type SegmentHeader, type SegmentSummary } from './segment-index.js'

/** Stored at once. */
const WRITE_BYTES = 1024 * 1024

interface Latest {
  readonly key: Buffer
  /** null: removed. */
  readonly value: Buffer | null
  readonly sequence: number
}

/** The first that there is of a partition. */
interface Begin {
  base: number
  epoch: number
}

export class SalvagedEntries {
  private waiting: LevelOperation[] = []
  private waitingBytes = 0
  /** By key, latin1: header, index, topics and facts. */
  private readonly latest = new Map<string, Latest>()
  private readonly begins = new Map<number, Begin>()

  constructor(private readonly database: LevelDatabase) {}

  /** @param value null: removed. @param sequence LevelDB's: of one key the highest holds. */
  async take(key: Buffer, value: Buffer | null, sequence: number): Promise<void> {
    if (value !== null && !proves(key, value)) return
    if (isBatchKey(key)) return value === null ? undefined : this.takeBatch(key, value)
    const name = key.toString('latin1')
    const known = this.latest.get(name)
    if (known !== undefined && known.sequence > sequence) return
    // Copies: what is read pins the block it lies in.
    this.latest.set(name, { key: Buffer.from(key), value: value && Buffer.from(value), sequence })
  }

  /** Stores the rest. Durable when it resolves. */
  async store(header: SegmentHeader): Promise<void> {
    for (const { key, value } of this.latest.values())
      if (value !== null) this.waiting.push({ type: 'put', key, value })
    this.waiting.push({ type: 'put', key: metaKey('header'), value: encodeHeader(header) })
    await this.database.batch(this.waiting, { sync: true })
    this.waiting = []
  }

  /** The header of the segment; null if it is lost. */
  get header(): SegmentHeader | null {
    const stored = this.valueOf(metaKey('header'))
    return (stored && decodeHeader(stored)) ?? this.index?.header ?? null
  }

  /** What its seal, if it was begun, says of all of it. */
  get index(): SegmentSummary | null {
    const stored = this.valueOf(metaKey('index'))
    return stored && decodeSummary(stored)
  }

  /** One more than the largest partition there is something of. */
  get partitions(): number {
    return Math.max(0, ...[...this.begins.keys()].map((partition) => partition + 1))
  }

  /** Where a partition begins, as far as what was found says; null where it says nothing. */
  beginOf(partition: number): Readonly<Begin> | null {
    const name = addedPartitionName(partition)
    const fact = this.valueOf(factKey(name))
    const added = fact && addedPartition(new Map([[name, fact.subarray(0, -CHECK_BYTES)]]), partition)
    return added ?? this.begins.get(partition) ?? null
  }

  private async takeBatch(key: Buffer, batch: Buffer): Promise<void> {
    const partition = partitionOfKey(key)
    const base = baseOffsetOf(batch)
    if (base < (this.begins.get(partition)?.base ?? Number.POSITIVE_INFINITY))
      this.begins.set(partition, { base, epoch: leaderEpochOf(batch) })
    this.waiting.push({ type: 'put', key, value: batch })
    this.waitingBytes += batch.length
    if (this.waitingBytes < WRITE_BYTES) return
    const operations = this.waiting
    this.waiting = []
    this.waitingBytes = 0
    await this.database.batch(operations)
  }

  private valueOf(key: Buffer): Buffer | null {
    return this.latest.get(key.toString('latin1'))?.value ?? null
  }
}
