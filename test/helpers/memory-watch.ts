// Memory of another process that no file backs, looked at often, for tests that bound it.

import { rssAnonOf } from './process-usage.js'

const EVERY_MS = 20
const MB = 1024 * 1024

export class MemoryWatch {
  /** The most that was seen; 1 MB is 1024 × 1024 bytes. */
  peakMb = 0
  private readonly timer = setInterval(() => this.look(), EVERY_MS)

  /** @param pid Asked each time: the process may be started again. */
  constructor(private readonly pid: () => number) {}

  /** @returns 0 while there is no such process. */
  look(): number {
    let mb = 0
    try {
      mb = (rssAnonOf(this.pid()) || 0) / MB
    } catch {
      // Between two lives of it.
    }
    this.peakMb = Math.max(this.peakMb, mb)
    return mb
  }

  end(): void {
    clearInterval(this.timer)
  }
}
