// Warnings about clients, so many a second at most: one that connects again and again, or ten thousand at once, must not fill the log of a
// gateway. What is left out is counted, and the count is said. What one client meets with again and again, such as a full disk at each of
// its attempts, is said once and then a minute's at a time.

import type { Clock } from '../base/clock.js'
import type { LogFields, Logger } from '../base/logger.js'

const WINDOW_MS = 1000
const LINES_PER_WINDOW = 10
const REPEAT_MS = 60_000
/** Incidents that are known again, inclusive; beyond, each is a line. */
const MAX_REMEMBERED = 256

interface Repeated {
  /** Since it was last said. */
  times: number
  readonly cancel: () => void
}

export class IncidentLog {
  private lines = 0
  private leftOut = 0
  private cancel: (() => void) | null = null
  private readonly repeated = new Map<string, Repeated>()

  constructor(
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  warn(event: string, fields: LogFields): void {
    const { client, reason } = fields
    // Who has not said its name may be another each time.
    if (client !== undefined) {
      const same = JSON.stringify([event, client, reason])
      const known = this.repeated.get(same)
      if (known !== undefined) {
        known.times += 1
        return
      }
      this.remember(same, event, fields)
    }
    this.say(event, fields)
  }

  /** Says what has been left out so far. */
  stop(): void {
    for (const { cancel } of this.repeated.values()) cancel()
    this.repeated.clear()
    this.cancel?.()
    this.endWindow()
  }

  private say(event: string, fields: LogFields): void {
    // The window begins with its first line.
    this.cancel ??= this.clock.after(WINDOW_MS, () => this.endWindow())
    if (this.lines < LINES_PER_WINDOW) {
      this.lines += 1
      this.logger.warn(event, fields)
    } else this.leftOut += 1
  }

  private remember(same: string, event: string, fields: LogFields): void {
    if (this.repeated.size >= MAX_REMEMBERED) return
    const cancel = this.clock.after(REPEAT_MS, () => {
      const { times = 0 } = this.repeated.get(same) ?? {}
      this.repeated.delete(same)
      if (times === 0) return
      this.say(event, { ...fields, times, within: `${REPEAT_MS} ms` })
      this.remember(same, event, fields)
    })
    this.repeated.set(same, { times: 0, cancel })
  }

  private endWindow(): void {
    if (this.leftOut > 0)
      this.logger.warn('more of the like about clients, not shown', { count: this.leftOut, within: `${WINDOW_MS} ms` })
    this.cancel = null
    this.lines = 0
    this.leftOut = 0
  }
}
