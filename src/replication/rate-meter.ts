// Events per second over the last ten seconds of monotonic time, in one bucket a second: constant memory, constant cost.

import type { Clock } from '../base/clock.js'

const BUCKETS = 10
const BUCKET_MS = 1000

export class RateMeter {
  private readonly counts = new Array<number>(BUCKETS).fill(0)
  private readonly startedAt: number
  /** Number of the bucket being filled, counted from the clock's zero. */
  private current: number

  constructor(private readonly clock: Clock) {
    this.startedAt = clock.monotonicMs()
    this.current = Math.floor(this.startedAt / BUCKET_MS)
  }

  add(count: number): void {
    this.turn()
    this.counts[this.current % BUCKETS] += count
  }

  perSecond(): number {
    this.turn()
    const nowMs = this.clock.monotonicMs()
    const windowStartMs = Math.max(this.startedAt, (this.current - BUCKETS + 1) * BUCKET_MS)
    // Less than a second says little: one record after a millisecond is not a thousand a second.
    const seconds = Math.max(1, (nowMs - windowStartMs) / 1000)
    return this.counts.reduce((sum, count) => sum + count, 0) / seconds
  }

  private turn(): void {
    const now = Math.floor(this.clock.monotonicMs() / BUCKET_MS)
    const steps = Math.min(BUCKETS, now - this.current)
    for (let i = 1; i <= steps; i++) this.counts[(now - steps + i) % BUCKETS] = 0
    this.current = now
  }
}
