// What one work queue knows of one partition: `next`, where new messages are read, and the pending messages below it. What is below `next`
// and not pending is done. So an acknowledgement out of order costs nothing to remember, and both memory and the stored row are bounded by
// the number of pending messages. Pure: no clock, no I/O. Used by WorkQueue alone.

import { assert } from '../base/assert.js'

interface Pending {
  attempts: number
  /** When it may be handed out (again): the end of its lease or of its delay; monotonic milliseconds. */
  dueMs: number
  /** Of the worker that has it; empty when nobody does. */
  lease: string
  /** Murmur2 of its key: messages of one key may be wanted one after the other. A collision only makes one wait longer. */
  readonly keyHash: number
  /** Why the last worker gave it back. */
  reason: string
}

/** As it is stored: positions are differences to the one before, ascending. */
export interface QueueRow {
  readonly next: number
  /** Three numbers for each pending message: offset less the one before it, attempts, key hash. */
  readonly pending: readonly number[]
}

export interface DueMessage {
  readonly offset: number
  readonly attempts: number
  readonly reason: string
}

export class QueuePartition {
  /** Something is not stored yet. */
  isDirty = false
  /** In ascending order of offsets. */
  private pending = new Map<number, Pending>()

  constructor(
    public next: number,
    readonly maxPending: number,
  ) {}

  static restore(row: QueueRow, maxPending: number): QueuePartition {
    const partition = new QueuePartition(row.next, maxPending)
    let offset = 0
    for (let i = 0; i < row.pending.length; i += 3) {
      offset += row.pending[i]
      // A lease does not outlive the process: whoever had the message may still acknowledge it until somebody else gets it.
      partition.pending.set(offset, {
        attempts: row.pending[i + 1],
        keyHash: row.pending[i + 2],
        dueMs: 0,
        lease: '',
        reason: '',
      })
    }
    return partition
  }

  row(): QueueRow {
    const pending: number[] = []
    let last = 0
    for (const [offset, { attempts, keyHash }] of this.pending) {
      pending.push(offset - last, attempts, keyHash)
      last = offset
    }
    return { next: this.next, pending }
  }

  get pendingCount(): number {
    return this.pending.size
  }

  get hasRoom(): boolean {
    return this.pending.size < this.maxPending
  }

  leasedCount(nowMs: number): number {
    let count = 0
    for (const { lease, dueMs } of this.pending.values()) if (lease !== '' && dueMs > nowMs) count += 1
    return count
  }

  /** The next moment at which a message becomes due that is not yet. */
  nextDueMs(nowMs: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { dueMs } of this.pending.values()) if (dueMs > nowMs && dueMs < next) next = dueMs
    return next
  }

  /**
   * Pending messages that may be handed out, in order.
   * @param oneByKey Collects the keys that are taken: a message of such a key waits. Null where order does not matter.
   */
  due(nowMs: number, maximum: number, oneByKey: Set<number> | null): DueMessage[] {
    const due: DueMessage[] = []
    for (const [offset, { attempts, dueMs, keyHash, reason }] of this.pending) {
      const isTaken = oneByKey?.has(keyHash) === true
      oneByKey?.add(keyHash)
      if (isTaken || dueMs > nowMs || due.length >= maximum) continue
      due.push({ offset, attempts, reason })
    }
    return due
  }

  /** Messages whose last attempt was under way when the process ended are not worn out before `untilMs`. */
  keepWornOut(maxAttempts: number, untilMs: number): void {
    for (const message of this.pending.values()) if (message.attempts >= maxAttempts) message.dueMs = untilMs
  }

  /** When the first last attempt runs out, or has; monotonic milliseconds. */
  wornOutMs(maxAttempts: number): number {
    let first = Number.POSITIVE_INFINITY
    for (const { attempts, dueMs } of this.pending.values()) if (attempts >= maxAttempts && dueMs < first) first = dueMs
    return first
  }

  /** A new message at or after `next`, not yet handed out. */
  add(offset: number, keyHash: number): void {
    assert(offset >= this.next, 'new messages of a queue come in order')
    this.pending.set(offset, { attempts: 0, dueMs: 0, lease: '', keyHash, reason: '' })
    this.advance(offset + 1)
  }

  /** Whether it may be handed out now. */
  isDue(offset: number, nowMs: number): boolean {
    const message = this.pending.get(offset)
    return message !== undefined && message.dueMs <= nowMs
  }

  /** @returns the number of the attempt that begins with this. */
  lease(offset: number, lease: string, untilMs: number): number {
    const message = this.pending.get(offset)
    assert(message !== undefined, 'only pending messages are handed out')
    message.attempts += 1
    message.lease = lease
    message.dueMs = untilMs
    message.reason = ''
    this.isDirty = true
    return message.attempts
  }

  /** Whether the holder of a receipt may still say something of the message; null for one that is done. */
  holds(offset: number, lease: string): boolean | null {
    const message = this.pending.get(offset)
    if (message === undefined) return offset < this.next ? null : false
    return message.lease === lease || message.lease === ''
  }

  done(offset: number): void {
    if (this.pending.delete(offset)) this.isDirty = true
  }

  release(offset: number, dueMs: number, reason: string): void {
    const message = this.pending.get(offset)
    if (message === undefined) return
    message.lease = ''
    message.dueMs = dueMs
    message.reason = reason
    this.isDirty = true
  }

  extend(offset: number, lease: string, untilMs: number): void {
    const message = this.pending.get(offset)
    if (message === undefined) return
    message.lease = lease
    message.dueMs = untilMs
  }

  attemptsOf(offset: number): number {
    return this.pending.get(offset)?.attempts ?? 0
  }

  /** A message that was done comes back, as if it had never been tried. @returns false when it is pending already. */
  bringBack(offset: number, keyHash: number): boolean {
    if (offset >= this.next || this.pending.has(offset)) return false
    this.pending.set(offset, { attempts: 0, dueMs: 0, lease: '', keyHash, reason: '' })
    this.pending = new Map([...this.pending].sort(([a], [b]) => a - b))
    this.isDirty = true
    return true
  }

  /** Everything below `offset` has been read. */
  advance(offset: number): void {
    if (offset <= this.next) return
    this.next = offset
    this.isDirty = true
  }

  /** What lies below the log start can be handed out no more. @returns the offsets that were not done, as ranges, both ends inclusive. */
  dropBelow(logStart: number): [first: number, last: number][] {
    const lost: [number, number][] = []
    for (const offset of this.pending.keys()) {
      if (offset >= logStart) break
      const last = lost.at(-1)
      if (last !== undefined && last[1] === offset - 1) last[1] = offset
      else lost.push([offset, offset])
    }
    for (const [first, last] of lost) for (let offset = first; offset <= last; offset++) this.done(offset)
    if (this.next < logStart) {
      lost.push([this.next, logStart - 1])
      this.advance(logStart)
    }
    return lost
  }
}
