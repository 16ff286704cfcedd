// Warnings about clients, so many a second at most: one that connects again and again, or ten thousand at once, must not fill the log of a
// gateway. What is left out is counted, and the count is said.

import type { Clock } from '../base/clock.js'
import type { LogFields, Logger } from '../base/logger.js'

const WINDOW_MS = 1000
const LINES_PER_WINDOW = 10

export class IncidentLog {
  private lines = 0
  private leftOut = 0
  private cancel: (() => void) | null = null

  constructor(
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  warn(event: string, fields: LogFields): void {
    // The window begins with its first line.
    this.cancel ??= this.clock.after(WINDOW_MS, () => this.endWindow())
    if (this.lines < LINES_PER_WINDOW) {
      this.lines += 1
      this.logger.warn(event, fields)
    } else this.leftOut += 1
  }

  /** Says what has been left out so far. */
  stop(): void {
    this.cancel?.()
    this.endWindow()
  }

  private endWindow(): void {
    if (this.leftOut > 0)
      this.logger.warn('more of the like about clients, not shown', { count: this.leftOut, within: `${WINDOW_MS} ms` })
    this.cancel = null
    this.lines = 0
    this.leftOut = 0
  }
}
