// A budget per second, of bytes or of messages, on the monotonic clock. Spending may go into debt once, so that a record larger than the bucket
// still passes; the debt is then waited for, and the average holds.

import type { Clock } from '../base/clock.js'

export class TokenBucket {
  private tokens: number
  private countedAtMs: number

  /**
   * @param perSecond Average that is never exceeded over the long run.
   * @param burst What may go at once after a time of silence; default one second's worth.
   * @param whole What must be there before something may be spent; default: the least bit, since debt is allowed.
   */
  constructor(
    private readonly clock: Clock,
    private readonly perSecond: number,
    private readonly burst = perSecond,
    private readonly whole = Number.MIN_VALUE,
  ) {
    if (!(perSecond > 0)) throw new RangeError('a rate is more than 0 a second')
    this.tokens = burst
    this.countedAtMs = clock.monotonicMs()
  }

  /** Milliseconds until something may be sent; 0 if it may be now. */
  waitMs(): number {
    const nowMs = this.clock.monotonicMs()
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.countedAtMs) / 1000) * this.perSecond)
    this.countedAtMs = nowMs
    if (this.tokens >= this.whole) return 0
    return Math.max(1, Math.ceil(((this.whole - this.tokens) / this.perSecond) * 1000))
  }

  /** Call for what is sent, after `waitMs` has given 0. */
  spend(tokens: number): void {
    this.tokens -= tokens
  }
}
