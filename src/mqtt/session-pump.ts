// Sends one connected session its QoS 1 and 2 messages: first again what it has not acknowledged, then what is stored, in order per partition,
// within a window. Nothing is kept per message but packet identifier and offset; a session that has caught up is fed by
// StoredPartition, one that has not reads the log itself. Owner of the packet identifiers of all deliveries.

import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { type LogRecord, type Offset, type Qos, qosOf } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import { fault } from './close-reason.js'
import { type DeliveryFlags, encodePubrel } from './encode.js'
import type { FanOut } from './fan-out.js'
import type { Gate } from './gate.js'
import type { RetainedMessages, RetainedValue } from './retained-messages.js'
import type { InflightDelivery, PartitionName, Session } from './session.js'
import type { StoredPartition } from './stored-partition.js'

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
  overtaken(session: Session, partition: StoredPartition, from: number, to: number): void
}

const READ_BYTES = 64 * 1024
const ACKNOWLEDGED_QOS1 = 4
const PUBREC = 5

export class SessionPump {
  private running = false
  private again = false
  private redelivered = false
  private ended = false
  /** Read and not yet sent, of one partition. */
  private buffered: { partition: StoredPartition; records: LogRecord[]; next: number } | null = null
  /** QoS 2 messages of a durable session leave once the session knows their identifiers. */
  private heldQos2: Buffer[] = []
  private roomWaiters: (() => void)[] = []

  constructor(
    private readonly session: Session,
    private readonly gate: Gate,
    private readonly host: SessionPumpHost,
  ) {}

  /** Goes on wherever something can be sent. Call when connected, and after whatever makes room or work. */
  run(): void {
    if (this.running) {
      this.again = true
      return
    }
    this.running = true
    void this.work()
  }

  /** The connection is gone. What was sent and not acknowledged stays in flight. */
  end(): void {
    this.ended = true
    for (const name of this.session.positions.keys()) {
      const partition = this.host.partition(name)
      if (partition?.leave(this)) this.moveTo(partition, partition.tail)
    }
    this.wakeRoomWaiters()
  }

  /** How far a partition has been looked at. */
  positionOf(partition: StoredPartition): number {
    return partition.isLive(this)
      ? partition.tail
      : (this.session.positions.get(partition.name) ?? partition.highWatermark)
  }

  /** The same by name; undefined for a partition that is not there any more. */
  positionNamed(name: PartitionName): number | undefined {
    const partition = this.host.partition(name)
    return partition === undefined ? undefined : this.positionOf(partition)
  }

  /** No subscription needs this partition any more. */
  leave(name: PartitionName): void {
    this.host.partition(name)?.leave(this)
    this.session.positions.delete(name)
    this.session.dirty = true
  }

  /** A live partition could not deliver the record at `offset`: we go on from there ourselves. */
  fallBehind(partition: StoredPartition, offset: number): void {
    this.moveTo(partition, offset)
    this.run()
  }

  /** @returns false if there is no room for a message that this session is to get. */
  offer(partition: StoredPartition, mqttTopic: string, record: LogRecord): boolean {
    const granted = this.session.grantedFor(mqttTopic, partition.name, record.offset)
    const qos = Math.min(granted, qosOf(record.attributes)) as Qos
    if (qos === 0 || !this.host.mayReceive(this.session, mqttTopic)) return true
    if (!this.hasRoom || !this.redelivered) return false
    const packetId = this.session.nextPacketId()
    const place = { partition: partition.name, offset: record.offset }
    this.session.inflight.set(packetId, { qos, place, released: false })
    this.send(packetId, qos, record.key!, record.value, { retain: false, dup: false })
    return true
  }

  /** Sends a retained message in answer to a SUBSCRIBE, once there is room; @returns false when the connection is gone. */
  async sendRetained(message: RetainedValue, granted: Qos): Promise<boolean> {
    const qos = Math.min(message.qos, granted) as Qos
    while (!this.ended && !(qos === 0 ? !this.gate.outbox.isFull : this.hasRoom && this.redelivered))
      await new Promise<void>((resolve) => this.roomWaiters.push(resolve))
    if (this.ended) return false
    if (qos === 0) {
      this.host.fanOut.deliverTo(this.gate.outbox, Buffer.from(message.mqttTopic), message.payload, 0, RETAINED, 0)
      return true
    }
    const packetId = this.session.nextPacketId()
    this.session.inflight.set(packetId, { qos, place: { retained: message.mqttTopic }, released: false })
    this.send(packetId, qos, Buffer.from(message.mqttTopic), message.payload, RETAINED)
    return true
  }

  /** PUBACK, PUBREC or PUBCOMP has come. One that fits nothing is ignored, but for PUBREC, which must not be left hanging. */
  acknowledged(type: number, packetId: number): void {
    const delivery = this.session.inflight.get(packetId)
    if (type === PUBREC) {
      if (delivery === undefined || delivery.qos === 2) this.release(packetId, delivery)
      return
    }
    if (delivery === undefined || (delivery.qos === 1) !== (type === ACKNOWLEDGED_QOS1)) return
    if (delivery.qos === 2 && !delivery.released) return
    this.session.inflight.delete(packetId)
    this.session.dirty = true
    this.drained()
  }

  /** The window or the socket may have room again. */
  drained(): void {
    this.wakeRoomWaiters()
    this.run()
  }

  private get hasRoom(): boolean {
    return this.session.inflight.size < this.host.maxInflight && !this.gate.outbox.isFull
  }

