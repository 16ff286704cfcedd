// What the front does now and then: time-outs of connections, and, less often, writing down how far sessions have come. Used by the front.

import type { Clock } from '../base/clock.js'

const SWEEP_INTERVAL_MS = 500
const CHECKPOINT_INTERVAL_MS = 5000

export interface HousekeepingTasks {
  /** @param nowMs By the monotonic clock. */
  readonly sweep: (nowMs: number) => void
  readonly checkpoint: () => void
}

export class Housekeeping {
  private cancel: () => void = () => {}
  private checkpointMs = 0
  private ended = false

  constructor(
    private readonly clock: Clock,
    private readonly tasks: HousekeepingTasks,
  ) {}

  start(): void {
    if (this.ended) return
    this.cancel = this.clock.after(SWEEP_INTERVAL_MS, () => {
      const nowMs = this.clock.monotonicMs()
      this.tasks.sweep(nowMs)
      if (nowMs - this.checkpointMs >= CHECKPOINT_INTERVAL_MS) {
        this.checkpointMs = nowMs
        this.tasks.checkpoint()
      }
      this.start()
    })
  }

  stop(): void {
    this.ended = true
    this.cancel()
  }
}
