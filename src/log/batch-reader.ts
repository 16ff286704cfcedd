// Reads stored record batches out of one segment, each checked before anybody sees it (D5): LevelDB here verifies no checksums, so a
// flipped bit would come back as good data and a damaged write-ahead log as a hole.

import { SluiceError } from '../base/errors.js'
import { baseOffsetOf, lastOffsetOf, recordBatchProblem } from '../record/record-batch.js'
import { belongsTo, META_START, partitionOfKey, seekKey } from './keys.js'
import { MAX_READ_AHEAD_BYTES, type SegmentSource } from './segment-source.js'

export interface StoredBatch {
  readonly partition: number
  readonly batch: Buffer
}

export interface BatchRange {
  readonly partition: number
  /** The first batch returned holds this offset. */
  readonly from: number
  /** Batches that reach this offset or beyond are not returned. */
  readonly end: number
  readonly maxBytes: number
  readonly maxRecords: number
}

/** What a table holds beside the batches, of their bytes: what is read at once is then what is wanted, and not a batch less, which would be read twice. */
const STORED_BESIDE = 1 / 64
/** Of what is asked for. What is left has hardly room for the next batch, which would be read for nothing. */
const ENOUGH = 3 / 4

/** @throws SluiceError CORRUPT_MESSAGE (details: partition, offset) at the first batch that fails its checks or is missing. */
export async function readBatches(source: SegmentSource, range: BatchRange): Promise<Buffer[]> {
  const { partition, from, end, maxBytes, maxRecords } = range
  const batches: Buffer[] = []
  let next = from
  let bytes = 0
  try {
    const readAhead = () =>
      bytes > maxBytes * ENOUGH ? null : Math.min((maxBytes - bytes) * (1 + STORED_BESIDE), MAX_READ_AHEAD_BYTES)
    for await (const entries of source.entries(seekKey(partition, from), seekKey(partition + 1, 0), readAhead)) {
      for (const [key, batch] of entries) {
        const problem = batchProblem(key, batch, next, batches.length === 0)
        if (problem !== null) throw corrupt(partition, next, problem)
        const last = lastOffsetOf(batch)
        if (last >= end || (batches.length > 0 && bytes + batch.length > maxBytes)) return batches
        batches.push(batch)
        bytes += batch.length
        next = last + 1
        if (next - from >= maxRecords || next === end) return batches
      }
    }
    if (batches.length > 0) return batches
    throw corrupt(partition, next, 'is missing')
  } catch (error) {
    // What was read before it is good; who goes on from there meets it first.
    if (batches.length > 0) return batches
    throw error
  }
}

/**
 * How far damage reaches that `readBatches` met at `offset`.
 * @param extent The partition's offsets in this segment: [base, end).
 * @returns the offsets that cannot be read, both inclusive: from the end of the last good batch before to the start of the next.
 */
export async function damagedRange(
  source: SegmentSource,
  partition: number,
  offset: number,
  extent: { readonly base: number; readonly end: number },
): Promise<readonly [first: number, last: number]> {
  const damaged = seekKey(partition, offset)
  let first = extent.base
  try {
    for await (const { batch } of batchesFrom(source, seekKey(partition, extent.base), damaged))
      first = lastOffsetOf(batch) + 1
  } catch {
    // The table itself is damaged here: everything below `offset` has been read before, or will be found out when it is.
    first = offset
  }
  try {
    for await (const { batch } of batchesFrom(source, damaged, seekKey(partition + 1, 0))) {
      if (baseOffsetOf(batch) > offset) return [first, baseOffsetOf(batch) - 1]
    }
  } catch {
    // LevelDB gives nothing beyond this point.
  }
  return [first, extent.end - 1]
}

/** Reads every sound batch of a segment, in key order; what is not sound is left out. */
export function allBatches(source: SegmentSource): AsyncIterable<StoredBatch> {
  return batchesFrom(source, seekKey(0, 0), META_START)
}

async function* batchesFrom(source: SegmentSource, gte: Buffer, lt: Buffer): AsyncIterable<StoredBatch> {
  for await (const entries of source.entries(gte, lt)) {
    for (const [key, batch] of entries) {
      if (problemOf(key, batch) === null) yield { partition: partitionOfKey(key), batch }
    }
  }
}

/** @returns what is wrong with the batch that should hold `next` (or, unless it is the first one read, begin there), or null. */
function batchProblem(key: Buffer, batch: Buffer, next: number, first: boolean): string | null {
  const problem = problemOf(key, batch)
  if (problem !== null) return problem
  const base = baseOffsetOf(batch)
  const follows = first ? base <= next && lastOffsetOf(batch) >= next : base === next
  return follows ? null : `is missing: what is stored there begins at ${base}`
}

function problemOf(key: Buffer, batch: Buffer): string | null {
  return recordBatchProblem(batch) ?? (belongsTo(key, batch) ? null : 'is not the one that was stored there')
}

function corrupt(partition: number, offset: number, problem: string): SluiceError {
  const message = `the record batch of partition ${partition} at offset ${offset} ${problem}`
  return new SluiceError('CORRUPT_MESSAGE', message, { partition, offset })
}
