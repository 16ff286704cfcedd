// Memory of another process that no file backs, looked at often, for tests that bound it.

import { readFileSync } from 'node:fs'

const EVERY_MS = 20

export class MemoryWatch {
  /** The most that was seen. */
  peakMb = 0
  private readonly timer = setInterval(() => this.look(), EVERY_MS)

  /** @param pid Asked each time: the process may be started again. */
  constructor(private readonly pid: () => number) {}

  /** @returns 0 while there is no such process. */
  look(): number {
    let mb = 0
    try {
      mb = Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid()}/status`, 'latin1'))?.[1] ?? 0) / 1024
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
