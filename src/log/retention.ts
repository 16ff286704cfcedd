// Decides which segments go: by bytes and by age, oldest first, whole segments only. What an upstream was still owed of a segment is in the
// ledger before the segment leaves the disk (Promise 2).

import type { Offset } from '../record/record.js'
import { type Cursors, notAcked } from '../state/cursors.js'
import type { Ledger, LedgerEntry, LedgerReason } from '../state/ledger.js'
import type { Segment } from './segment.js'
import type { Extent } from './segment-index.js'
import type { SegmentStore } from './segment-store.js'

export interface RetentionPolicy {
  readonly maxBytes: number
  /** Milliseconds of the node's powered-on time since the segment's last record; null: no limit. */
  readonly maxAgeMs: number | null
  /** What to do at maxBytes when the oldest segment is not spent: drop it with a ledger entry, or take no more records. */
  readonly onFull: 'drop_oldest' | 'reject'
}

export interface Place {
  readonly stream: string
  readonly partition: number
}

export interface RetentionOptions {
  readonly policy: RetentionPolicy
  readonly store: SegmentStore
  readonly cursors: Pick<Cursors, 'get' | 'acked'>
  readonly ledger: Ledger
  /** What upstreams and the ledger call a partition of this stream. */
  readonly placeOf: (partition: number) => Place
  /** Names of the upstreams that list a stream. */
  readonly destinationsOf: (stream: string) => readonly string[]
  readonly poweredOnMs: () => number
  readonly wallMs: () => number
}

/**
 * Drops what must go. The caller makes sure that nothing is written meanwhile.
 * @returns true if the stream is full all the same: nothing may be dropped, and `onFull` is 'reject'.
 */
export async function enforceRetention(options: RetentionOptions): Promise<boolean> {
  const { store, policy } = options
  for (;;) {
    const oldest = store.oldestDroppable
    const overBytes = store.segments.bytes > policy.maxBytes
    if (oldest === undefined) return overBytes && policy.onFull === 'reject'
    if (!overBytes && !isExpired(oldest, options)) return false
    const owed = owedOf(oldest, options, 'retention')
    if (overBytes && policy.onFull === 'reject' && !isExpired(oldest, options) && !isSpent(oldest, owed, options))
      return true
    await options.ledger.add(owed)
    await store.dropOldest()
  }
}

export interface DropCandidate {
  /** Every upstream has acknowledged all of it. */
  readonly spent: boolean
  /** Powered-on time of its last record, milliseconds. */
  readonly lastWritePoweredOnMs: number
}

/** The segment that `dropOldest` would drop; null if it would drop none. */
export function dropCandidate(options: RetentionOptions): DropCandidate | null {
  const { store, policy } = options
  const oldest = store.oldestDroppable
  // The newest carries the ends of the partitions; to let it go another would have to be begun first.
  if (oldest === undefined || oldest === store.segments.newest) return null
  const spent = isSpent(oldest, owedOf(oldest, options, 'retention'), options)
  return spent || policy.onFull === 'drop_oldest' ? { spent, lastWritePoweredOnMs: oldest.lastWritePoweredOnMs } : null
}

/**
 * Drops the oldest segment to make room on the disk, if it is spent or the policy lets go of what is not.
 * @returns false if it may not go, or there is none.
 */
export async function dropOldest(options: RetentionOptions, reason: LedgerReason): Promise<boolean> {
  const { oldestDroppable } = options.store
  if (oldestDroppable === undefined || dropCandidate(options) === null) return false
  await options.ledger.add(owedOf(oldestDroppable, options, reason))
  await options.store.dropOldest()
  return true
}

/** With nobody to deliver to, a stream that rejects keeps everything. */
function isSpent(segment: Segment, owed: readonly LedgerEntry[], options: RetentionOptions): boolean {
  const { placeOf, destinationsOf } = options
  return (
    owed.length === 0 && segment.extents.some((_, partition) => destinationsOf(placeOf(partition).stream).length > 0)
  )
}

function isExpired(segment: Segment, { policy, poweredOnMs }: RetentionOptions): boolean {
  return policy.maxAgeMs !== null && poweredOnMs() - segment.lastWritePoweredOnMs > policy.maxAgeMs
}

/** What the upstreams have not acknowledged of a segment. */
function owedOf(
  segment: Segment,
  { cursors, placeOf, destinationsOf, wallMs }: RetentionOptions,
  reason: LedgerReason,
): LedgerEntry[] {
  const owed: LedgerEntry[] = []
  segment.extents.forEach(({ base, end }, index) => {
    const { stream, partition } = placeOf(index)
    for (const destination of destinationsOf(stream)) {
      for (const offsets of owedBy(destination, { stream, partition }, { base, end }, cursors))
        owed.push({ destination, stream, partition, ...offsets, reason, atMs: wallMs() })
    }
  })
  return owed
}

/** What one upstream has not acknowledged of a stretch of a partition. */
export function owedBy(
  destination: string,
  { stream, partition }: Place,
  { base, end }: Pick<Extent, 'base' | 'end'>,
  cursors: Pick<Cursors, 'get' | 'acked'>,
): Pick<LedgerEntry, 'firstOffset' | 'lastOffset'>[] {
  const first = Math.max(base, cursors.get(destination, stream, partition) ?? 0) as Offset
  if (first >= end) return []
  return notAcked({ first, last: (end - 1) as Offset }, cursors.acked(destination, stream, partition)).map((range) => ({
    firstOffset: range.first,
    lastOffset: range.last,
  }))
}
