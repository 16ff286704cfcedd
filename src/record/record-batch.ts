// Kafka RecordBatch v2, reading side: header, checks, records. The encoding side is record-batch-builder.ts. This is the unit on disk,
// on the wire and in a fetch, stored byte for byte (Kafka's DefaultRecordBatch; protocol guide, "Record Batch").
//
//   at  size  field                          at  size  field
//    0     8  baseOffset            *        27     8  baseTimestamp, ms
//    8     4  batchLength, from 12 to end    35     8  maxTimestamp, ms
//   12     4  partitionLeaderEpoch  *        43     8  producerId, -1: none
//   16     1  magic = 2                      51     2  producerEpoch
//   17     4  CRC-32C of [21, end)           53     4  baseSequence
//   21     2  attributes: 0-2 compression    57     4  record count
//   23     4  lastOffsetDelta                61        records, compressed together if attributes say so
//
//   record  = length attributes:int8 timestampDelta offsetDelta keyLength key valueLength value headerCount header*
//   header  = keyLength key valueLength value            all numbers varints; a length of -1 means null
//
//   * outside the CRC: can be patched in place.

import { assert } from '../base/assert.js'
import { crc32c } from '../base/crc32c.js'
import { SluiceError } from '../base/errors.js'
import { VarintReader } from '../base/varint.js'
import { type Compress, type CompressionCodec, decompress } from './compression.js'
import type { LogRecord, Offset, RecordHeader } from './record.js'

export const BATCH_HEADER_BYTES = 61
/** Bytes in front of what `batchLength` counts. */
export const BATCH_LENGTH_PREFIX = 12
export const BATCH_MAGIC = 2
/** First byte covered by the CRC. */
export const CRC_START = 21

/** Named positions of the header's fields, bytes from the start of the batch. */
export const AT = {
  baseOffset: 0,
  batchLength: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
} as const

const CODEC_MASK = 7
const NO_HEADERS: readonly RecordHeader[] = Object.freeze([])
const CODECS: readonly (CompressionCodec | undefined)[] = ['none', 'gzip', undefined, undefined, 'zstd']

/** Offset of the first record of a stored batch. */
export function baseOffsetOf(batch: Buffer): Offset {
  return readInt64(batch, AT.baseOffset) as Offset
}

/** Of everything in a batch but its place: batches with the same one hold the same records. */
export function crcOf(batch: Buffer): number {
  return batch.readUInt32BE(AT.crc)
}

/** Offset of the last record of a stored batch. */
export function lastOffsetOf(batch: Buffer): Offset {
  return (readInt64(batch, AT.baseOffset) + batch.readInt32BE(AT.lastOffsetDelta)) as Offset
}

export function recordCountOf(batch: Buffer): number {
  return batch.readInt32BE(AT.recordCount)
}

export function maxTimestampOf(batch: Buffer): number {
  return readInt64(batch, AT.maxTimestamp)
}

export function leaderEpochOf(batch: Buffer): number {
  return batch.readInt32BE(AT.partitionLeaderEpoch)
}

export function baseTimestampOf(batch: Buffer): number {
  return readInt64(batch, AT.baseTimestamp)
}

export interface BatchProducer {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

/** Who numbered the records of a batch; null for nobody. */
export function producerOf(batch: Buffer): BatchProducer | null {
  const producerId = readInt64(batch, AT.producerId)
  if (producerId === -1) return null
  const producerEpoch = batch.readInt16BE(AT.producerEpoch)
  return { producerId, producerEpoch, baseSequence: batch.readInt32BE(AT.baseSequence) }
}

/** Undefined for a codec of Kafka's that Sluice never writes (snappy, lz4). */
export function codecOf(batch: Buffer): CompressionCodec | undefined {
  return CODECS[batch.readInt16BE(AT.attributes) & CODEC_MASK]
}

/**
 * Checks one stored batch without decoding its records.
 * @returns what is wrong, as a phrase, or null: length, magic, CRC and offsets agree with each other.
 */
export function recordBatchProblem(batch: Buffer): string | null {
  if (batch.length < BATCH_HEADER_BYTES) return `is ${batch.length} bytes long, less than a header`
  const length = batch.readInt32BE(AT.batchLength) + BATCH_LENGTH_PREFIX
  if (length !== batch.length) return `says it is ${length} bytes long but is ${batch.length}`
  if (batch[AT.magic] !== BATCH_MAGIC) return `has magic ${batch[AT.magic]} instead of ${BATCH_MAGIC}`
  const count = recordCountOf(batch)
  const lastOffsetDelta = batch.readInt32BE(AT.lastOffsetDelta)
  if (count < 1 || lastOffsetDelta !== count - 1)
    return `holds ${count} records but spans ${lastOffsetDelta + 1} offsets`
  if (batch.readUInt32BE(AT.crc) !== crc32c(batch, CRC_START)) return 'fails its CRC-32C'
  return null
}

/**
 * A copy of a plain batch with its records compressed: same offsets, times and epoch, new length, attributes and CRC.
 * @param compress As in compression.ts.
 */
export async function withCompressedRecords(
  batch: Buffer,
  codec: 'gzip' | 'zstd',
  compress: Compress,
): Promise<Buffer> {
  assert(codecOf(batch) === 'none', 'a batch is compressed once')
  const records = await compress(codec, batch.subarray(BATCH_HEADER_BYTES))
  const compressed = Buffer.allocUnsafe(BATCH_HEADER_BYTES + records.length)
  batch.copy(compressed, 0, 0, BATCH_HEADER_BYTES)
  records.copy(compressed, BATCH_HEADER_BYTES)
  compressed.writeInt32BE(compressed.length - BATCH_LENGTH_PREFIX, AT.batchLength)
  compressed.writeInt16BE(batch.readInt16BE(AT.attributes) | CODECS.indexOf(codec), AT.attributes)
  compressed.writeUInt32BE(crc32c(compressed, CRC_START), AT.crc)
  return compressed
}

/**
 * Decodes one stored batch. Keys and values are views into the batch, or into its decompressed copy.
 * @param from Records below this offset are left out.
 * @throws SluiceError CORRUPT_MESSAGE if the records do not parse. The CRC is not checked here: see recordBatchProblem.
 */
export function decodeRecords(batch: Buffer, from: Offset = 0 as Offset): LogRecord[] {
  const cursor = new RecordCursor(batch, from)
  const records: LogRecord[] = []
  while (cursor.next()) {
    const { offset, timestampMs, key, value, headers, attributes } = cursor
    records.push({ offset, timestampMs, key, value, headers, attributes })
  }
  return records
}

/**
 * Goes through the records of one stored batch without an object for each: its fields are those of the present one, and say where in `bytes` key
 * and value lie, [start, end), with a start of -1 for one that is null. For those who read millions; others take decodeRecords.
 */
export class RecordCursor {
  /** The batch, or its records decompressed. */
  readonly bytes: Buffer
  offset = 0 as Offset
  timestampMs = 0
  attributes = 0
  keyStart = -1
  keyEnd = -1
  valueStart = -1
  valueEnd = -1
  headers = NO_HEADERS
  private readonly reader: VarintReader
  private readonly count: number
  private readonly baseOffset: Offset
  private readonly baseTimestamp: number
  private index = 0

