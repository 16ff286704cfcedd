// Sends one connected session its QoS 1 and 2 messages: first again what it has not acknowledged, then what is stored (log-follower.ts says
// when), within a window. Nothing is kept per message but packet identifier and place. Owner of the packet identifiers of all deliveries.

import { crc32c } from '../base/crc32c.js'
import type { Logger } from '../base/logger.js'
import { Waiters } from '../base/waiters.js'
import { type LogRecord, type Qos, qosOf } from '../record/record.js'
import { fault } from './close-reason.js'
import { type DeliveryFlags, encodePubrel } from './encode.js'
import type { FanOut } from './fan-out.js'
import type { Gate } from './gate.js'
import { LogFollower, type Receiver } from './log-follower.js'
import type { Replay } from './replay.js'
import type { RetainedMessages, RetainedValue } from './retained-messages.js'
import type { InflightDelivery, Session } from './session.js'
import type { StoredPartition } from './stored-partition.js'
import { isRemoved, messageAt } from './stored-record.js'

export interface SessionPumpHost {
  readonly fanOut: FanOut
  readonly retained: RetainedMessages
  readonly logger: Logger
  readonly maxInflight: number
  partition(name: string): StoredPartition | undefined
  mayReceive(session: Session, mqttTopic: string): boolean
  /** Resolves once the session as it is now is durable; at once for a clean one. */
  save(session: Session): Promise<void>
  /** Retention was faster than the session: records [from, to) are not there any more. */
  overtaken(destination: string, partition: StoredPartition, from: number, to: number): void
}

/** Packet types. */
const PUBACK = 4
const PUBREC = 5
const NAMES: Readonly<Record<number, string>> = { 4: 'PUBACK', 5: 'PUBREC', 7: 'PUBCOMP' }

type Place = InflightDelivery['place']

/** About as many QoS 1 messages as a client may be sent again because the node was killed, be it ever so fast. */
const SAVE_EVERY = 1000

/** A packet that leaves once `Session.rowsStored` has reached `row`. */
interface Held {
  readonly bytes: Buffer
  readonly row: number
}

export class SessionPump implements Receiver {
  readonly follower: LogFollower
  private redelivering: Promise<void> | null = null
  private redelivered = false
  private ended = false
  /** By the filter that began each. */
  readonly replays = new Map<string, Replay>()
  /** QoS 2 messages of a durable session leave once their identifiers are stored, and what comes after them after them. */
  private held: Held[] = []
  private heldBytes = 0
  /** For when there may be room, or the connection is gone. */
  private readonly roomWaiters = new Waiters()
  /** Deliveries acknowledged since this was last written down for their number. */
  private unsaved = 0

  constructor(
    private readonly session: Session,
    private readonly gate: Gate,
    private readonly host: SessionPumpHost,
  ) {
    this.follower = new LogFollower(this, (name) => host.partition(name))
  }

  /** Goes on wherever something can be sent. Call when connected, and after whatever makes room or work. */
  run(): void {
    if (this.redelivered) this.follower.run()
    else this.redelivering ??= this.redeliver()
  }

  /** Something stored is still to be sent, or to be acknowledged. */
  get hasMore(): boolean {
    const { inflight, retainedDue } = this.session
    return !this.redelivered || inflight.size > 0 || retainedDue.size > 0 || !this.follower.hasCaughtUp
  }

  /** The connection is gone. What was sent and not acknowledged stays in flight. */
  end(): void {
    this.ended = true
    this.follower.end()
    for (const replay of this.replays.values()) replay.end()
    this.roomWaiters.wake()
  }

  // ---- what the follower asks for

  get positions(): Map<string, number> {
    return this.session.positions
  }

  get hasRoom(): boolean {
    const window = this.gate.maxInflight ?? this.host.maxInflight
    return this.redelivered && this.hasRoomForBytes && this.session.inflight.size < window
  }

  private get hasRoomForBytes(): boolean {
    return !this.ended && this.gate.outbox.hasRoomBeside(this.heldBytes)
  }

