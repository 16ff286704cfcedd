// CONNECT with a will (MQTT-SN 1.2, section 6.3): the client is asked for topic and message before it is connected. Until then nothing of a session
// that is there changes. Bounded, and forgotten when the client does not go on.
//
//   CONNECT(will) ─▶ WILLTOPICREQ ─▶ WILLTOPIC ─▶ WILLMSGREQ ─▶ WILLMSG ─▶ connected

import type { StoredWill } from './client-store.js'
import type { ConnectMessage, SnMessage, WillTopicFields } from './messages.js'

const MAX_PENDING = 1000
const MAX_PENDING_MS = 60_000

interface Pending {
  readonly connect: ConnectMessage
  readonly atMs: number
  will: WillTopicFields | null
}

export interface ConnectOutcome {
  readonly connect: ConnectMessage
  /** Null: the client has no will after all. */
  readonly will: StoredWill | null
}

export class ConnectFlow {
  /** By endpoint, the oldest first. */
  private readonly pending = new Map<string, Pending>()

  /** @returns what to ask; null when there are too many at once. */
  begin(endpoint: string, connect: ConnectMessage, nowMs: number): SnMessage | null {
    this.forgetOld(nowMs)
    if (!this.pending.has(endpoint) && this.pending.size >= MAX_PENDING) return null
    this.pending.delete(endpoint)
    this.pending.set(endpoint, { connect, atMs: nowMs, will: null })
    return { type: 'willtopicreq' }
  }

  /** What is asked next, or how it ends; null when nothing was asked here. */
  onWillTopic(endpoint: string, will: WillTopicFields | null): SnMessage | ConnectOutcome | null {
    const pending = this.pending.get(endpoint)
    if (pending === undefined) return null
    if (will === null) return this.end(endpoint, pending, null)
    pending.will = will
    return { type: 'willmsgreq' }
  }

  onWillMessage(endpoint: string, payload: Uint8Array): ConnectOutcome | null {
    const pending = this.pending.get(endpoint)
    if (pending === undefined || pending.will === null) return null
    const { willTopic, qos, retain } = pending.will
    return this.end(endpoint, pending, { topicName: willTopic, qos, retain, payload: Buffer.from(payload) })
  }

  /** The client has begun something else. */
  cancel(endpoint: string): void {
    this.pending.delete(endpoint)
  }

  private end(endpoint: string, { connect }: Pending, will: StoredWill | null): ConnectOutcome {
    this.pending.delete(endpoint)
    return { connect, will }
  }

  private forgetOld(nowMs: number): void {
    for (const [endpoint, { atMs }] of this.pending) {
      if (nowMs - atMs < MAX_PENDING_MS) return
      this.pending.delete(endpoint)
    }
  }
}
