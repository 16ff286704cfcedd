// Whether a QoS 1 PUBLISH is a resend of one that is stored already. MQTT-SN numbers messages with 16 bits that begin again with every boot of many a
// device, and taking a new message for a resend would lose it under an acknowledgement; so a message counts as known only where the ids of this client
// leave no other reading. Pure but for its own memory.
//
// - One message may be under way at a time (section 6.12), so a resend (DUP) is of the last one: same id, same topic and payload. A client that
//   gives the same id to messages in succession says nothing with it, and is never taken to resend; nor is one of which nothing is known yet.
// - A copy that the network made has no DUP. It is known from a client that counts, one that has once given 64 ids in a row each a little above the
//   one before: an id seen among the last 16 of this connection cannot come again by itself. Nor can it of a client under the seal, which has promised
//   to count; there a resend may have been overtaken by the next message.

/** Published lately, kept to know copies. */
const RECENT = 16
const MIN_ASCENDING = 64
const MAX_STEP = 64
const IDS = 65_536

/**
 * `pending`: it is being stored, the ack will come. `known`: it is stored. `ask`: it may be what the log says was last of this client. `new`: it must be
 * stored, whatever the log says.
 */
export type Judgement = 'new' | 'ask' | 'known' | 'pending'

/** How a client gives ids. */
export interface Habits {
  readonly varies: boolean
  readonly counts: boolean
}

interface Published {
  readonly messageId: number
  readonly fingerprint: number
  stored: boolean
}

export class ResendWatch {
  private last: Published | null = null
  private recent: Published[] = []
  private newestId: number | null = null
  private ascending = 0

  /** Two messages in succession had different ids. */
  private varies: boolean
  private counts: boolean

  /**
   * @param known What `habits` was before a restart.
   * @param alwaysVaries The client has promised to: whoever speaks under the seal does.
   */
  constructor(
    known: Habits | undefined,
    private readonly alwaysVaries: boolean,
  ) {
    this.varies = known?.varies || alwaysVaries
    this.counts = known?.counts ?? false
  }

  /** To be kept across restarts. */
  get habits(): Habits {
    return { varies: this.varies, counts: this.counts }
  }

  judge(messageId: number, fingerprint: number, dup: boolean): Judgement {
    const { last } = this
    if (last !== null && last.messageId === messageId && last.fingerprint === fingerprint) {
      if (!last.stored) return 'pending'
      if (dup && this.varies) return 'known'
    }
    if (this.counts || this.alwaysVaries) {
      const copy = this.recent.find((one) => one.messageId === messageId && one.fingerprint === fingerprint)
      if (copy !== undefined) return copy.stored ? 'known' : 'pending'
    }
    return dup && this.varies && last === null ? 'ask' : 'new'
  }

  /** It is published; call `stored` or `failed` with what this returns once that is known. */
  published(messageId: number, fingerprint: number): Published {
    const { last, newestId } = this
    if (last !== null) this.varies = this.alwaysVaries || last.messageId !== messageId
    // What may be a copy says nothing of how the client counts.
    if (!this.recent.some((one) => one.messageId === messageId && one.fingerprint === fingerprint)) {
      if (newestId !== null) this.step((messageId - newestId + IDS) % IDS)
      this.newestId = messageId
    }
    this.last = { messageId, fingerprint, stored: false }
    this.recent.push(this.last)
    if (this.recent.length > RECENT) this.recent.shift()
    return this.last
  }

  stored(published: Published): void {
    published.stored = true
  }

  /** It may be on disk or not: only the log can say. */
  failed(published: Published): void {
    if (this.last === published) this.last = null
    this.recent = this.recent.filter((one) => one !== published)
  }

  /** The client has connected anew: it may count from anywhere. @param clean It knows of nothing before. */
  reconnected(clean: boolean): void {
    this.recent = []
    this.newestId = null
    this.ascending = 0
    if (!clean) return
    this.last = null
    this.varies = this.alwaysVaries
    this.counts = false
  }

  private step(step: number): void {
    const ascends = step >= 1 && step <= MAX_STEP
    this.ascending = ascends ? this.ascending + 1 : 0
    this.counts = ascends && (this.counts || this.ascending >= MIN_ASCENDING)
  }
}
