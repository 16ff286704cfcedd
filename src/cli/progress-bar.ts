// How far a long command is, on one line of a terminal that is drawn over and over. Writes nothing where there is no terminal.

import { formatByteRate, formatBytes, formatCount, formatDuration, formatRate } from './format.js'
import type { Output } from './output.js'

const DRAW_EVERY_MS = 100
const BAR_CELLS = 20
/** Before that a rate says little, and the time left less. */
const ESTIMATE_AFTER_MS = 500

export interface Progress {
  readonly records: number
  readonly totalRecords: number
  readonly bytes: number
  /** About; 0 where it is not known. */
  readonly totalBytes: number
}

export class ProgressBar {
  private readonly startedAtMs: number
  private drawnAtMs = Number.NEGATIVE_INFINITY
  private drawn = false

  constructor(
    private readonly output: Output,
    private readonly nowMs: () => number = () => performance.now(),
  ) {
    this.startedAtMs = nowMs()
  }

  async show(progress: Progress): Promise<void> {
    const now = this.nowMs()
    if (!this.output.isTty || now - this.drawnAtMs < DRAW_EVERY_MS) return
    this.drawnAtMs = now
    this.drawn = true
    const line = formatProgress(progress, now - this.startedAtMs).slice(0, this.output.columns - 1)
    await this.output.write(`\r\x1b[K${line}`)
  }

  /** Leaves the line as it was before; the bar comes back with the next `show`. */
  async clear(): Promise<void> {
    if (!this.drawn) return
    this.drawn = false
    this.drawnAtMs = Number.NEGATIVE_INFINITY
    await this.output.write('\r\x1b[K')
  }
}

/**
 * `[##########..........]  50%  2s left  1,000 of 2,000 records, 500/s  1.5 MB of about 3 MB, 768 KB/s`: what matters most comes first,
 * because a narrow terminal cuts the rest.
 */
export function formatProgress({ records, totalRecords, bytes, totalBytes }: Progress, elapsedMs: number): string {
  const part = totalRecords === 0 ? 1 : Math.min(1, records / totalRecords)
  const cells = Math.floor(part * BAR_CELLS)
  const bar = `[${'#'.repeat(cells)}${'.'.repeat(BAR_CELLS - cells)}] ${String(Math.floor(part * 100)).padStart(3)}%`
  const counts = `${formatCount(records)} of ${formatCount(totalRecords)} records`
  const sizes = totalBytes === 0 ? formatBytes(bytes) : `${formatBytes(bytes)} of about ${formatBytes(totalBytes)}`
  if (elapsedMs < ESTIMATE_AFTER_MS || part === 0) return `${bar}  ${counts}  ${sizes}`
  const perSecond = 1000 / elapsedMs
  const left = formatDuration((elapsedMs / part) * (1 - part))
  const rates = [formatRate(records * perSecond), formatByteRate(bytes * perSecond)]
  return `${bar}  ${left} left  ${counts}, ${rates[0]}  ${sizes}, ${rates[1]}`
}
