// What the broker knows of one client between its CONNECT and the end of its session [MQTT 3.1.1 section 4.1]: subscriptions, the
// QoS 2 handshakes it has begun, how far it has been sent the log, and what it has not acknowledged. A session with `clean` ends with its
// connection; the others survive it, and restarts (session-store.ts).

import { randomInt } from 'node:crypto'
import { topicMatches } from '../base/topic-filter.js'
import type { Qos } from '../record/record.js'
import type { Who } from './acl-file.js'
import type { Gate } from './gate.js'
import type { LogFollower } from './log-follower.js'
import { handshakePrefix, ReceivedMessages } from './received-messages.js'
import type { SessionPump } from './session-pump.js'
import type { SharedGroup } from './shared-group.js'

/** A place in the log, by name: `stream/partition`. */
export type PartitionName = string

export function partitionName(stream: string, partition: number): PartitionName {
  return `${stream}/${partition}`
}

/** Where a record lies. */
export interface RecordPlace {
  readonly partition: PartitionName
  readonly offset: number
}

export interface Subscription {
  readonly filter: string
  /** Granted. */
  readonly qos: Qos
  /** Nothing stored below these offsets is delivered for it: they were the ends of the partitions at SUBSCRIBE. */
  readonly from: ReadonlyMap<PartitionName, number>
  /** What it replaced, which still holds below `from`, so that subscribing again interrupts nothing [MQTT-3.8.4-3]. */
  readonly before: Subscription | null
}

/** Replacements remembered: a client that has not been sent what is stored may change its mind so often before it gets too much of it. */
const MAX_REPLACED = 8

/** What a subscription that is replaced has left to say. @param positions How far the session has come: it is nothing below them. */
export function replaced(subscription: Subscription, positions: ReadonlyMap<PartitionName, number>): Subscription {
  const chain: Subscription[] = []
  for (let then: Subscription | null = subscription; then !== null; then = then.before) {
    chain.push(then)
    if (![...then.from].some(([name, offset]) => offset > (positions.get(name) ?? 0))) break
  }
  // The oldest two become one that delivers what either would.
  while (chain.length > MAX_REPLACED) {
    const [newer, older] = chain.splice(-2) as [Subscription, Subscription]
    chain.push({ ...older, qos: Math.max(newer.qos, older.qos) as Qos })
  }
  return chain.reduceRight<Subscription | null>((before, one) => ({ ...one, before }), null)!
}

interface StoredPlace extends RecordPlace {
  /** The shared group that it came through. */
  readonly group?: string
}

/** The retained message of a topic. It may be another by the time this one must be sent again: then it is only in the log. */
export interface RetainedPlace {
  readonly retained: string
  /** The CRC-32C of its payload; not known of what was sent before it was kept. */
  readonly check?: number
  /** Its record; not known where it was retained later than that was stored. */
  readonly record?: RecordPlace
}

/** A delivery above QoS 0 that has not been acknowledged to its end. */
export interface InflightDelivery {
  readonly qos: 1 | 2
  /** Where the message lies: in the log, or the retained message of a topic. Nothing of it is kept here. */
  readonly place: StoredPlace | RetainedPlace
  /** PUBREC has come: PUBREL is what is sent again, not the message. */
  released: boolean
}

const MAX_CACHED_GRANTS = 1024

