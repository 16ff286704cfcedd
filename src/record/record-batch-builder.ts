// Encodes records into a Kafka RecordBatch v2 as they arrive: each key and payload is copied once, from the socket's chunk to its final
// place. One builder is reused for batch after batch; the grammar is at the top of record-batch.ts.

import { assert } from '../base/assert.js'
import { crc32c } from '../base/crc32c.js'
import { varintSize, writeVarint } from '../base/varint.js'
import { copyBytes, viewOf } from './copy-bytes.js'
import type { Offset, RecordHeader, RecordInput } from './record.js'
import { AT, BATCH_HEADER_BYTES, BATCH_LENGTH_PREFIX, BATCH_MAGIC, CRC_START } from './record-batch.js'

/** Largest header of a single record: its varints at their longest. */
const RECORD_OVERHEAD_BYTES = 32

export class RecordBatchBuilder {
  private buffer: Buffer
  private words: DataView
  private end = BATCH_HEADER_BYTES
  private firstOffset = 0
  private firstTimestampMs = 0
  private lastTimestampMs = 0
  private records = 0
  private producerId = -1
  private producerEpoch = -1
  private baseSequence = -1

  constructor(initialBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(Math.max(initialBytes, BATCH_HEADER_BYTES))
    this.words = viewOf(this.buffer)
  }

  /** Starts an empty batch at `baseOffset`. The bytes `finish` returned for the one before are gone. */
  reset(baseOffset: number): void {
    this.firstOffset = baseOffset
    this.end = BATCH_HEADER_BYTES
    this.records = 0
    this.producerId = -1
    this.producerEpoch = -1
    this.baseSequence = -1
  }

  /** Marks the batch as a producer's; nobody else's records may be in it. @param baseSequence That of its first record. */
  setProducer(producerId: number, producerEpoch: number, baseSequence: number): void {
    this.producerId = producerId
    this.producerEpoch = producerEpoch
    this.baseSequence = baseSequence
  }

  get hasProducer(): boolean {
    return this.producerId !== -1
  }

  get count(): number {
    return this.records
  }

  get baseOffset(): Offset {
    return this.firstOffset as Offset
  }

  /** Bytes the batch has so far, header included. */
  get bytes(): number {
    return this.end
  }

  /** Memory this builder holds. */
  get capacity(): number {
    return this.buffer.length
  }

  /** Adds one record at the next offset; copies its key, payload and headers. @returns bytes added. */
  append(record: RecordInput): number {
    const start = this.end
    const { key, value, headers, timestampMs } = record
    if (this.records === 0) {
      this.firstTimestampMs = timestampMs
      this.lastTimestampMs = timestampMs
    } else if (timestampMs > this.lastTimestampMs) this.lastTimestampMs = timestampMs

    const timestampDelta = timestampMs - this.firstTimestampMs
    const keyBytes = key === null ? 0 : key.length
    const valueBytes = value === null ? 0 : record.valueEnd - record.valueStart
    const keyLength = key === null ? -1 : keyBytes
    const valueLength = value === null ? -1 : valueBytes
    const bodyBytes =
      1 +
      varintSize(timestampDelta) +
      varintSize(this.records) +
      varintSize(keyLength) +
      keyBytes +
      varintSize(valueLength) +
      valueBytes +
      (headers.length === 0 ? 1 : headersSize(headers))
    if (start + bodyBytes + RECORD_OVERHEAD_BYTES > this.buffer.length)
      this.grow(start + bodyBytes + RECORD_OVERHEAD_BYTES)

    const { buffer: target, words } = this
    let at = writeVarint(target, start, bodyBytes)
    const bodyStart = at
    target[at++] = record.attributes
    at = writeVarint(target, at, timestampDelta)
    at = writeVarint(target, at, this.records)
    at = writeVarint(target, at, keyLength)
    if (key !== null) at = copyBytes(key, 0, keyBytes, target, words, at)
    at = writeVarint(target, at, valueLength)
    if (value !== null) at = copyBytes(value, record.valueStart, record.valueEnd, target, words, at)
    if (headers.length === 0) target[at++] = 0
    else at = writeHeaders(target, words, at, headers)
    assert(at - bodyStart === bodyBytes, 'a record takes the bytes that were computed for it')

    this.end = at
    this.records += 1
    return at - start
  }

  /**
   * Completes the header. @returns a view that is valid until the next `reset` or `append`.
   * @param leaderEpoch The partition epoch, stored as partitionLeaderEpoch.
   */
  finish(leaderEpoch: number): Buffer {
    assert(this.records > 0, 'a record batch holds at least one record')
    const { buffer, words } = this
    writeInt64(words, AT.baseOffset, this.firstOffset)
    words.setInt32(AT.batchLength, this.end - BATCH_LENGTH_PREFIX)
    words.setInt32(AT.partitionLeaderEpoch, leaderEpoch)
    words.setInt8(AT.magic, BATCH_MAGIC)
    words.setInt16(AT.attributes, 0)
    words.setInt32(AT.lastOffsetDelta, this.records - 1)
    writeInt64(words, AT.baseTimestamp, this.firstTimestampMs)
    writeInt64(words, AT.maxTimestamp, this.lastTimestampMs)
    writeInt64(words, AT.producerId, this.producerId)
    words.setInt16(AT.producerEpoch, this.producerEpoch)
    words.setInt32(AT.baseSequence, this.baseSequence)
    words.setInt32(AT.recordCount, this.records)
    words.setUint32(AT.crc, crc32c(buffer, CRC_START, this.end))
    return buffer.subarray(0, this.end)
  }

  private grow(needed: number): void {
    let capacity = this.buffer.length * 2
    while (capacity < needed) capacity *= 2
    const larger = Buffer.allocUnsafeSlow(capacity)
    this.buffer.copy(larger, 0, 0, this.end)
    this.buffer = larger
    this.words = viewOf(larger)
  }
}

/** Encodes a whole batch at once: for tests, tools and rare paths. */
export function encodeRecordBatch(baseOffset: Offset, records: readonly RecordInput[], leaderEpoch = 0): Buffer {
  const builder = new RecordBatchBuilder(1024)
  builder.reset(baseOffset)
  for (const record of records) builder.append(record)
  return Buffer.from(builder.finish(leaderEpoch))
}

/** An upper bound of the bytes one record adds to a batch. */
export function maxEncodedRecordBytes(record: RecordInput): number {
  const keyBytes = record.key?.length ?? 0
  const valueBytes = record.valueEnd - record.valueStart
  return RECORD_OVERHEAD_BYTES + keyBytes + valueBytes + (record.headers.length === 0 ? 1 : headersSize(record.headers))
}

function headersSize(headers: readonly RecordHeader[]): number {
  let size = varintSize(headers.length)
  for (const { key, value } of headers) {
    const keyBytes = Buffer.byteLength(key)
    size += varintSize(keyBytes) + keyBytes + varintSize(value?.length ?? -1) + (value?.length ?? 0)
  }
  return size
}

function writeHeaders(target: Buffer, words: DataView, at: number, headers: readonly RecordHeader[]): number {
  at = writeVarint(target, at, headers.length)
  for (const { key, value } of headers) {
    const keyBytes = Buffer.byteLength(key)
    at = writeVarint(target, at, keyBytes)
    at += target.write(key, at)
    at = writeVarint(target, at, value?.length ?? -1)
    if (value) at = copyBytes(value, 0, value.length, target, words, at)
  }
  return at
}

function writeInt64(target: DataView, at: number, value: number): void {
  target.setInt32(at, Math.floor(value / 0x1_0000_0000))
  target.setUint32(at + 4, value >>> 0)
}
