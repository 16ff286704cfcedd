// Delivery at QoS 0, at once from the publish path: a message is encoded once into a shared buffer, every subscriber is handed the same
// range of it, and adjoining ranges grow together, so that a subscriber to everything gets one write for all that came in one turn
// of the event loop. Never waits for a subscriber.

import type { Qos } from '../record/record.js'
import { publishSize, writePublish } from './encode.js'
import type { Outbox } from './outbox.js'
import type { RetainedValue } from './retained-messages.js'
import type { TopicEntry } from './router.js'
import type { Session } from './session.js'
import type { TopicMatches, TopicTree } from './topic-tree.js'

const SHARED_BYTES = 128 * 1024
/** Gathered since the last flush: beyond this we flush at once rather than at the end of the turn. */
const FLUSH_BYTES = 512 * 1024
/** References held by cached matches over all topics; beyond this all are worked out anew. */
const MAX_CACHED_MATCHES = 1_000_000
const PLAIN = { qos: 0, retain: false, dup: false } as const
const RETAINED = { qos: 0, retain: true, dup: false } as const

export class FanOut {
  delivered = 0
  private shared = Buffer.allocUnsafeSlow(SHARED_BYTES)
  private position = 0
  private unflushedBytes = 0
  private gatheredOutboxes: Outbox[] = []
  private scheduled = false
  private cachedMatches = 0

  /** @param mayReceive Whether the session may be given messages of this topic (its ACL). */
  constructor(
    private readonly tree: TopicTree<Session>,
    private readonly mayReceive: (session: Session, mqttTopic: string) => boolean,
  ) {}

  /** Delivers a message to whoever gets it at QoS 0; the payload is copied. */
  deliver(entry: TopicEntry<Session>, qos: Qos, value: Uint8Array, valueStart: number, valueEnd: number): void {
    const matches = this.matchesOf(entry)
    const receivers = qos === 0 ? matches.connected : matches.connectedQos0
    if (receivers.length === 0) return
    const size = publishSize(entry.bytes.length, valueEnd - valueStart, 0)
    if (this.position + size > this.shared.length) {
      this.shared = Buffer.allocUnsafeSlow(Math.max(SHARED_BYTES, size))
      this.position = 0
    }
    const start = this.position
    const end = writePublish(this.shared, start, entry.bytes, value, valueStart, valueEnd, PLAIN, 0)
    this.position = end
    for (let i = 0; i < receivers.length; i++)
      if (receivers[i].gate?.outbox.gather(this.shared, start, end)) this.delivered += 1
    this.unflushedBytes += size
    if (this.unflushedBytes > FLUSH_BYTES) this.flush()
  }

  /** Sends a retained message in answer to a SUBSCRIBE, with its retain flag set [MQTT-3.3.1-8]. */
  deliverRetained(session: Session, message: RetainedValue): void {
    const topic = Buffer.from(message.mqttTopic)
    const bytes = Buffer.allocUnsafe(publishSize(topic.length, message.payload.length, 0))
    writePublish(bytes, 0, topic, message.payload, 0, message.payload.length, RETAINED, 0)
    if (session.gate?.outbox.gather(bytes, 0, bytes.length)) this.delivered += 1
  }

  /** Who is subscribed to this topic, from the cache in the entry where it is still right. */
  matchesOf(entry: TopicEntry<Session>): TopicMatches<Session> {
    const known = entry.matches
    if (known !== null && known.version === this.tree.version) return known
    if (this.cachedMatches > MAX_CACHED_MATCHES) {
      this.tree.version += 1
      this.cachedMatches = 0
    }
    const connected: Session[] = []
    const connectedQos0: Session[] = []
    let wantsStored = false
    for (const [session, qos] of this.tree.match(entry.mqttTopic)) {
      if (qos > 0) wantsStored = true
      if (session.gate === null || !this.mayReceive(session, entry.mqttTopic)) continue
      connected.push(session)
      if (qos === 0) connectedQos0.push(session)
    }
    this.cachedMatches += connected.length
    return (entry.matches = { version: this.tree.version, connected, connectedQos0, wantsStored })
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
