// Writes the cursors of one upstream to disk: never ahead of the acknowledgements, many movements in one write. Under load the next
// write starts when the last has ended and enough has been acknowledged since; a trickle is gathered for a while, because each write
// wears the SD card. What is acknowledged and not yet saved would be sent again after a crash: `unsaved` says how much that is, and a sender
// that stops at a bound bounds what can arrive twice.

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { CursorPosition } from '../state/cursors.js'

/** What it needs of a lane. */
export interface CursorHolder {
  readonly position: CursorPosition
}

export interface CursorSaverOptions<L extends CursorHolder> {
  readonly lanes: readonly L[]
  /** Durable when it resolves. */
  readonly save: (lane: L, position: CursorPosition) => Promise<void>
  readonly clock: Clock
  readonly logger: Logger
  /** So much that was acknowledged starts a write at once. */
  readonly maxUnsaved: number
  /** Longest that a smaller number waits. */
  readonly delayMs: number
  /** There is less unsaved than before. */
  readonly onSaved?: () => void
}

/** Pause after a write that failed. */
const RETRY_MS = 1_000

export class CursorSaver<L extends CursorHolder> {
  private readonly saved: Map<L, CursorPosition>
  /** Why the last write failed, for people; null once one has not. */
  problem: string | null = null
  /** Acknowledged since the last write began. */
  private moves = 0
  /** Of the write that runs. */
  private beingSaved = 0
  private saving: Promise<void> | null = null
  private timerRuns = false
  private stopped = false
  /** Who waits to flush goes before what would be written anyway. */
  private waitingToFlush = 0
  private cancelTimer = (): void => {}

  constructor(
    private readonly options: CursorSaverOptions<L>,
    /** What is on disk; lanes that are left out have nothing there yet. */
    onDisk: ReadonlyMap<L, CursorPosition>,
  ) {
    this.saved = new Map(onDisk)
  }

  /** What is on disk of a lane that came later. */
  onDisk(lane: L, position: CursorPosition): void {
    this.saved.set(lane, position)
  }

  /** What was acknowledged and is not on disk. */
  get unsaved(): number {
    return this.moves + this.beingSaved
  }

  /** Call when cursors have moved, for so many acknowledgements. */
  moved(acknowledgements: number): void {
    this.moves += acknowledgements
    if (this.saving !== null || this.waitingToFlush > 0) return
    if (this.moves >= this.options.maxUnsaved) void this.saveNow()
    else this.saveWithin(this.options.delayMs)
  }

  /** Resolves when every cursor is on disk as it was at the call, or later. @throws SluiceError when it cannot be written. */
  async flush(): Promise<void> {
    // A write that runs may have begun before the last movement.
    this.waitingToFlush += 1
    while (this.saving !== null) await this.saving
    this.waitingToFlush -= 1
    const written = this.write()
    this.saving = written.then(
      () => {},
      () => {},
    )
    try {
      await written
    } finally {
      this.goOn()
    }
  }

  stop(): void {
    this.stopped = true
    this.cancelTimer()
    this.timerRuns = false
  }

  private saveWithin(delayMs: number): void {
    if (this.timerRuns) return
    this.timerRuns = true
    this.cancelTimer = this.options.clock.after(delayMs, () => {
      this.timerRuns = false
      if (this.saving === null && this.waitingToFlush === 0) void this.saveNow()
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
    this.goOn()
  }

  /** A write has ended; what was acknowledged meanwhile is next. */
  private goOn(): void {
    this.saving = null
    if (this.stopped || this.waitingToFlush > 0) return
    if (this.moves >= this.options.maxUnsaved && this.problem === null) void this.saveNow()
    else if (this.moves > 0) this.saveWithin(this.options.delayMs)
  }

  private async write(): Promise<void> {
    this.beingSaved = this.moves
    this.moves = 0
    try {
      await this.writeAll()
      this.problem = null
    } catch (error) {
      this.moves += this.beingSaved
      this.problem = `the cursors cannot be saved: ${messageOf(error)}`
      throw error
    } finally {
      this.beingSaved = 0
    }
    this.options.onSaved?.()
  }

  private async writeAll(): Promise<void> {
    const writes: Promise<void>[] = []
    for (const lane of this.options.lanes) {
      const { position } = lane
      if (isSame(this.saved.get(lane), position)) continue
      writes.push(this.options.save(lane, position).then(() => void this.saved.set(lane, position)))
    }
    await Promise.all(writes)
  }
}

function isSame(a: CursorPosition | undefined, b: CursorPosition): boolean {
  if (a === undefined || a.next !== b.next || a.acked.length !== b.acked.length) return false
  return a.acked.every(({ first, next }, i) => first === b.acked[i].first && next === b.acked[i].next)
}
