// Who may come in at all: decides over each accepted socket, before TLS, before WebSocket, before a byte is read, and keeps an eye on those
// that are still shaking hands. Used by the listeners; the limits hold over all of them together.

import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.js'
import type { IncidentLog } from './incident-log.js'
import type { MqttLimits } from './mqtt-limits.js'
import { Permits } from './permits.js'

type DoorLimits = Pick<
  MqttLimits,
  'maxConnections' | 'maxConnectionsPerAddress' | 'maxConnectionsPerSecond' | 'connectTimeoutMs'
>

/** All devices that reconnect after a power cut are no attack: this many seconds' worth may come at once. */
const BURST_SECONDS = 10

export class Door {
  /** Connections that were not let in. */
  refused = 0
  private readonly perAddress = new Map<string, number>()
  private readonly permits: Permits
  private inside = 0
  /** Let in, but not heard as MQTT yet: since when. */
  private readonly shakingHands = new Map<string, { readonly socket: Socket; readonly sinceMs: number }>()
  private closed = false

  constructor(
    private readonly limits: DoorLimits,
    private readonly clock: Clock,
    private readonly incidents: IncidentLog,
  ) {
    const { maxConnectionsPerSecond } = limits
    this.permits = new Permits(clock, maxConnectionsPerSecond, maxConnectionsPerSecond * BURST_SECONDS)
  }

  /** Lets the socket in, or destroys it. @returns its address; null if it is not let in. */
  admit(socket: Socket): string | null {
    const address = socket.remoteAddress
    // Gone already.
    if (address === undefined || this.closed) {
      socket.destroy()
      return null
    }
    const { maxConnections, maxConnectionsPerAddress, maxConnectionsPerSecond } = this.limits
    const fromThere = this.perAddress.get(address) ?? 0
    if (this.inside >= maxConnections)
      return this.refuse(socket, `there are ${maxConnections} connections already`, 'mqtt.max_connections')
    if (fromThere >= maxConnectionsPerAddress) {
      const reason = `there are ${maxConnectionsPerAddress} connections from its address already`
      return this.refuse(socket, reason, 'mqtt.max_connections_per_address')
    }
    if (!this.permits.take())
      return this.refuse(
        socket,
        `more than ${maxConnectionsPerSecond} connections a second`,
        'mqtt.max_connection_rate',
      )
    this.inside += 1
    this.perAddress.set(address, fromThere + 1)
    const ends = endsOf(socket)
    this.shakingHands.set(ends, { socket, sinceMs: this.clock.monotonicMs() })
    socket.once('close', () => {
      this.inside -= 1
      this.shakingHands.delete(ends)
      const left = (this.perAddress.get(address) ?? 1) - 1
      if (left === 0) this.perAddress.delete(address)
      else this.perAddress.set(address, left)
    })
    return address
  }

  /** TLS and WebSocket are agreed upon: from here on a gate watches the time. */
  handshakeDone(socket: Socket): void {
    this.shakingHands.delete(endsOf(socket))
  }

  /** TLS or WebSocket could not be agreed upon. */
  handshakeFailed(remoteAddress: string | undefined, reason: string): void {
    this.incidents.warn('client cut off', { address: remoteAddress, reason })
  }

  /** Called now and then: time-outs by the monotonic clock. */
  sweep(nowMs: number): void {
    for (const [ends, { socket, sinceMs }] of this.shakingHands) {
      // The oldest come first.
      if (nowMs - sinceMs <= this.limits.connectTimeoutMs) return
      this.incidents.warn('client cut off', {
        address: socket.remoteAddress,
        reason: 'no end to its TLS or WebSocket handshake in time',
        raise: 'mqtt.connect_timeout_ms',
      })
      socket.destroy()
      this.shakingHands.delete(ends)
    }
  }

  /** Nobody comes in any more, and who is still shaking hands leaves. */
  close(): void {
    this.closed = true
    for (const { socket } of this.shakingHands.values()) socket.destroy()
  }

  private refuse(socket: Socket, reason: string, raise: string): null {
    this.refused += 1
    this.incidents.warn('connection refused', { address: socket.remoteAddress, reason, raise })
    socket.destroy()
    return null
  }
}

/** Tells connections apart: a TLS socket is another object than the one it runs over, but has the same two ends. */
function endsOf({ remoteAddress, remotePort, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localPort}`
}
