// Counts what all connections together hold of bytes that were received and are no message yet: packets begun and not whole, and chunks that
// wait while reading is held back. Ten thousand clients that each stop in the middle of a packet would otherwise cost as many packets.

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
