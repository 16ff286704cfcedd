// Counts what all connections together hold of bytes that were received and are no message yet: packets begun and not whole, WebSocket messages
// begun and not whole, and what waits while reading is held back. Ten thousand clients that each stop in the middle of a packet would otherwise cost as many packets.

import type { Duplex } from 'node:stream'

/** A stream that keeps what it receives until that makes up something it can hand on. */
export interface HoardingStream extends Duplex {
  /** Received, and not whole yet. */
  readonly unfinishedBytes: number
  /** What this costs, and what waits to be read. */
  readonly heldBytes: number
  /** Called when it has received something. */
  onHeld: () => void
}

export function isHoarding(stream: Duplex): stream is HoardingStream {
  return 'onHeld' in stream
}

export class ReadMemory {
  private held = 0

  /** @param maxBytes Inclusive. */
  constructor(readonly maxBytes: number) {}

  get heldBytes(): number {
    return this.held
  }
  get isOver(): boolean {
    return this.held > this.maxBytes
  }

  changed(bytes: number): void {
    this.held += bytes
  }
}
