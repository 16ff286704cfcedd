// Streams and group offsets in memory, with the interface of the log: for tests of what reads them. Every append is one durable batch,
// unless `append` is given several records.

import { SluiceError } from '../../src/base/errors.js'
import type { OffsetStore } from '../../src/consumer/group-coordinator.js'
import type { ProducerSequence } from '../../src/log/producer-table.js'
import type {
  Commit,
  Fetched,
  FetchLimits,
  ProducerAppend,
  Stream,
  StreamCatalog,
  StreamStats,
} from '../../src/log/types.js'
import {
  attributesOf,
  type Offset,
  type PartitionId,
  type RecordHeader,
  type RecordInput,
} from '../../src/record/record.js'
import { baseOffsetOf, lastOffsetOf, maxTimestampOf, recordCountOf } from '../../src/record/record-batch.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import type { GroupOffset } from '../../src/state/group-offsets.js'

const DURABLE: Commit = {
  state: 'durable',
  error: null,
  onSettled: (callback) => callback(null),
  durable: async () => {},
}

export class MemoryStream implements Stream {
  readonly topics: readonly string[]
  readonly hasRoom = true
  private readonly batches: Buffer[][]
  private readonly starts: number[]
  private readonly ends: number[]
  private readonly listeners = new Set<() => void>()

  constructor(
    readonly name: string,
    readonly partitions = 1,
    topics: readonly string[] = ['#'],
  ) {
    this.topics = topics
    this.batches = Array.from({ length: partitions }, () => [])
    this.starts = new Array<number>(partitions).fill(0)
    this.ends = new Array<number>(partitions).fill(0)
  }

  /** Adds one batch with a record per value; listeners are called before it returns. */
  add(partition: number, ...records: readonly (string | Buffer | TestRecord)[]): number {
    const first = this.ends[partition]
    const inputs = records.map((record) =>
      inputOf(typeof record === 'string' || Buffer.isBuffer(record) ? { value: record } : record),
    )
    this.batches[partition].push(encodeRecordBatch(first as Offset, inputs))
    this.ends[partition] += inputs.length
    this.changed()
    return first
  }

  /** Retention: whole batches below `offset` are gone. */
  dropBelow(partition: number, offset: number): void {
    this.batches[partition] = this.batches[partition].filter((batch) => lastOffsetOf(batch) >= offset)
    this.starts[partition] = offset
    this.changed()
  }

  get listenerCount(): number {
    return this.listeners.size
  }

  append(partition: PartitionId, record: RecordInput): Commit {
    this.batches[partition].push(encodeRecordBatch(this.nextOffset(partition), [record]))
    this.ends[partition] += 1
    this.changed()
    return DURABLE
  }

  appendFrom(_producer: ProducerSequence, partition: PartitionId, records: readonly RecordInput[]): ProducerAppend {
    const firstOffset = this.nextOffset(partition)
    for (const record of records) this.append(partition, record)
    return { firstOffset, commit: DURABLE, duplicate: false }
  }

  private readonly factsByName = new Map<string, Uint8Array>()

  setFact(name: string, value: Uint8Array | null): Commit {
    if (value === null) this.factsByName.delete(name)
    else this.factsByName.set(name, value)
    return DURABLE
  }

  facts(prefix: string): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.factsByName].filter(([name]) => name.startsWith(prefix)))
  }

  nextOffset(partition: PartitionId): Offset {
    return this.ends[partition] as Offset
  }

  logStartOffset(partition: PartitionId): Offset {
    return this.starts[partition] as Offset
  }

  highWatermark(partition: PartitionId): Offset {
    return this.ends[partition] as Offset
  }

  async fetch(partition: PartitionId, from: Offset, { maxBytes, maxRecords }: FetchLimits): Promise<Fetched> {
    const logStartOffset = this.logStartOffset(partition)
    const highWatermark = this.highWatermark(partition)
    if (from < logStartOffset || from > highWatermark)
      throw new SluiceError('OFFSET_OUT_OF_RANGE', 'out of range', { logStartOffset, highWatermark })
    const batches: Buffer[] = []
    let bytes = 0
    let records = 0
    for (const batch of this.batches[partition]) {
      if (lastOffsetOf(batch) < from) continue
      if (
        batches.length > 0 &&
        (bytes + batch.length > maxBytes || records >= (maxRecords ?? Number.POSITIVE_INFINITY))
      )
        break
      batches.push(batch)
      bytes += batch.length
      records += recordCountOf(batch) - Math.max(0, from - baseOffsetOf(batch))
    }
    const last = batches.at(-1)
    const nextOffset = (last === undefined ? from : lastOffsetOf(last) + 1) as Offset
    return { batches, nextOffset, logStartOffset, highWatermark }
  }

  async offsetForTime(partition: PartitionId, timestampMs: number): Promise<Offset> {
    const batch = this.batches[partition].find((each) => maxTimestampOf(each) >= timestampMs)
    return batch === undefined ? this.highWatermark(partition) : baseOffsetOf(batch)
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  async whenRoom(): Promise<void> {}

  stats(): StreamStats {
    return { bytes: 0, segments: 1, pendingBytes: 0, appendedRecords: 0, commits: 0, refusal: null }
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener()
  }
}

export interface TestRecord {
  readonly value: string | Buffer
  readonly topic?: string
  readonly timestampMs?: number
  readonly attributes?: number
  readonly headers?: readonly RecordHeader[]
}

function inputOf({
  value,
  topic = 'sensors/1/temp',
  timestampMs = 0,
  attributes,
  headers = [],
}: TestRecord): RecordInput {
  const bytes = Buffer.from(value)
  return {
    timestampMs,
    key: Buffer.from(topic),
    value: bytes,
    valueStart: 0,
    valueEnd: bytes.length,
    headers,
    attributes: attributes ?? attributesOf(1, false),
  }
}

export function memoryCatalog(...streams: readonly MemoryStream[]): StreamCatalog {
  const byName = new Map(streams.map((stream) => [stream.name, stream]))
  return {
    streams: byName,
    stream(name) {
      const stream = byName.get(name)
      if (stream === undefined)
        throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `no stream ${name}`, { stream: name })
      return stream
    },
  }
}

export class MemoryOffsets implements OffsetStore {
  private readonly rows = new Map<string, Map<string, GroupOffset>>()

  get(group: string, stream: string, partition: number): GroupOffset | undefined {
    return this.rows.get(group)?.get(`${stream}/${partition}`)
  }

  async commit(group: string, commits: Parameters<OffsetStore['commit']>[1]): Promise<void> {
    await null
    const rows = this.rows.get(group) ?? new Map<string, GroupOffset>()
    this.rows.set(group, rows)
    for (const { stream, partition, offset, metadata = '', leaderEpoch = null } of commits)
      rows.set(`${stream}/${partition}`, { stream, partition, offset, metadata, leaderEpoch, committedAtMs: 0 })
  }

  ofGroup(group: string): readonly GroupOffset[] {
    return [...(this.rows.get(group)?.values() ?? [])]
  }

  groups(): readonly string[] {
    return [...this.rows.keys()]
  }

  async remove(group: string): Promise<void> {
    this.rows.delete(group)
  }
}
