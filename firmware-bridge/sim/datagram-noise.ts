// One direction of a bad radio: datagrams are lost, doubled, and overtaken by the next.

import type { Random } from './random.js'

export interface DatagramNoiseOptions {
  /** Shares of datagrams. */
  readonly loss: number
  readonly duplication: number
  readonly reordering: number
  readonly random: Random
  readonly deliver: (datagram: Buffer) => void
}

export class DatagramNoise {
  datagrams = 0
  harmed = 0
  /** Waits for the next, which overtakes it. */
  private held: Buffer | null = null

  constructor(private readonly options: DatagramNoiseOptions) {}

  pass(datagram: Buffer): void {
    const { random, loss, duplication, reordering, deliver } = this.options
    this.datagrams += 1
    const dice = random()
    if (dice >= loss + duplication + reordering) {
      deliver(datagram)
    } else {
      this.harmed += 1
      if (dice >= loss + duplication && this.held === null) {
        this.held = datagram
        return
      }
      if (dice >= loss) for (let i = 0; i < 2; i++) deliver(datagram)
    }
    if (this.held !== null) deliver(this.held)
    this.held = null
  }
}
