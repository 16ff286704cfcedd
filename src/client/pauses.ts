// Waiting between attempts: growing, random, and cut short by a signal.

import { Backoff } from '../base/backoff.js'
import { sleep } from '../base/sleep.js'

export class Pauses {
  private readonly backoff: Backoff

  constructor(
    baseMs: number,
    maxMs: number,
    private readonly signal: AbortSignal,
  ) {
    this.backoff = new Backoff({ baseMs, maxMs })
  }

  /** Resolves after the next pause, or at once when the signal is aborted. */
  next(): Promise<void> {
    return sleep(Math.max(10, this.backoff.nextMs()), this.signal)
  }

  reset(): void {
    this.backoff.reset()
  }
}
