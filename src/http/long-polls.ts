// Requests that wait for something to happen. Each costs a socket and a few closures, so their number has a maximum; a client past it
// is told to come back rather than left hanging. Nothing here polls: a waiter is woken by whoever changed what it waits for.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { Wait } from './route.js'

/** Longest a request may wait, milliseconds; `wait_ms` is refused above it. */
export const MAX_WAIT_MS = 60_000

export class LongPolls {
  private readonly waiting = new Set<() => void>()
  private stopped = false

  /** @param maximum Requests that may wait at once, inclusive. */
  constructor(
    readonly maximum: number,
    private readonly clock: Clock,
  ) {}

  get isStopped(): boolean {
    return this.stopped
  }

  get count(): number {
    return this.waiting.size
  }

  /** @param onGone Calls back when the client hangs up; the returned function ends that. */
  wait(wait: Wait, onGone: (callback: () => void) => () => void): Promise<void> {
    if (wait.waitMs <= 0 || this.stopped || wait.ready()) return Promise.resolve()
    if (this.waiting.size >= this.maximum)
      throw new SluiceError(
        'TOO_MANY_REQUESTS',
        `${this.maximum} requests are waiting already: ask again without wait_ms, or raise the node's limit`,
        { max_waiting_polls: this.maximum },
      )
    return new Promise((resolve) => {
      const end = () => {
        if (!this.waiting.delete(end)) return
        cancelTimer()
        unsubscribe()
        stopWatching()
        resolve()
      }
      this.waiting.add(end)
      const cancelTimer = this.clock.after(wait.waitMs, end)
      const stopWatching = onGone(end)
      const unsubscribe = wait.subscribe(() => {
        if (wait.ready()) end()
      })
    })
  }

  /** Ends every wait, now and from now on: each request answers with what there is. */
  stop(): void {
    this.stopped = true
    for (const end of [...this.waiting]) end()
  }
}
