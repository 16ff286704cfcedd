// Wakes a work queue when the last attempt at a message runs out, so that it becomes a dead letter then and not when the next worker asks. One
// timer per queue, for the earliest of them.

import type { Clock } from '../base/clock.js'

export class WornOutWatch {
  private atMs = Number.POSITIVE_INFINITY
  private cancel = (): void => {}
  private stopped = false

  /** @param look Deals with what is worn out. @returns when to look again, monotonic milliseconds. Must not reject. */
  constructor(
    private readonly clock: Clock,
    private readonly look: () => Promise<number>,
  ) {}

  /** Something may be worn out at that time: looks then, or before. */
  expect(atMs: number): void {
    if (this.stopped || atMs >= this.atMs) return
    this.cancel()
    this.atMs = atMs
    this.cancel = this.clock.after(Math.max(0, atMs - this.clock.monotonicMs()), () => {
      this.atMs = Number.POSITIVE_INFINITY
      void this.look().then((nextMs) => this.expect(nextMs))
    })
  }

  stop(): void {
    this.stopped = true
    this.cancel()
  }
}
