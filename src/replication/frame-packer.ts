// Makes frames of stored record batches: tiny batches are merged, what lies below the start is cut off, and what gains by it is compressed. All
// other batches go as they are stored. Decoding costs, so it is done for nothing else.

import { BatchCompressor } from '../log/batch-compressor.js'
import { compressBeside, compressFast, hasZstd } from '../record/compression.js'
import type { LogRecord, Offset, RecordInput } from '../record/record.js'
import {
  baseOffsetOf,
  baseTimestampOf,
  codecOf,
  decodeRecords,
  lastOffsetOf,
  leaderEpochOf,
  producerOf,
  recordCountOf,
} from '../record/record-batch.js'
import { RecordBatchBuilder } from '../record/record-batch-builder.js'
import type { Shipment, Source } from './targets/target.js'

export interface FrameShipment extends Shipment, Source {
  /** Consecutive. */
  readonly batches: readonly Buffer[]
}

export interface FrameLimits {
  /** Largest batch and, beyond one batch, largest sum of a frame's batches, bytes, inclusive. */
  readonly maxBatchBytes: number
  readonly readsZstd: boolean
  /** The link waits for frames, not they for the link: spend little time on making them small. */
  readonly inHaste: boolean
}

/** Smaller batches are merged, as stored. */
const TINY_BATCH_BYTES = 16 * 1024
/** What batches are merged up to, before compression: Kafka clients and our own readers take a batch at a time. */
const MERGED_BATCH_BYTES = 64 * 1024
/** A frame ends before it would exceed this, so that the window is many steps and not a few. */
const FRAME_BYTES = 128 * 1024
/** Of a compressed batch, its size is a guess of this many times as much. */
const GUESSED_RATIO = 6
const SEQUENCES = 2 ** 31

export class FramePacker {
  private readonly gzip = new BatchCompressor('gzip')

  /** @throws SluiceError CORRUPT_MESSAGE */
  async pack(source: Source, batches: readonly Buffer[], from: Offset, limits: FrameLimits): Promise<FrameShipment[]> {
    const units = [...unitsOf(batches, from, limits)].map((batch) => ({ partition: source.partition, batch }))
    const compressed = await this.gzip.compress(
      units,
      0,
      limits.inHaste && units.length > 1 ? compressFast : compressBeside,
    )
    return framesOf(
      source,
      compressed.map(({ batch }) => batch),
      limits,
    )
  }
}

/** The batches to send, each either as it is stored or made of the records of several. */
function* unitsOf(batches: readonly Buffer[], from: Offset, { readsZstd }: FrameLimits): Iterable<Buffer> {
  let group: Buffer[] = []
  let bytes = 0
  for (const batch of batches) {
    if (lastOffsetOf(batch) < from) continue
    const size = codecOf(batch) === 'none' ? batch.length : batch.length * GUESSED_RATIO
    const before = group.at(-1)
    if (before !== undefined && (bytes + size > MERGED_BATCH_BYTES || !mayMerge(before, batch))) {
      yield merged(group, from, readsZstd)
      group = []
      bytes = 0
    }
    group.push(batch)
    bytes += size
  }
  if (group.length > 0) yield merged(group, from, readsZstd)
}

function mayMerge(before: Buffer, batch: Buffer): boolean {
  return (
    before.length < TINY_BATCH_BYTES &&
    batch.length < TINY_BATCH_BYTES &&
    baseOffsetOf(batch) === lastOffsetOf(before) + 1 &&
    leaderEpochOf(batch) === leaderEpochOf(before) &&
    producerOf(before) === null &&
    producerOf(batch) === null
  )
}

function merged(group: readonly Buffer[], from: Offset, readsZstd: boolean): Buffer {
  const [first] = group
  const readable = codecOf(first) !== 'zstd' || (readsZstd && hasZstd)
  if (group.length === 1 && baseOffsetOf(first) >= from && readable) return first
  const records = group.flatMap((batch) => decodeRecords(batch, from))
  const builder = new RecordBatchBuilder(MERGED_BATCH_BYTES)
  const baseOffset = records[0].offset
  builder.reset(baseOffset)
  const producer = producerOf(first)
  if (producer !== null) {
    const sequence = (producer.baseSequence + baseOffset - baseOffsetOf(first)) % SEQUENCES
    builder.setProducer(producer.producerId, producer.producerEpoch, sequence)
  }
  for (const record of records) builder.append(inputOf(record))
  return builder.finish(leaderEpochOf(first))
}

function inputOf({ timestampMs, key, value, headers, attributes }: LogRecord): RecordInput {
  return { timestampMs, key, value, valueStart: 0, valueEnd: value?.length ?? 0, headers, attributes }
}

function framesOf(source: Source, batches: readonly Buffer[], { maxBatchBytes }: FrameLimits): FrameShipment[] {
  const frames: FrameShipment[] = []
  let gathered: Buffer[] = []
  let bytes = 0
  const close = (): void => {
    if (gathered.length > 0) frames.push(frameOf(source, gathered))
    gathered = []
    bytes = 0
  }
  for (const batch of batches) {
    const before = gathered.at(-1)
    const apart = before !== undefined && baseOffsetOf(batch) !== lastOffsetOf(before) + 1
    const tooLarge = batch.length > maxBatchBytes
    if (apart || tooLarge || bytes + batch.length > Math.min(FRAME_BYTES, maxBatchBytes)) close()
    gathered.push(batch)
    bytes += batch.length
    if (!tooLarge) continue
    gathered = []
    bytes = 0
    frames.push({
      ...frameOf(source, [batch]),
      rejected: `is larger than the ${maxBatchBytes} bytes the upstream takes`,
    })
  }
  close()
  return frames
}

function frameOf({ stream, partition }: Source, batches: readonly Buffer[]): FrameShipment {
  return {
    stream,
    partition,
    batches,
    offset: baseOffsetOf(batches[0]),
    nextOffset: (lastOffsetOf(batches[batches.length - 1]) + 1) as Offset,
    records: batches.reduce((sum, batch) => sum + recordCountOf(batch), 0),
    messages: 1,
    bytes: batches.reduce((sum, batch) => sum + batch.length, 0),
    timestampMs: baseTimestampOf(batches[0]),
  }
}
