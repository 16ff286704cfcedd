// A byte budget per second, on the monotonic clock. Spending may go into debt once, so that a record larger than the bucket still
// passes; the debt is then waited for, and the average holds.

import type { Clock } from '../base/clock.js'

export class TokenBucket {
  private tokens: number
  private countedAtMs: number

  /**
   * @param bytesPerSecond Average that is never exceeded over the long run.
   * @param burstBytes What may go at once after a time of silence; default one second's worth.
   * @param whole What must be there before something may be spent; default: the least bit, since debt is allowed.
   */
  constructor(
    private readonly clock: Clock,
    readonly bytesPerSecond: number,
    private readonly burstBytes = bytesPerSecond,
    private readonly whole = Number.MIN_VALUE,
  ) {
    if (!(bytesPerSecond > 0)) throw new RangeError('a bandwidth is more than 0 bytes per second')
    this.tokens = burstBytes
    this.countedAtMs = clock.monotonicMs()
  }

  /** Milliseconds until something may be sent; 0 if it may be now. */
  waitMs(): number {
    const nowMs = this.clock.monotonicMs()
    this.tokens = Math.min(this.burstBytes, this.tokens + ((nowMs - this.countedAtMs) / 1000) * this.bytesPerSecond)
    this.countedAtMs = nowMs
    if (this.tokens >= this.whole) return 0
    return Math.max(1, Math.ceil(((this.whole - this.tokens) / this.bytesPerSecond) * 1000))
  }

  /** Call for what is sent, after `waitMs` has given 0. */
  spend(bytes: number): void {
    this.tokens -= bytes
  }
}
