// The walk over everything stored, or over a sample of it, stretch by stretch.

import type { DamagedRange } from '../log/verify.js'
import type { Progress } from './progress-bar.js'
import type { StretchRequest, VerifySource } from './verify-source.js'

const STRETCH_RECORDS = 10_000
/** A sample is taken in at least so many pieces of each partition, where it has that many records. */
const SAMPLE_PIECES = 50

export interface WalkOptions {
  /** Undefined: all. */
  readonly stream: string | undefined
  readonly partition: number | undefined
  /** What part of the records is checked, above 0, at most 1. */
  readonly sample: number
  /** From 0 to 1, exclusive: where in the pieces a sample begins. */
  readonly random: () => number
  readonly onProgress: (progress: Progress) => Promise<void>
}

export interface VerifiedPartition {
  readonly stream: string
  readonly partition: number
  /** The offsets that were there to be checked: [firstOffset, endOffset). */
  readonly firstOffset: number
  readonly endOffset: number
  records: number
  bytes: number
  batches: number
  readonly damage: DamagedRange[]
}

export async function verifyAll(source: VerifySource, options: WalkOptions): Promise<VerifiedPartition[]> {
  const streams = (await source.streams()).filter(({ name }) => options.stream === undefined || name === options.stream)
  const results: VerifiedPartition[] = []
  let stored = 0
  for (const { name, partitions } of streams) {
    for (const { partition, log_start_offset: firstOffset, high_watermark: endOffset } of partitions) {
      stored += endOffset - firstOffset
      if (options.partition !== undefined && partition !== options.partition) continue
      const damage = [...source.lostBefore(name, partition, firstOffset)]
      results.push({ stream: name, partition, firstOffset, endOffset, records: 0, bytes: 0, batches: 0, damage })
    }
  }
  const chosen = results.reduce((sum, { firstOffset, endOffset }) => sum + endOffset - firstOffset, 0)
  const storedBytes = streams.reduce((sum, { bytes }) => sum + bytes, 0)
  const total = {
    totalRecords: Math.ceil(chosen * options.sample),
    totalBytes: stored === 0 ? 0 : Math.ceil(storedBytes * (chosen / stored) * options.sample),
  }
  let done = 0
  for (const result of results) {
    const { stream, partition } = result
    for (const piece of piecesOf(result, options)) {
      for await (const covered of verifyPiece(source, { stream, partition, ...piece }, result)) {
        done += covered
        const bytes = results.reduce((sum, each) => sum + each.bytes, 0)
        await options.onProgress({ ...total, records: done, bytes })
      }
    }
  }
  return results
}

interface Piece {
  readonly first: number
  /** Exclusive. */
  readonly end: number
}

/** The whole partition, or pieces evenly spread over it, of which the first is chosen by chance. */
export function* piecesOf(
  { firstOffset, endOffset }: Pick<VerifiedPartition, 'firstOffset' | 'endOffset'>,
  { sample, random }: Pick<WalkOptions, 'sample' | 'random'>,
): Generator<Piece> {
  if (sample >= 1) return yield { first: firstOffset, end: endOffset }
  const size = Math.min(STRETCH_RECORDS, Math.max(1, Math.ceil((endOffset - firstOffset) / SAMPLE_PIECES)))
  const begin = random()
  // Pieces due by the end of the one at `index`; a product, because sums of such fractions drift.
  const due = (index: number): number => Math.floor(begin + (index + 1) * sample + 1e-9)
  for (let first = firstOffset, index = 0; first < endOffset; first += size, index++)
    if (due(index) > due(index - 1)) yield { first, end: Math.min(first + size, endOffset) }
}

/** Adds what it finds to `result`; yields the number of offsets covered, stretch by stretch. */
async function* verifyPiece(
  source: VerifySource,
  { first, end, ...where }: Piece & Pick<StretchRequest, 'stream' | 'partition'>,
  result: VerifiedPartition,
): AsyncGenerator<number> {
  let next = first
  while (next < end) {
    const maxRecords = Math.min(STRETCH_RECORDS, end - next)
    const stretch = await source.verify({ ...where, offset: next, maxRecords })
    result.records += stretch.records
    result.bytes += stretch.bytes
    result.batches += stretch.batches
    for (const range of stretch.damage) addDamage(result.damage, range)
    // Nothing was stored there after all; the next start would be the same.
    if (stretch.nextOffset <= next) return
    yield Math.min(stretch.nextOffset, end) - next
    next = stretch.nextOffset
  }
}

/** Joined with the one before where they are one. */
function addDamage(damage: DamagedRange[], range: DamagedRange): void {
  const last = damage.at(-1)
  const touches = last !== undefined && range.firstOffset <= last.lastOffset + 1
  if (touches && last.known === range.known && last.problem === range.problem)
    damage[damage.length - 1] = { ...last, lastOffset: Math.max(last.lastOffset, range.lastOffset) }
  else damage.push(range)
}
