// Reads stored record batches out of one segment, each checked before anybody sees it (D5): LevelDB here verifies no checksums, so a
// flipped bit would come back as good data and a damaged write-ahead log as a hole.

import { SluiceError } from '../base/errors.js'
import { baseOffsetOf, lastOffsetOf, recordBatchProblem } from '../record/record-batch.js'
import type { LevelDatabase } from '../state/level-database.js'
import { batchKey, partitionOfKey } from './keys.js'

/** Entries asked of LevelDB at once; it stops earlier at the byte limit. */
const ENTRIES_PER_READ = 64
const MAX_READ_AHEAD_BYTES = 512 * 1024

export interface BatchRange {
  readonly partition: number
  /** The first batch returned holds this offset. */
  readonly from: number
  /** Batches that reach this offset or beyond are not returned. */
  readonly end: number
  readonly maxBytes: number
  readonly maxRecords: number
}

/** @throws SluiceError CORRUPT_MESSAGE (details: partition, offset) at the first batch that fails its checks or is missing. */
export async function readBatches(database: LevelDatabase, range: BatchRange): Promise<Buffer[]> {
  const { partition, from, end, maxBytes, maxRecords } = range
  const iterator = database.iterator({
    gte: batchKey(partition, from),
    lt: batchKey(partition + 1, 0),
    fillCache: false,
    highWaterMarkBytes: Math.min(maxBytes, MAX_READ_AHEAD_BYTES),
  } as object)
  const batches: Buffer[] = []
  let next = from
  let bytes = 0
  try {
    for (;;) {
      const entries = await iterator.nextv(ENTRIES_PER_READ)
      for (const [, batch] of entries) {
        checkBatch(batch, partition, next, batches.length === 0)
        const last = lastOffsetOf(batch)
        if (last >= end || (batches.length > 0 && bytes + batch.length > maxBytes)) return batches
        batches.push(batch)
        bytes += batch.length
        next = last + 1
        if (next - from >= maxRecords || next === end) return batches
      }
      if (entries.length === 0) break
    }
  } finally {
    await iterator.close()
  }
  if (batches.length === 0 && next < end) throw corrupt(partition, next, 'is missing')
  return batches
}

/** Reads every batch of a segment, in key order, without checking it. */
export async function* allBatches(
  database: LevelDatabase,
  metaStart: Buffer,
): AsyncIterable<{ partition: number; batch: Buffer }> {
  const iterator = database.iterator({
    lt: metaStart,
    fillCache: false,
    highWaterMarkBytes: MAX_READ_AHEAD_BYTES,
  } as object)
  try {
    for (;;) {
      const entries = await iterator.nextv(ENTRIES_PER_READ)
      if (entries.length === 0) return
      for (const [key, batch] of entries) yield { partition: partitionOfKey(key), batch }
    }
  } finally {
    await iterator.close()
  }
}

function checkBatch(batch: Buffer, partition: number, next: number, first: boolean): void {
  const problem = recordBatchProblem(batch)
  if (problem) throw corrupt(partition, next, problem)
  const base = baseOffsetOf(batch)
  const follows = first ? base <= next && lastOffsetOf(batch) >= next : base === next
  if (!follows) throw corrupt(partition, next, `is missing: what is stored there begins at ${base}`)
}

function corrupt(partition: number, offset: number, problem: string): SluiceError {
  const message = `the record batch of partition ${partition} at offset ${offset} ${problem}; run: sluice verify`
  return new SluiceError('CORRUPT_MESSAGE', message, { partition, offset })
}
