// A shared subscription, `$share/GROUP/FILTER`, as MQTT 5 defines it (section 4.8.2) and 3.1.1 brokers offer it: each message goes to one of
// the connected members that has room, in turns. The group follows the log itself; what a member was sent is in flight in the member's
// session. What a member with a clean session leaves unacknowledged goes to another; one with a session that is kept gets it again.

import { topicMatches } from '../base/topic-filter.js'
import { type LogRecord, type Qos, qosOf } from '../record/record.js'
import { LogFollower, type Receiver } from './log-follower.js'
import type { PartitionName, RecordPlace, Session } from './session.js'
import type { StoredPartition } from './stored-partition.js'
import { isRemoved, readRecord } from './stored-record.js'

export interface SharedGroupHost {
  partition(name: PartitionName): StoredPartition | undefined
  mayReceive(session: Session, mqttTopic: string): boolean
  overtaken(destination: string, partition: StoredPartition, from: number, to: number): void
  groupFailed(name: string, error: unknown): void
}

export class SharedGroup implements Receiver {
  readonly follower: LogFollower
  /** Sessions that are kept, connected or not, by client identifier: while there is one, so is the group. */
  readonly durableMembers = new Set<string>()
  readonly positions = new Map<PartitionName, number>()
  /** Nothing stored below is delivered: the ends of the partitions when the group began. */
  readonly from = new Map<PartitionName, number>()
  dirty = false
  private readonly granted = new Map<Session, Qos>()
  private order: Session[] = []
  private turn = 0
  /** Sent to members that have gone without acknowledging it. */
  private returned: RecordPlace[] = []
  private returning = false

  constructor(
    /** As subscribed: `$share/GROUP/FILTER`. */
    readonly name: string,
    readonly filter: string,
    private readonly host: SharedGroupHost,
  ) {
    this.follower = new LogFollower(this, (partition) => host.partition(partition))
  }

  /** The highest that any connected member was granted. */
  get qos(): Qos {
    return Math.max(0, ...this.granted.values()) as Qos
  }

  get isConnected(): boolean {
    return this.order.length > 0
  }

  get isEmpty(): boolean {
    return this.order.length === 0 && this.durableMembers.size === 0
  }

  /** A connected session is a member from here on. */
  add(session: Session, qos: Qos): void {
    this.granted.set(session, qos)
    this.order = [...this.granted.keys()]
    session.groups.add(this)
  }

  /** The session is not connected any more, or has unsubscribed. */
  remove(session: Session): void {
    if (!this.granted.delete(session)) return
    this.order = [...this.granted.keys()]
    session.groups.delete(this)
  }

  /** A member has gone without acknowledging this: another gets it. */
  takeBack(place: RecordPlace): void {
    this.returned.push(place)
    this.dirty = true
    this.run()
  }

  run(): void {
    if (this.returned.length > 0 && !this.returning) void this.deliverReturned()
    this.follower.run()
  }

  /** Whose turn it is to get a QoS 0 message; null when nobody may. */
  next(mqttTopic: string): Session | null {
    for (let tries = 0; tries < this.order.length; tries++) {
      const session = this.takeTurn()
      if (session.gate !== null && this.host.mayReceive(session, mqttTopic)) return session
    }
    return null
  }

  /** The next offset of a partition as a restart needs it: what is with members that a restart makes forget comes again. */
  safePosition(partition: PartitionName): number {
    let position = this.follower.positionNamed(partition) ?? this.positions.get(partition) ?? 0
    const before = (place: RecordPlace): void => {
      if (place.partition === partition) position = Math.min(position, place.offset)
    }
    this.returned.forEach(before)
    for (const session of this.order) if (session.clean) for (const place of this.placesOf(session)) before(place)
    return position
  }

  // ---- what the follower asks for

  get hasRoom(): boolean {
    return this.returned.length === 0 && this.order.some((session) => session.pump?.hasRoom)
  }

  take(partition: StoredPartition, mqttTopic: string, record: LogRecord): boolean {
    if (record.offset < (this.from.get(partition.name) ?? 0) || !this.wantsRecord(mqttTopic, record)) return true
    return this.give(partition, mqttTopic, record)
  }

  wants(mqttTopic: string): boolean {
    return topicMatches(this.filter, mqttTopic)
  }

  moved(): void {
    this.dirty = true
  }

  overtaken(partition: StoredPartition, from: number, to: number): void {
    this.host.overtaken(this.name, partition, from, to)
  }

  failed(error: unknown): void {
    this.host.groupFailed(this.name, error)
  }

  // ---- own affairs

  /** QoS 0 messages, and all where every member was granted QoS 0, have been delivered at once. */
  private wantsRecord(mqttTopic: string, record: LogRecord): boolean {
    return qosOf(record.attributes) > 0 && this.qos > 0 && topicMatches(this.filter, mqttTopic)
  }

  /** @returns false if it is to wait: nobody is connected, or has room. */
  private give(partition: StoredPartition, mqttTopic: string, record: LogRecord): boolean {
    let somebodyMay = this.order.length === 0
    for (let tries = 0; tries < this.order.length; tries++) {
      const session = this.takeTurn()
      if (!this.host.mayReceive(session, mqttTopic)) continue
      somebodyMay = true
      const qos = Math.min(this.granted.get(session) ?? 0, qosOf(record.attributes)) as Qos
      if (session.pump?.sendStored(partition, record, qos, this.name)) return true
    }
    return !somebodyMay
  }

  private takeTurn(): Session {
    this.turn = (this.turn + 1) % this.order.length
    return this.order[this.turn]
  }

  private *placesOf(session: Session): Iterable<RecordPlace> {
    for (const { place } of session.inflight.values())
      if ('offset' in place && place.group === this.name) yield { partition: place.partition, offset: place.offset }
  }

  private async deliverReturned(): Promise<void> {
    this.returning = true
    try {
      while (this.returned.length > 0) {
        const [place] = this.returned
        const partition = this.host.partition(place.partition)
        const record = await readRecord(partition, place.offset)
        if (record?.key && !this.give(partition!, record.key.toString(), record)) return
        if (partition !== undefined && isRemoved(partition, place.offset))
          this.overtaken(partition, place.offset, place.offset + 1)
        this.returned.shift()
      }
      this.follower.run()
    } catch (error) {
      this.failed(error)
    } finally {
      this.returning = false
    }
  }
}
