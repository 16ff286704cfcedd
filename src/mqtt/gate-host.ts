// What a gate asks for: what is to be done with the packets of its connection that are no messages, and with the connection's end. The
// connections implement it.

import type { Clock } from '../base/clock.js'
import type { CloseReason } from './close-reason.js'
import type { ConnectPacket } from './connect-packet.js'
import type { Gate } from './gate.js'
import type { Outbox } from './outbox.js'
import type { IntakeHost } from './publish-intake.js'
import type { ReadMemory } from './read-memory.js'
import type { FilterPacket } from './subscribe-packet.js'

export interface GateHost extends IntakeHost {
  readonly clock: Clock
  /** CONNECT is well formed: see to CONNACK. */
  connect(gate: Gate, connect: ConnectPacket): void
  /** The gate is held until the promise has settled; a rejection closes the connection. */
  subscribe(gate: Gate, packet: FilterPacket): Promise<void>
  unsubscribe(gate: Gate, packet: FilterPacket): Promise<void>
  /**
   * PUBACK, PUBREC or PUBCOMP for something that was delivered; `type` is the packet type, 4, 5 or 7.
   * @returns what is wrong with it, as a phrase, or null.
   */
  acknowledged(gate: Gate, type: number, packetId: number): string | null
  /** The client has said goodbye: no will. */
  disconnect(gate: Gate): void
  schedule(outbox: Outbox): void
  /** The outbox has room again. */
  drained(gate: Gate): void
  readonly readMemory: ReadMemory
  /** All connections together hold more than they may: some give way, this one perhaps. */
  relieveReadMemory(): void
  closed(gate: Gate, reason: CloseReason): void
  /** See IntakeGate. */
  denied(gate: Gate, mqttTopic: string): void
  /** QoS 0 messages to this connection are being dropped: it reads too slowly. */
  dropping(gate: Gate): void
}
