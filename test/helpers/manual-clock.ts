// A clock that moves only when told, so that tests of time-outs take no time.

import type { Clock } from '../../src/base/clock.js'

export class ManualClock implements Clock {
  private nowMs = 1_000
  private readonly timers = new Map<number, { readonly dueMs: number; readonly callback: () => void }>()
  private ids = 0

  /** Wall-clock time less monotonic time; may be set to make the wall clock jump. */
  wallOffsetMs = 1_700_000_000_000

  wallMs(): number {
    return this.nowMs + this.wallOffsetMs
  }

  monotonicMs(): number {
    return this.nowMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const id = ++this.ids
    this.timers.set(id, { dueMs: this.nowMs + delayMs, callback })
    return () => this.timers.delete(id)
  }

  /** Moves on, and runs what falls due on the way, in order. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms
    for (;;) {
      const next = [...this.timers].filter(([, { dueMs }]) => dueMs <= endMs).sort((a, b) => a[1].dueMs - b[1].dueMs)[0]
      if (next === undefined) break
      this.timers.delete(next[0])
      this.nowMs = Math.max(this.nowMs, next[1].dueMs)
      next[1].callback()
    }
    this.nowMs = endMs
  }
}
