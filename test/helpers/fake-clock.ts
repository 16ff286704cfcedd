// A clock that moves when a test says so. Timers fire in order of their time, during `advance`.

import { ManualClock } from './manual-clock.js'

export class FakeClock extends ManualClock {
  constructor(wallStartMs?: number) {
    super(0, wallStartMs)
  }

  /** Moves on, firing what is due, and lets promises settle after each timer. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    for (let due = this.takeTimer(endMs); due; due = this.takeTimer(endMs)) {
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
