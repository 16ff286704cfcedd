// Entries for the ledger that nobody waits for. A full disk may refuse them, which is no reason for the node to end: they are kept, joined as the ledger
// joins its rows and so no more than those, until the disk takes them.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import { enterRow, keepWithin, type Ledger, type LedgerEntry, type LedgerRow, MAX_LEDGER_ROWS } from './ledger.js'
import { mayPass } from './level-database.js'

const RETRY_MS = 1000

export interface LedgerNotesOptions {
  readonly ledger: Pick<Ledger, 'add'>
  readonly clock: Clock
  /** What is never going to be entered; the node has to end (D4). */
  readonly onFatal: (error: SluiceError) => void
  readonly maxRows?: number
}

export class LedgerNotes {
  private rows = new Map<string, LedgerRow>()
  private entering: Promise<void> | null = null
  private stopped = false
  private endPause = (): void => {}

  constructor(private readonly options: LedgerNotesOptions) {}

  /** How many rows wait. */
  get waiting(): number {
    return this.rows.size
  }

  note(entry: LedgerEntry): void {
    this.take(entry)
    this.entering ??= this.enterAll()
  }

  /** What waits is tried once more. */
  async stop(): Promise<void> {
    this.stopped = true
    this.endPause()
    await this.entering
  }

  private async enterAll(): Promise<void> {
    while (this.rows.size > 0) {
      const { rows } = this
      this.rows = new Map()
      try {
        await this.options.ledger.add([...rows.values()])
      } catch (error) {
        if (!(error instanceof SluiceError) || !mayPass(error)) return this.options.onFatal(error as SluiceError)
        for (const row of rows.values()) this.take(row)
        if (this.stopped) break
        await this.pause()
      }
    }
    this.entering = null
  }

  private take(entry: LedgerEntry): void {
    enterRow(this.rows, entry)
    keepWithin(this.rows, this.options.maxRows ?? MAX_LEDGER_ROWS)
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(RETRY_MS, resolve)
      this.endPause = () => {
        cancel()
        resolve()
      }
      if (this.stopped) this.endPause()
    })
  }
}
