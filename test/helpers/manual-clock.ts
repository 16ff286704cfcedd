// Time that stands still until somebody sets it. What moves it, and what else happens then, is up to who extends it.

import type { Clock } from '../../src/base/clock.js'

interface Timer {
  readonly atMs: number
  readonly callback: () => void
}

export class ManualClock implements Clock {
  private timers: Timer[] = []

  constructor(
    public nowMs: number,
    /** What the wall clock says at 0. */
    private wallStartMs = Date.UTC(2026, 0, 1),
  ) {}

  wallMs(): number {
    return Math.floor(this.wallStartMs + this.nowMs)
  }

  monotonicMs(): number {
    return this.nowMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + delayMs, callback }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter((other) => other !== timer)
    }
  }

  /** NTP has answered, or the battery was empty: the wall clock jumps, the monotonic one does not. */
  jumpWall(ms: number): void {
    this.wallStartMs += ms
  }

  /** When the next timer is due; infinity if there is none. */
  protected get nextTimerMs(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.timers.map(({ atMs }) => atMs))
  }

  /** Takes out the timers that are due by then, in the order of their time. */
  protected takeTimers(byMs: number): Timer[] {
    const due: Timer[] = []
    for (let timer = this.takeTimer(byMs); timer; timer = this.takeTimer(byMs)) due.push(timer)
    return due
  }

  /** Takes out the next timer if it is due by then; of those due at once the one that was set first. */
  protected takeTimer(byMs: number): Timer | undefined {
    const at = this.nextTimerMs
    const timer = at <= byMs ? this.timers.find(({ atMs }) => atMs === at) : undefined
    this.timers = this.timers.filter((other) => other !== timer)
    return timer
  }
}