  take(partition: StoredPartition, mqttTopic: string, record: LogRecord): boolean {
    const granted = this.session.grantedFor(mqttTopic, partition.name, record.offset)
    const qos = Math.min(granted, qosOf(record.attributes)) as Qos
    if (qos === 0 || !this.host.mayReceive(this.session, mqttTopic)) return true
    return this.sendStored(partition, record, qos)
  }

  wants(mqttTopic: string): boolean {
    return this.session.wants(mqttTopic)
  }

  moved(): void {
    this.session.dirty = true
  }

  overtaken(partition: StoredPartition, from: number, to: number): void {
    this.host.overtaken(this.session.clientId, partition, from, to)
  }

  failed(error: unknown): void {
    this.host.logger.error('delivery to a session failed', { client: this.session.clientId, error })
    this.gate.close(fault('stored messages could not be read'))
  }

  // ---- sending

  /** @param group The shared group that chose this session. @returns false if there is no room. */
  sendStored(partition: StoredPartition, record: LogRecord, qos: Qos, group?: string): boolean {
    if (!this.hasRoom) return false
    const place = { partition: partition.name, offset: record.offset, ...(group !== undefined && { group }) }
    this.sendFrom(place, qos, record.key!, record.value, PLAIN)
    return true
  }

  /** Resolves when a stored message can be sent; false when the connection is gone. */
  async whenRoom(): Promise<boolean> {
    while (!this.ended && !this.hasRoom) await this.roomWaiters.wait()
    return !this.ended
  }

  /** Sends a retained message in answer to a SUBSCRIBE, once there is room; @returns false when the connection is gone. */
  async sendRetained(message: RetainedValue, granted: Qos): Promise<boolean> {
    const qos = Math.min(message.qos, granted) as Qos
    while (!this.ended && !(qos === 0 ? this.hasRoomForBytes : this.hasRoom)) await this.roomWaiters.wait()
    if (this.ended) return false
    const { mqttTopic, payload, record } = message
    const check = qos === 0 ? 0 : crc32c(payload)
    const place = { retained: mqttTopic, check, ...(record !== undefined && { record }) }
    this.sendFrom(place, qos, Buffer.from(mqttTopic), payload, RETAINED)
    return true
  }

  /**
   * PUBACK, PUBREC or PUBCOMP has come. One for an identifier that is not in use is left over from before and ignored, but for PUBREC, which
   * must not be left hanging.
   * @returns what is wrong with one that is not the answer to what was sent under its identifier, as a phrase, or null.
   */
  acknowledged(type: number, packetId: number): string | null {
    const delivery = this.session.inflight.get(packetId)
    if (delivery === undefined) {
      if (type === PUBREC) this.gate.outbox.write(encodePubrel(packetId))
      return null
    }
    const isAnswer =
      (delivery.qos === 1) === (type === PUBACK) && (type === PUBACK || type === PUBREC || delivery.released)
    if (!isAnswer) return `${NAMES[type]} is no answer to what was sent at QoS ${delivery.qos} as ${packetId}`
    if (type === PUBREC) {
      this.release(packetId, delivery)
      return null
    }
    this.session.inflight.delete(packetId)
    this.session.dirty = true
    this.unsaved += 1
    if (this.unsaved >= SAVE_EVERY && !this.session.clean) {
      this.unsaved = 0
      this.afterSaving(() => {})
    }
    this.drained()
    return null
  }

  /** The window or the socket may have room again. */
  drained(): void {
    this.roomWaiters.wake()
    this.run()
    for (const group of this.session.groups) group.run()
  }

  /** PUBREL leaves once it is durable that the message has arrived: after a restart it must not be sent again [MQTT-4.3.3-1]. */
  private release(packetId: number, delivery: InflightDelivery): void {
    if (delivery.released) {
      this.gate.outbox.write(encodePubrel(packetId))
      return
    }
    delivery.released = true
    this.session.dirty = true
    if (this.session.clean) this.gate.outbox.write(encodePubrel(packetId))
    else this.afterSaving(() => this.gate.outbox.write(encodePubrel(packetId)))
  }

