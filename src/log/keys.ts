// The keys of a segment. Record batches sort by partition and offset; the segment's own facts sort behind them all.
//
//   record batch   partition:u32be lastOffset:u64be check:u32be      a seek to (p, o) finds the batch that holds offset o
//   meta           0xffffffff name:utf8              header, index, topics
//   fact           0xffffffff "fact" 00 name:utf8

import { crc32c } from '../base/crc32c.js'
import type { PartitionId } from '../record/record.js'
import { lastOffsetOf, recordBatchProblem } from '../record/record-batch.js'
import { withoutCheck } from '../state/checked-value.js'

const SEEK_BYTES = 12
const KEY_BYTES = 16
/** What the CRC-32C of a record batch does not cover, and that CRC. */
const UNCOVERED_BYTES = 21
const META_PREFIX = Buffer.from([0xff, 0xff, 0xff, 0xff])
const NO_KEY = Buffer.alloc(0)

/** In front of every batch of the partition that ends at or after the offset. */
export function seekKey(partition: number, lastOffset: number): Buffer {
  return writePosition(Buffer.allocUnsafe(SEEK_BYTES), partition, lastOffset)
}

/** Where a batch is stored. The check ties it to its partition, offsets and epoch, which its own CRC leaves out. */
export function batchKey(partition: number, batch: Buffer): Buffer {
  const key = writePosition(Buffer.allocUnsafe(KEY_BYTES), partition, lastOffsetOf(batch))
  key.writeUInt32BE(checkOf(key, batch), SEEK_BYTES)
  return key
}

export function isBatchKey(key: Buffer): boolean {
  return key.length === KEY_BYTES && !key.subarray(0, META_PREFIX.length).equals(META_PREFIX)
}

/** Whether a value is what was stored under its key, by nothing but the two. */
export function proves(key: Buffer, value: Buffer): boolean {
  if (isBatchKey(key)) return recordBatchProblem(value) === null && belongsTo(key, value)
  if (!key.subarray(0, META_PREFIX.length).equals(META_PREFIX)) return false
  const isPlain = key.equals(HEADER_KEY) || key.equals(INDEX_KEY)
  return withoutCheck(value, isPlain ? NO_KEY : key) !== null
}

/** Whether the batch is the one that was stored under this key, as far as its own CRC does not tell. */
export function belongsTo(key: Buffer, batch: Buffer): boolean {
  return key.length === KEY_BYTES && key.readUInt32BE(SEEK_BYTES) === checkOf(key, batch)
}

function checkOf(key: Buffer, batch: Buffer): number {
  return crc32c(batch, 0, Math.min(UNCOVERED_BYTES, batch.length), crc32c(key, 0, SEEK_BYTES))
}

function writePosition(key: Buffer, partition: number, lastOffset: number): Buffer {
  key.writeUInt32BE(partition, 0)
  key.writeUInt32BE(Math.floor(lastOffset / 0x1_0000_0000), 4)
  key.writeUInt32BE(lastOffset >>> 0, 8)
  return key
}

export function partitionOfKey(key: Buffer): PartitionId {
  return key.readUInt32BE(0) as PartitionId
}

export function metaKey(name: 'header' | 'index' | 'topics'): Buffer {
  return Buffer.concat([META_PREFIX, Buffer.from(name)])
}

const HEADER_KEY = metaKey('header')
const INDEX_KEY = metaKey('index')
const FACT_PREFIX = Buffer.concat([META_PREFIX, Buffer.from('fact\0')])

export function factKey(name: string): Buffer {
  return Buffer.concat([FACT_PREFIX, Buffer.from(name)])
}

export function nameOfFactKey(key: Buffer): string {
  return key.toString('utf8', FACT_PREFIX.length)
}

/** All facts: [FACT_START, FACT_END). */
export const FACT_START = FACT_PREFIX
export const FACT_END = Buffer.concat([META_PREFIX, Buffer.from('fact\x01')])

/** Exclusive upper end of all record batches, inclusive lower end of the meta keys. */
export const META_START = META_PREFIX
/** Behind every key there is: a range from here holds nothing. */
export const KEY_END = Buffer.concat([META_PREFIX, Buffer.from([0xff])])
