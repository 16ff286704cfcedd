// Writes the cursors of one upstream to disk: never ahead of the acknowledgements, many movements in one write. Under load the next
// write starts when the last has ended and a window of records has been acknowledged since; a trickle is gathered for a while, because
// each write wears the SD card. What is acknowledged and not yet saved is sent again after a power cut: at most about a window,
// and what came in during one write.

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Offset } from '../record/record.js'

/** What it needs of a lane. */
export interface CursorHolder {
  readonly cursor: Offset
}

export interface CursorSaverOptions<L extends CursorHolder> {
  readonly lanes: readonly L[]
  /** Durable when it resolves. */
  readonly save: (lane: L, cursor: Offset) => Promise<void>
  readonly clock: Clock
  readonly logger: Logger
  /** Acknowledged offsets that start a write at once. */
  readonly maxUnsaved: number
  /** Longest that a smaller number waits. */
  readonly delayMs: number
}

/** Pause after a write that failed. */
const RETRY_MS = 1_000

export class CursorSaver<L extends CursorHolder> {
  private readonly saved: Map<L, Offset>
  private unsaved = 0
  private saving: Promise<void> | null = null
  private timerRuns = false
  private cancelTimer = (): void => {}

  constructor(
    private readonly options: CursorSaverOptions<L>,
    /** What is on disk; lanes that are left out have nothing there yet. */
    onDisk: ReadonlyMap<L, Offset>,
  ) {
    this.saved = new Map(onDisk)
  }

  /** What is on disk of a lane that came later. */
  onDisk(lane: L, cursor: Offset): void {
    this.saved.set(lane, cursor)
  }

  /** Call when a cursor has moved by so many offsets. */
  moved(offsets: number): void {
    this.unsaved += offsets
    if (this.saving !== null) return
    if (this.unsaved >= this.options.maxUnsaved) void this.saveNow()
    else this.saveWithin(this.options.delayMs)
  }

  /** Resolves when every cursor is on disk as it was at the call, or later. @throws SluiceError when it cannot be written. */
  async flush(): Promise<void> {
    // A write that runs may have begun before the last movement.
    while (this.saving !== null) await this.saving
    const written = this.write()
    this.saving = written.then(
      () => {},
      () => {},
    )
    try {
      await written
    } finally {
      this.saving = null
    }
  }

  stop(): void {
    this.cancelTimer()
    this.timerRuns = false
  }

  private saveWithin(delayMs: number): void {
    if (this.timerRuns) return
    this.timerRuns = true
    this.cancelTimer = this.options.clock.after(delayMs, () => {
      this.timerRuns = false
      if (this.saving === null) void this.saveNow()
    })
  }

  private async saveNow(): Promise<void> {
    this.saving = this.write().then(
      () => {},
      (error) => {
        this.options.logger.warn('cursors cannot be saved; a restart would send again what was acknowledged since', {
          reason: messageOf(error),
        })
        this.saveWithin(RETRY_MS)
      },
    )
    await this.saving
    this.saving = null
    if (this.unsaved >= this.options.maxUnsaved && !this.timerRuns) void this.saveNow()
    else if (this.unsaved > 0) this.saveWithin(this.options.delayMs)
  }

  private async write(): Promise<void> {
    this.unsaved = 0
    const writes: Promise<void>[] = []
    for (const lane of this.options.lanes) {
      const { cursor } = lane
      if (this.saved.get(lane) === cursor) continue
      writes.push(this.options.save(lane, cursor).then(() => void this.saved.set(lane, cursor)))
    }
    await Promise.all(writes)
  }
}