export class Session {
  /** The connection that has it now. */
  gate: Gate | null = null
  /** What sends it stored messages while it is connected. */
  pump: SessionPump | null = null
  username: string | undefined
  /** Its connection is code of this process: no ACL holds for it. */
  trusted = false
  readonly clientIdBytes: Buffer
  readonly subscriptions = new Map<string, Subscription>()
  /** While it is connected: the shared groups it is a member of. */
  readonly groups = new Set<SharedGroup>()
  /** QoS 2 handshakes the client has begun. */
  readonly received: ReceivedMessages
  /** The next offset to look at, per partition that any subscription can match. */
  readonly positions = new Map<PartitionName, number>()
  /** By packet identifier, in the order of sending. */
  readonly inflight = new Map<number, InflightDelivery>()
  /** Filters whose retained messages it has not been sent to the end, with the QoS granted: begun again when it comes back. */
  readonly retainedDue = new Map<string, Qos>()
  /** Positions or in-flight deliveries have changed since they were stored. */
  dirty = false
  /** How often its row has been made for the store, and how far these rows are durable: see session-store.ts. */
  rowsTaken = 0
  rowsStored = 0
  private lastPacketId = 0
  private readonly grants = new Map<string, Qos>()
  /** From here on, per partition, every subscription counts. */
  private readonly maturesAt = new Map<PartitionName, number>()

  constructor(
    readonly clientId: string,
    readonly clean: boolean,
    /** Tells this durable session from earlier ones of the same client; 0 for a clean one. */
    readonly generation = clean ? 0 : randomInt(1, 2 ** 32),
  ) {
    this.clientIdBytes = Buffer.from(clientId)
    this.received = new ReceivedMessages(clean ? null : handshakePrefix(clientId, generation))
  }

  /** Whose right to publish what it retains rests on. */
  get author(): Who | null {
    return this.trusted ? null : this
  }

  get follower(): LogFollower | null {
    return this.pump?.follower ?? null
  }

  /** How far it has come in each partition: `positions` stand still while it is fed from the end of the log. */
  currentPositions(): Map<PartitionName, number> {
    const { follower } = this
    const current = new Map<PartitionName, number>()
    for (const [name, position] of this.positions) current.set(name, follower?.positionNamed(name) ?? position)
    return current
  }

  /** Whether any subscription above QoS 0 matches, or did before it was replaced. */
  wants(mqttTopic: string): boolean {
    for (const subscription of this.subscriptions.values())
      for (let then: Subscription | null = subscription; then !== null; then = then.before)
        if (then.qos > 0 && topicMatches(then.filter, mqttTopic)) return true
    return false
  }

  subscribe(subscription: Subscription): void {
    this.subscriptions.set(subscription.filter, subscription)
    for (const [name, offset] of subscription.from)
      if (offset > (this.maturesAt.get(name) ?? 0)) this.maturesAt.set(name, offset)
    this.grants.clear()
  }

  unsubscribe(filter: string): void {
    this.subscriptions.delete(filter)
    this.retainedDue.delete(filter)
    this.grants.clear()
  }

  /** The highest QoS any subscription grants for a stored message; 0 where there is none, or where it was delivered at once. */
  grantedFor(mqttTopic: string, partition: PartitionName, offset: number): Qos {
    if (offset < (this.maturesAt.get(partition) ?? 0)) return this.grantedThen(mqttTopic, partition, offset)
    let qos = this.grants.get(mqttTopic)
    if (qos === undefined) {
      qos = this.grantedThen(mqttTopic, partition, offset)
      if (this.grants.size >= MAX_CACHED_GRANTS) this.grants.clear()
      this.grants.set(mqttTopic, qos)
    }
    return qos
  }

  /** A packet identifier that is not in use, or 0 if all are. */
  nextPacketId(): number {
    for (let tries = 0; tries < 65_535; tries++) {
      this.lastPacketId = this.lastPacketId === 65_535 ? 1 : this.lastPacketId + 1
      if (!this.inflight.has(this.lastPacketId)) return this.lastPacketId
    }
    return 0
  }

  private grantedThen(mqttTopic: string, partition: PartitionName, offset: number): Qos {
    let highest: Qos = 0
    for (const subscription of this.subscriptions.values()) {
      let then: Subscription | null = subscription
      while (then !== null && offset < (then.from.get(partition) ?? 0)) then = then.before
      if (then !== null && then.qos > highest && topicMatches(then.filter, mqttTopic)) highest = then.qos
    }
    return highest
  }
}
