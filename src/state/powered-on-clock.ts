// The node's age in powered-on time (D11): a gateway without a clock battery cannot trust the wall clock, so records age by how long the
// node has been running since. Persisted each minute; what a crash loses is less than a minute of ageing.

import type { Clock } from '../base/clock.js'
import type { StateStore, StateTable } from './types.js'

const SAVE_EVERY_MS = 60_000

export class PoweredOnClock {
  private cancel: () => void = () => {}

  private constructor(
    private readonly table: StateTable<number>,
    private readonly clock: Clock,
    private readonly savedMs: number,
    private readonly openedAtMs: number,
  ) {}

  static async open(state: StateStore, clock: Clock): Promise<PoweredOnClock> {
    const table = state.table<number>('node')
    const poweredOn = new PoweredOnClock(table, clock, (await table.get('powered-on-ms')) ?? 0, clock.monotonicMs())
    poweredOn.saveLater()
    return poweredOn
  }

  /** Milliseconds the node has been running in all its life; never goes backwards. */
  nowMs(): number {
    return Math.floor(this.savedMs + this.clock.monotonicMs() - this.openedAtMs)
  }

  /** Never rejects: a disk that takes no writes costs at most a minute of age, and must not keep a node from stopping. */
  async close(): Promise<void> {
    this.cancel()
    await this.save().catch(() => {})
  }

  private save(): Promise<void> {
    return this.table.put('powered-on-ms', this.nowMs())
  }

  private saveLater(): void {
    this.cancel = this.clock.after(SAVE_EVERY_MS, () => {
      // A write that fails is reported by the store; the next minute tries again.
      this.save().catch(() => {})
      this.saveLater()
    })
  }
}
