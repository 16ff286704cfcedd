// How far a work queue is, as an operator sees it.

import { toPartitionId } from '../record/record.js'
import type { WorkQueue } from './work-queue.js'

export interface QueueDescription {
  readonly stream: string
  readonly group: string
  /** Never handed out yet. */
  readonly backlog: number
  /** With a worker right now. */
  readonly inFlight: number
  /** Handed out before, or waiting for their key, and not done. */
  readonly waiting: number
  readonly maxAttempts: number | null
  readonly deadLetter: string | null
  /** Since the node started. */
  readonly received: number
  readonly acknowledged: number
  readonly deadLettered: number
}

/** As far as it is now. */
export function describeQueue(queue: WorkQueue): QueueDescription {
  const { partitions, settings, stream, group } = queue
  const inFlight = queue.leased()
  const pending = partitions.reduce((sum, { pendingCount }) => sum + pendingCount, 0)
  const newOf = (next: number, p: number): number => Math.max(0, stream.highWatermark(toPartitionId(p)) - next)
  return {
    stream: stream.name,
    group,
    backlog: partitions.reduce((sum, { next }, p) => sum + newOf(next, p), 0),
    inFlight,
    waiting: pending - inFlight,
    maxAttempts: settings.deadLetters === null ? null : settings.maxAttempts,
    deadLetter: settings.deadLetters?.name ?? null,
    received: queue.received,
    acknowledged: queue.acknowledged,
    deadLettered: queue.deadLettered,
  }
}
