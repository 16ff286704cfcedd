// So many events a second on average, on the monotonic clock; after a time of silence `burst` of them at once.

import type { Clock } from '../base/clock.js'

export class Permits {
  private left: number
  private countedAtMs: number

  constructor(
    private readonly clock: Clock,
    readonly perSecond: number,
    readonly burst: number,
  ) {
    this.left = burst
    this.countedAtMs = clock.monotonicMs()
  }

  /** Takes one. @returns false when there is none. */
  take(): boolean {
    this.count()
    if (this.left < 1) return false
    this.left -= 1
    return true
  }

  giveBack(): void {
    this.left = Math.min(this.burst, this.left + 1)
  }

  /** As good as new: nothing is lost by forgetting it. */
  get isFull(): boolean {
    this.count()
    return this.left >= this.burst
  }

  private count(): void {
    const nowMs = this.clock.monotonicMs()
    this.left = Math.min(this.burst, this.left + ((nowMs - this.countedAtMs) / 1000) * this.perSecond)
    this.countedAtMs = nowMs
  }
}
