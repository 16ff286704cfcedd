// Simulated devices of any kind, all driven by one timer: what they have in common.

import type { Random } from './random.js'
import type { Traffic } from './traffic.js'

const TICK_MS = 5

export interface SimulatedDevice {
  readonly id: string
  readonly traffic: Traffic
  readonly connected: boolean
  /** Frames or datagrams, and those that were damaged, lost, doubled or turned round on the way. */
  readonly sentFrames: number
  readonly harmedFrames: number
  /** Sends what is due. @param publishing Whether new messages are made. */
  poll(publishing: boolean): void
  /** Power is lost and comes back. @param remembers Whether it has flash. */
  reset(remembers: boolean): void
  close(): void
}

export interface FleetOptions {
  readonly random: Random
  /** Mean time between resets of a device, ms; 0 for none. */
  readonly resetEveryMs: number
  readonly remembers: boolean
}

export class Fleet {
  publishing = true
  private readonly timer: NodeJS.Timeout

  constructor(
    readonly devices: readonly SimulatedDevice[],
    { random, resetEveryMs, remembers }: FleetOptions,
  ) {
    this.timer = setInterval(() => {
      for (const device of devices) {
        if (this.publishing && resetEveryMs > 0 && random() < TICK_MS / resetEveryMs) device.reset(remembers)
        device.poll(this.publishing)
      }
    }, TICK_MS)
  }

  /** Makes no more messages; resolves when all there are have been acknowledged, or at the time-out. @returns whether all have. */
  async drain(timeoutMs: number): Promise<boolean> {
    this.publishing = false
    const deadlineMs = performance.now() + timeoutMs
    while (this.devices.some(({ traffic }) => traffic.underWayCount > 0)) {
      if (performance.now() > deadlineMs) return false
      await new Promise((resolve) => setTimeout(resolve, 4 * TICK_MS))
    }
    return true
  }

  close(): void {
    clearInterval(this.timer)
    for (const device of this.devices) device.close()
  }
}
