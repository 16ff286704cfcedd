// The connections there are, and what all of them have amounted to, those that have ended included. Used by the front.

import type { Gate } from './gate.js'

export class OpenConnections {
  private readonly gates = new Set<Gate>()
  /** Of connections that have ended. */
  private readonly before = { droppedMessages: 0, receivedBytes: 0, sentBytes: 0 }

  get size(): number {
    return this.gates.size
  }

  [Symbol.iterator](): Iterator<Gate> {
    return this.gates.values()
  }

  add(gate: Gate): void {
    this.gates.add(gate)
  }

  delete(gate: Gate): void {
    if (this.gates.delete(gate)) count(this.before, gate)
  }

  totals() {
    const totals = { ...this.before, connections: this.gates.size, subscriptions: 0, connectedDurable: 0 }
    for (const gate of this.gates) {
      count(totals, gate)
      totals.subscriptions += gate.session?.subscriptions.size ?? 0
      if (gate.session?.clean === false) totals.connectedDurable += 1
    }
    return totals
  }
}

function count(
  totals: { droppedMessages: number; receivedBytes: number; sentBytes: number },
  { outbox, receivedBytes }: Gate,
): void {
  totals.droppedMessages += outbox.dropped
  totals.receivedBytes += receivedBytes
  totals.sentBytes += outbox.sentBytes
}
