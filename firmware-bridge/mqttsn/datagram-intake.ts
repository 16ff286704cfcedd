// From a datagram to a message of somebody: limits, forwarder, seal, codec. What does not come through costs nobody but its sender, and is counted.
// Created by Gateway.

import { countRejection, type LineStatus, type Rejection } from '../devices/device-registry.js'
import type { Origin } from './admission.js'
import { decodeMessage } from './codec.js'
import type { Endpoint } from './endpoint.js'
import { unwrapForwarded } from './forwarder.js'
import type { GatewayOptions } from './gateway-options.js'
import type { SnMessage } from './messages.js'
import { RateLimiter } from './rate-limiter.js'
import { MAX_SEAL_BYTES, type SecureSessions } from './secure-sessions.js'

const FORWARDER_BYTES = 35

type IntakeOptions = Pick<
  GatewayOptions,
  'maxPacketRate' | 'maxPacketRatePerAddress' | 'maxByteRatePerAddress' | 'maxMessageSize'
>

export interface DatagramIntakeOwner {
  /** Null where messages come without a seal. */
  readonly secure: SecureSessions | null
  nowMs(): number
  /** @param status Of the socket it came by. */
  onMessage(message: SnMessage, from: Origin, status: LineStatus): void
  /** @param deviceId Who it claims to be from. */
  reject(why: Rejection, status: LineStatus, deviceId?: string): void
  answer(endpoint: Endpoint, bytes: Buffer): void
}

export class DatagramIntake {
  private readonly allRate: RateLimiter
  private readonly addressRate: RateLimiter

  constructor(
    private readonly options: IntakeOptions,
    private readonly owner: DatagramIntakeOwner,
  ) {
    this.allRate = new RateLimiter({ packets: options.maxPacketRate, bytes: Number.POSITIVE_INFINITY })
    this.addressRate = new RateLimiter({
      packets: options.maxPacketRatePerAddress,
      bytes: options.maxByteRatePerAddress,
    })
  }

  /** @param at Where it came from; behind a forwarder its node id is in the datagram. */
  take(datagram: Buffer, at: Omit<Endpoint, 'nodeId'>, status: LineStatus): void {
    status.receivedBytes += datagram.length
    const nowMs = this.owner.nowMs()
    const inRate =
      this.addressRate.take(at.address, datagram.length, nowMs) && this.allRate.take('', datagram.length, nowMs)
    if (!inRate) {
      countRejection(status.rejected, 'limit_reached')
      return
    }
    if (datagram.length > this.options.maxMessageSize + MAX_SEAL_BYTES + FORWARDER_BYTES) {
      countRejection(status.rejected, 'too_large')
      return
    }
    const forwarded = unwrapForwarded(datagram)
    if (forwarded === 'malformed') {
      status.damagedFrames += 1
      return
    }
    const nodeId = forwarded?.nodeId.toString('hex') ?? ''
    this.unseal(forwarded?.message ?? datagram, { ...at, nodeId }, status)
  }

  private unseal(datagram: Buffer, endpoint: Endpoint, status: LineStatus): void {
    const opened = this.owner.secure?.take(datagram) ?? null
    if (opened === null) {
      this.decode(datagram, { endpoint, secure: null }, status)
    } else if ('session' in opened) {
      this.decode(opened.message, { endpoint, secure: opened.session }, status)
    } else {
      if ('rejected' in opened) this.owner.reject(opened.rejected, status, opened.deviceId)
      if (opened.answer !== undefined) this.owner.answer(endpoint, opened.answer)
    }
  }

  private decode(bytes: Buffer, from: Origin, status: LineStatus): void {
    const message = bytes.length > this.options.maxMessageSize ? null : decodeMessage(bytes)
    if (message === null) status.damagedFrames += 1
    // Whoever searches has no key yet.
    else if (this.owner.secure !== null && from.secure === null && message.type !== 'searchgw')
      this.owner.reject('wrong_key', status)
    else this.owner.onMessage(message, from, status)
  }
}
