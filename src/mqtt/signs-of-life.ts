// When one connection was last heard, and when it has been silent, undecided or unread for too long, by the monotonic clock. Used by the gate.

import { type CloseReason, fault, pastLimit } from './close-reason.js'
import type { MqttLimits } from './mqtt-limits.js'

/** A packet in parts counts as a sign of life for every so many bytes, so that a large message over a slow link is not cut off. */
const SIGN_BYTES = 1024

export const TOO_SLOW = pastLimit('reads too slowly: its queue is full', 'mqtt.max_pending_bytes')
const NO_CONNECT = pastLimit('no complete CONNECT in time', 'mqtt.connect_timeout_ms')

type SilenceLimits = Pick<MqttLimits, 'connectTimeoutMs' | 'maxKeepaliveSeconds' | 'stalledTimeoutMs'>

export class SignsOfLife {
  private readonly openedMs: number
  private lastMs: number
  private keepaliveMs = 0
  private keepaliveIsOurs = false
  private packetSeen = false
  private partialSeenBytes = 0
  private behindSinceMs = Number.POSITIVE_INFINITY

  constructor(
    private readonly limits: SilenceLimits,
    nowMs: number,
  ) {
    this.openedMs = this.lastMs = nowMs
  }

  /** What CONNECT says, or the limit where it asks for more or for none. */
  setKeepalive(seconds: number): void {
    const { maxKeepaliveSeconds } = this.limits
    const unlimited = maxKeepaliveSeconds === 0 || (seconds > 0 && seconds <= maxKeepaliveSeconds)
    this.keepaliveMs = (unlimited ? seconds : maxKeepaliveSeconds) * 1000
    this.keepaliveIsOurs = !unlimited
  }

  /** A whole packet has come. */
  packet(): void {
    this.packetSeen = true
  }

  /** A chunk has been read. @param partialBytes Of a packet that is not whole yet. */
  chunkRead(partialBytes: number, nowMs: number): void {
    if (!this.packetSeen && partialBytes - this.partialSeenBytes < SIGN_BYTES) return
    this.packetSeen = false
    this.partialSeenBytes = partialBytes
    this.lastMs = nowMs
  }

  /** It is we who have not read: the silence begins anew. */
  excuse(nowMs: number): void {
    this.lastMs = nowMs
  }

  /** Why a connection that has not said CONNECT must end; null if it need not. */
  lateConnect(nowMs: number): CloseReason | null {
    return nowMs - this.openedMs > this.limits.connectTimeoutMs ? NO_CONNECT : null
  }

  /** Whether what a connection was to be sent before its end has had its time. */
  mayBeDropped(nowMs: number): boolean {
    return nowMs - this.lastMs > this.limits.connectTimeoutMs
  }

  /** Why an open connection must end [MQTT-3.1.2-24]; null if it need not. Not to be asked while we are the ones who do not read. */
  tooSilent(nowMs: number): CloseReason | null {
    if (this.keepaliveMs === 0 || nowMs - this.lastMs <= this.keepaliveMs * 1.5) return null
    const text = `silent for longer than one and a half keepalives of ${this.keepaliveMs / 1000} s`
    return this.keepaliveIsOurs ? pastLimit(`${text}; it asked for more`, 'mqtt.max_keepalive') : fault(text)
  }

  /** @param isBehind Whether its queue is full now. @returns why it must end; null if it need not. */
  tooSlow(isBehind: boolean, nowMs: number): CloseReason | null {
    if (!isBehind) this.behindSinceMs = Number.POSITIVE_INFINITY
    else if (this.behindSinceMs > nowMs) this.behindSinceMs = nowMs
    return nowMs - this.behindSinceMs > this.limits.stalledTimeoutMs ? TOO_SLOW : null
  }
}