  /** PUBREL leaves once it is durable that the message has arrived: after a restart it must not be sent again [MQTT-4.3.3-1]. */
  private release(packetId: number, delivery: InflightDelivery | undefined): void {
    if (delivery === undefined || delivery.released) {
      this.gate.outbox.write(encodePubrel(packetId))
      return
    }
    delivery.released = true
    this.session.dirty = true
    if (this.session.clean) this.gate.outbox.write(encodePubrel(packetId))
    else this.afterSaving(() => this.gate.outbox.write(encodePubrel(packetId)))
  }

  private send(packetId: number, qos: Qos, topic: Uint8Array, value: Uint8Array | null, flags: DeliveryFlags): void {
    this.session.dirty = true
    const payload = value ?? NOTHING
    if (qos === 1 || this.session.clean || flags.dup) {
      this.host.fanOut.deliverTo(this.gate.outbox, topic, payload, qos, flags, packetId)
      return
    }
    const packet = this.host.fanOut.encode(topic, payload, qos, flags, packetId)
    this.heldQos2.push(packet)
    if (this.heldQos2.length > 1) return
    this.afterSaving(() => {
      const held = this.heldQos2
      this.heldQos2 = []
      for (const bytes of held) this.gate.outbox.write(bytes)
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

  private async work(): Promise<void> {
    try {
      if (!this.redelivered) {
        await this.redeliver()
        this.redelivered = true
        this.wakeRoomWaiters()
      }
      do {
        this.again = false
        for (const name of this.session.positions.keys()) {
          const partition = this.host.partition(name)
          if (partition === undefined || partition.isLive(this)) continue
          while (!this.ended && this.hasRoom && !(await this.catchUp(partition))) {}
        }
      } while (this.again && !this.ended)
    } catch (error) {
      this.host.logger.error('delivery to a session failed', { client: this.session.clientId, error })
      this.gate.close(fault('stored messages could not be read'))
    } finally {
      this.running = false
    }
  }

  /** Sends a stretch of what is stored. @returns true when there is no more to do for this partition now. */
  private async catchUp(partition: StoredPartition): Promise<boolean> {
    if (partition.isLive(this)) return true
    const position = this.positionOf(partition)
    if (partition.join(this, position)) {
      partition.advance()
      return true
    }
    const { buffered } = this
    if (buffered === null || buffered.partition !== partition || buffered.records[buffered.next]?.offset !== position) {
      return !(await this.fill(partition, position))
    }
    while (buffered.next < buffered.records.length) {
      const record = buffered.records[buffered.next]
      if (partition.hasLive && record.offset >= partition.tail) break
      if (record.key !== null && !this.offer(partition, record.key.toString(), record)) return true
      buffered.next += 1
      this.moveTo(partition, record.offset + 1)
    }
    if (buffered.next === buffered.records.length) this.buffered = null
    return false
  }

  /** Reads on from `position`. @returns false if there is nothing to go on with. */
  private async fill(partition: StoredPartition, position: number): Promise<boolean> {
    this.buffered = null
    try {
      const { batches, nextOffset } = await partition.stream.fetch(partition.partition, position as Offset, {
        maxBytes: READ_BYTES,
      })
      const records = batches.flatMap((batch) => decodeRecords(batch, position as Offset))
      // Offsets may jump over what was lost and entered in the ledger.
      if (this.ended) return false
      this.moveTo(partition, records.length > 0 ? records[0].offset : nextOffset)
      if (records.length > 0) this.buffered = { partition, records, next: 0 }
      return records.length > 0 || nextOffset > position
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
      const start = partition.stream.logStartOffset(partition.partition)
      if (position < start) this.host.overtaken(this.session, partition, position, start)
      this.moveTo(partition, Math.max(start, Math.min(position, partition.highWatermark)))
      return true
    }
  }

  /** Everything in flight again, as it was and in order: messages with DUP [MQTT-3.3.1-1], or PUBREL [MQTT-4.4.0-1]. */
  private async redeliver(): Promise<void> {
    for (const [packetId, delivery] of [...this.session.inflight]) {
      if (this.ended) return
      if (delivery.released) {
        this.gate.outbox.write(encodePubrel(packetId))
        continue
      }
      const message =
        'retained' in delivery.place
          ? await this.retainedAt(delivery.place.retained)
          : await this.recordAt(delivery.place)
      if (this.ended) return
      if (message === null) this.session.inflight.delete(packetId)
      else
        this.send(packetId, delivery.qos, message.topic, message.value, {
          retain: 'retained' in delivery.place,
          dup: true,
        })
    }
  }

  private async retainedAt(mqttTopic: string): Promise<{ topic: Uint8Array; value: Uint8Array | null } | null> {
    for await (const { payload } of this.host.retained.matching(mqttTopic))
      return { topic: Buffer.from(mqttTopic), value: payload }
    return null
  }

  private async recordAt(place: { partition: string; offset: number }) {
    const partition = this.host.partition(place.partition)
    const offset = place.offset as Offset
    if (partition === undefined || offset < partition.stream.logStartOffset(partition.partition)) return null
    if (offset >= partition.highWatermark) return null
    const { batches } = await partition.stream.fetch(partition.partition, offset, { maxBytes: 1, maxRecords: 1 })
    const record = batches.length > 0 ? decodeRecords(batches[0], offset)[0] : undefined
    return record?.offset === offset && record.key !== null ? { topic: record.key, value: record.value } : null
  }

  private moveTo(partition: StoredPartition, offset: number): void {
    if (!this.session.positions.has(partition.name)) return
    this.session.positions.set(partition.name, offset)
    this.session.dirty = true
  }

  private wakeRoomWaiters(): void {
    const waiters = this.roomWaiters
    this.roomWaiters = []
    for (const wake of waiters) wake()
  }
}

const RETAINED: DeliveryFlags = { retain: true, dup: false }
const NOTHING = Buffer.alloc(0)