  private sendFrom(place: Place, qos: Qos, topic: Uint8Array, value: Uint8Array | null, flags: DeliveryFlags): void {
    const packetId = qos === 0 ? 0 : this.session.nextPacketId()
    if (qos !== 0) this.session.inflight.set(packetId, { qos, place, released: false })
    this.send(packetId, qos, topic, value, flags)
  }

  private send(packetId: number, qos: Qos, topic: Uint8Array, value: Uint8Array | null, flags: DeliveryFlags): void {
    this.session.dirty = true
    const payload = value ?? NOTHING
    const mustBeStored = qos === 2 && !this.session.clean && !flags.dup
    if (!mustBeStored && this.held.length === 0) {
      this.host.fanOut.deliverTo(this.gate.outbox, topic, payload, qos, flags, packetId)
      return
    }
    const bytes = this.host.fanOut.encode(topic, payload, qos, flags, packetId)
    // The row that is being written may have been taken before this.
    this.held.push({ bytes, row: mustBeStored ? this.session.rowsTaken + 1 : 0 })
    this.heldBytes += bytes.length
    if (this.held.length === 1) this.saveHeld()
  }

  private saveHeld(): void {
    this.afterSaving(() => {
      const { rowsStored } = this.session
      const waiting = this.held.findIndex(({ row }) => row > rowsStored)
      for (const { bytes } of this.held.splice(0, waiting === -1 ? this.held.length : waiting)) {
        this.heldBytes -= bytes.length
        this.gate.outbox.write(bytes)
      }
      if (this.held.length > 0) this.saveHeld()
      this.drained()
    })
  }

  private afterSaving(then: () => void): void {
    this.host.save(this.session).then(
      () => {
        if (!this.ended) then()
      },
      (error) => this.gate.close(fault(`session state could not be stored: ${error.message}`)),
    )
  }

  /** Everything in flight again, as it was and in order: messages with DUP [MQTT-3.3.1-1], or PUBREL [MQTT-4.4.0-1]. */
  private async redeliver(): Promise<void> {
    const { session, gate } = this
    try {
      // The connection before may have ended before their identifiers were stored.
      const unstored = !session.clean && session.dirty && [...session.inflight.values()].some(({ qos }) => qos === 2)
      if (unstored) await this.host.save(session)
      for (const [packetId, delivery] of [...session.inflight]) {
        while (!this.ended && gate.outbox.isFull) await this.roomWaiters.wait()
        if (this.ended) return
        if (delivery.released) gate.outbox.write(encodePubrel(packetId))
        else await this.redeliverOne(packetId, delivery)
      }
    } catch (error) {
      this.failed(error)
      return
    }
    this.redelivered = true
    this.drained()
  }

  private async redeliverOne(packetId: number, delivery: InflightDelivery): Promise<void> {
    const { place, qos } = delivery
    const message = await messageAt(place, this.host)
    if (this.ended) return
    if (message !== null && this.host.mayReceive(this.session, message.topic.toString())) {
      this.send(packetId, qos, message.topic, message.value, { retain: 'retained' in place, dup: true })
      return
    }
    if (message === null) this.tellRemoved(place)
    if (qos === 2) {
      // The client may have it and wait for PUBREL: until PUBCOMP it would take another message of this identifier for the same [MQTT-4.3.3-2].
      this.release(packetId, delivery)
      return
    }
    this.session.inflight.delete(packetId)
    this.session.dirty = true
  }

  private tellRemoved(place: Place): void {
    const at = 'retained' in place ? place.record : place
    const partition = at && this.host.partition(at.partition)
    if (!partition || !isRemoved(partition, at.offset)) return
    const destination = ('group' in place && place.group) || this.session.clientId
    this.host.overtaken(destination, partition, at.offset, at.offset + 1)
  }
}

const PLAIN: DeliveryFlags = { retain: false, dup: false }
const RETAINED: DeliveryFlags = { retain: true, dup: false }
const NOTHING = Buffer.alloc(0)
