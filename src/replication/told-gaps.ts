// What the ledger says of a stretch of offsets that will not be sent, for the upstream to know: each part with its reason, without overlap.

import { concerns, type LedgerRow } from '../state/ledger.js'
import { MAX_TOLD_GAPS, type ToldGap } from './node-protocol.js'

/** @param range Both inclusive. What the ledger does not know, which should not be, is told as `several`. */
export function gapsWithin(
  rows: readonly LedgerRow[],
  place: { readonly destination: string; readonly stream: string; readonly partition: number },
  range: { readonly first: number; readonly last: number },
): ToldGap[] {
  const ours = rows
    .filter((row) => concerns(row, place.destination))
    .filter(({ stream, partition }) => stream === place.stream && partition === place.partition)
    .sort((a, b) => a.firstOffset - b.firstOffset)
  const gaps: ToldGap[] = []
  let next = range.first
  const tell = (first: number, last: number, reason: string): void => {
    if (first > last) return
    gaps.push({ first, last, reason })
    next = last + 1
  }
  for (const { firstOffset, lastOffset, reason } of ours) {
    if (lastOffset < next || gaps.length > MAX_TOLD_GAPS - 3) continue
    if (firstOffset > range.last) break
    tell(next, firstOffset - 1, 'several')
    tell(next, Math.min(lastOffset, range.last), reason)
  }
  tell(next, range.last, 'several')
  return gaps
}
