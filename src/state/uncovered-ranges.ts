// Which part of a stretch of offsets is in none of some ranges: what the ledger does not know yet, what an upstream has not acknowledged.

import type { Offset } from '../record/record.js'
import type { LedgerEntry } from './ledger.js'

export interface OffsetRange {
  /** Inclusive. */
  readonly first: Offset
  /** Inclusive. */
  readonly last: Offset
}

/** @param entries Those of one destination (or `*`), stream and partition, in any order. */
export function uncoveredRanges(
  range: OffsetRange,
  entries: readonly Pick<LedgerEntry, 'firstOffset' | 'lastOffset'>[],
): OffsetRange[] {
  const gaps: OffsetRange[] = []
  let next: number = range.first
  for (const { firstOffset, lastOffset } of [...entries].sort((a, b) => a.firstOffset - b.firstOffset)) {
    if (lastOffset < next) continue
    if (firstOffset > range.last) break
    if (firstOffset > next) gaps.push({ first: next as Offset, last: (firstOffset - 1) as Offset })
    next = lastOffset + 1
  }
  if (next <= range.last) gaps.push({ first: next as Offset, last: range.last })
  return gaps
}
