// Delivery at QoS 0, at once from the publish path: a message is encoded once into a shared buffer, every subscriber is handed the same
// range of it, and adjoining ranges grow together, so that a subscriber to everything gets one write for all that came in one turn
// of the event loop. Never waits for a subscriber.

import type { Qos } from '../record/record.js'
import { type DeliveryFlags, publishSize, writePublish } from './encode.js'
import type { Outbox } from './outbox.js'
import type { TopicEntry } from './router.js'
import type { Session } from './session.js'
import { SharedGroup } from './shared-group.js'
import type { Subscriber, TopicMatches } from './subscriber.js'
import type { TopicTree } from './topic-tree.js'

const SHARED_BYTES = 128 * 1024
/** Gathered since the last flush: beyond this we flush at once rather than at the end of the turn. */
const FLUSH_BYTES = 512 * 1024
/** References held by cached matches over all topics; beyond this all are worked out anew. */
const MAX_CACHED_MATCHES = 1_000_000
const PLAIN: DeliveryFlags = { retain: false, dup: false }

export class FanOut {
  delivered = 0
  /** Deliveries that a full queue has cost. */
  dropped = 0
  private shared = Buffer.allocUnsafeSlow(SHARED_BYTES)
  private position = 0
  private unflushedBytes = 0
  private gatheredOutboxes: Outbox[] = []
  private scheduled = false
  private cachedMatches = 0

  /** @param mayReceive Whether the session may be given messages of this topic (its ACL). */
  constructor(
    private readonly tree: TopicTree<Subscriber>,
    private readonly mayReceive: (session: Session, mqttTopic: string) => boolean,
  ) {}

  /** Delivers a message to whoever gets it at QoS 0; the payload is copied. */
  deliver(entry: TopicEntry, qos: Qos, value: Uint8Array, valueStart: number, valueEnd: number): void {
    const matches = this.matchesOf(entry)
    const receivers = qos === 0 ? matches.connected : matches.connectedQos0
    const groups = qos === 0 ? matches.shared : matches.sharedQos0
    if (receivers.length === 0 && groups.length === 0) return
    const start = this.write(entry.bytes, value, valueStart, valueEnd, 0, PLAIN, 0)
    const { shared, position } = this
    for (let i = 0; i < receivers.length; i++) this.hand(receivers[i].gate?.outbox, shared, start, position)
    for (let i = 0; i < groups.length; i++)
      this.hand(groups[i].next(entry.mqttTopic)?.gate?.outbox, shared, start, position)
    if (this.unflushedBytes > FLUSH_BYTES) this.flush()
  }

  private hand(outbox: Outbox | undefined, shared: Buffer, start: number, end: number): void {
    if (outbox === undefined) return
    if (outbox.gather(shared, start, end)) this.delivered += 1
    else if (!outbox.isEnded) this.dropped += 1
  }

  /** Sends one message to one connection, whatever waits there: the caller keeps within a window of its own. */
  deliverTo(
    outbox: Outbox,
    topic: Uint8Array,
    payload: Uint8Array,
    qos: Qos,
    flags: DeliveryFlags,
    packetId: number,
  ): void {
    const start = this.write(topic, payload, 0, payload.length, qos, flags, packetId)
    if (outbox.gather(this.shared, start, this.position, true)) this.delivered += 1
  }

  /** The same as a packet of its own, to be sent later. */
  encode(topic: Uint8Array, payload: Uint8Array, qos: Qos, flags: DeliveryFlags, packetId: number): Buffer {
    const packet = Buffer.allocUnsafe(publishSize(topic.length, payload.length, qos))
    writePublish(packet, 0, topic, payload, 0, payload.length, qos, flags, packetId)
    this.delivered += 1
    return packet
  }

  /** Encodes into the shared buffer; @returns where: [result, this.position). */
  private write(
    topic: Uint8Array,
    value: Uint8Array,
    valueStart: number,
    valueEnd: number,
    qos: Qos,
    flags: DeliveryFlags,
    packetId: number,
  ): number {
    const size = publishSize(topic.length, valueEnd - valueStart, qos)
    if (this.position + size > this.shared.length) {
      this.shared = Buffer.allocUnsafeSlow(Math.max(SHARED_BYTES, size))
      this.position = 0
    }
    const start = this.position
    this.position = writePublish(this.shared, start, topic, value, valueStart, valueEnd, qos, flags, packetId)
    this.unflushedBytes += size
    return start
  }

  /** Who is subscribed to this topic, from the cache in the entry where it is still right. */
  matchesOf(entry: TopicEntry): TopicMatches {
    const known = entry.matches
    if (known !== null && known.version === this.tree.version) return known
    if (this.cachedMatches > MAX_CACHED_MATCHES) {
      this.tree.version += 1
      this.cachedMatches = 0
    }
    const connected: Session[] = []
    const connectedQos0: Session[] = []
    const stored: Subscriber[] = []
    const shared: SharedGroup[] = []
    const sharedQos0: SharedGroup[] = []
    for (const [subscriber, qos] of this.tree.match(entry.mqttTopic)) {
      if (subscriber instanceof SharedGroup) {
        shared.push(subscriber)
        if (qos === 0) sharedQos0.push(subscriber)
        else stored.push(subscriber)
        continue
      }
      if (subscriber.gate === null || !this.mayReceive(subscriber, entry.mqttTopic)) continue
      connected.push(subscriber)
      if (qos === 0) connectedQos0.push(subscriber)
      else stored.push(subscriber)
    }
    this.cachedMatches += connected.length
    return (entry.matches = { version: this.tree.version, connected, connectedQos0, stored, shared, sharedQos0 })
  }

  /** Has the outbox flushed at the end of this turn of the event loop. */
  schedule(outbox: Outbox): void {
    this.gatheredOutboxes.push(outbox)
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      this.flush()
    })
  }

  private flush(): void {
    const outboxes = this.gatheredOutboxes
    this.gatheredOutboxes = []
    this.unflushedBytes = 0
    for (const outbox of outboxes) outbox.flush()
  }
}