  /** @param from Records below this offset are left out. @throws SluiceError CORRUPT_MESSAGE if they do not decompress. */
  constructor(
    batch: Buffer,
    private readonly from: Offset,
  ) {
    const { bytes, start } = recordSection(batch)
    this.bytes = bytes
    this.reader = new VarintReader(bytes, start)
    this.count = recordCountOf(batch)
    this.baseOffset = baseOffsetOf(batch)
    this.baseTimestamp = baseTimestampOf(batch)
  }

  /** Goes on to the next record. @returns false after the last. @throws SluiceError CORRUPT_MESSAGE if it does not parse. */
  next(): boolean {
    const { reader, bytes } = this
    while (this.index < this.count) {
      const end = reader.next() + reader.position
      if (!(end <= bytes.length)) throw corrupt(this.baseOffset, this.index, 'ends before its last record')
      this.attributes = bytes[reader.position++]
      this.timestampMs = this.baseTimestamp + reader.next()
      this.offset = (this.baseOffset + reader.next()) as Offset
      const isWanted = this.offset >= this.from
      if (isWanted) {
        this.keyStart = passBytes(reader)
        this.keyEnd = reader.position
        this.valueStart = passBytes(reader)
        this.valueEnd = reader.position
        this.headers = readHeaders(reader)
        if (reader.failed || reader.position !== end)
          throw corrupt(this.baseOffset, this.index, 'has a record that does not parse')
      }
      reader.position = end
      this.index += 1
      if (isWanted) return true
    }
    return false
  }

  /** A view. */
  get key(): Buffer | null {
    return this.keyStart === -1 ? null : this.bytes.subarray(this.keyStart, this.keyEnd)
  }

  /** A view. */
  get value(): Buffer | null {
    return this.valueStart === -1 ? null : this.bytes.subarray(this.valueStart, this.valueEnd)
  }
}

function recordSection(batch: Buffer): { bytes: Buffer; start: number } {
  const codec = codecOf(batch)
  if (codec === 'none') return { bytes: batch, start: BATCH_HEADER_BYTES }
  if (codec === undefined) throw corrupt(baseOffsetOf(batch), 0, 'is compressed in a way Sluice does not read')
  try {
    return { bytes: decompress(codec, batch.subarray(BATCH_HEADER_BYTES)), start: 0 }
  } catch (error) {
    throw corrupt(baseOffsetOf(batch), 0, 'does not decompress', error)
  }
}

/** @returns where they begin, -1 for null; the reader stands behind them. */
function passBytes(reader: VarintReader): number {
  const length = reader.next()
  if (length === -1) return -1
  const start = reader.position
  reader.position += length
  if (!(length >= 0) || reader.position > reader.end) reader.failed = true
  return start
}

function readBytes(reader: VarintReader): Buffer | null {
  const start = passBytes(reader)
  return start === -1 || reader.failed ? null : (reader.bytes as Buffer).subarray(start, reader.position)
}

function readHeaders(reader: VarintReader): readonly RecordHeader[] {
  const count = reader.next()
  if (count === 0) return NO_HEADERS
  const headers: RecordHeader[] = []
  for (let i = 0; i < count && !reader.failed; i++) {
    const key = readBytes(reader)
    if (key === null) reader.failed = true
    else headers.push({ key: key.toString(), value: readBytes(reader) })
  }
  return headers
}

function corrupt(baseOffset: number, index: number, what: string, cause?: unknown): SluiceError {
  const message = `the record batch at offset ${baseOffset} ${what}`
  return new SluiceError('CORRUPT_MESSAGE', message, { baseOffset, recordIndex: index }, cause)
}

/** Reads a big-endian int64 that is known to be a safe integer (or -1). */
function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)
}
