// A clock that moves when a test says so. Timers fire in order of their time, during `advance`.

import type { Clock } from '../../src/base/clock.js'

export class FakeClock implements Clock {
  private nowMs = 0
  private timers: { readonly atMs: number; readonly callback: () => void }[] = []

  constructor(private wallStartMs = Date.UTC(2026, 0, 1)) {}

  wallMs(): number {
    return this.wallStartMs + this.nowMs
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

  /** Moves on, firing what is due, and lets promises settle after each timer. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    for (;;) {
      const due = this.timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.timers = this.timers.filter((other) => other !== due)
      this.nowMs = due.atMs
      due.callback()
      await settle()
    }
    this.nowMs = endMs
    await settle()
  }
}

/** Lets every promise that can settle now do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
