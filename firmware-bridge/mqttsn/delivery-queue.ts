// What goes to one client: one message at a time (MQTT-SN 1.2, section 6.12), each after its topic id is known to the client, sent again every
// `retryMs` until it is answered. Keeps the few messages the node lets be under way; everything else stays in the log until these are acknowledged.
//
//   idle ──▶ register ──REGACK──▶ publish ──PUBACK / at once for QoS 0──▶ idle
//                                    └──PUBREC──▶ (node's PUBREL) ──▶ release ──PUBCOMP──▶ idle

import type { SnMessage, SnMessageOf, TopicIdType } from './messages.js'
import { RETURN_CODE } from './messages.js'

/** QoS 0 messages that wait for one before them, inclusive; more are dropped. */
const MAX_WAITING_QOS0 = 64
/** Nobody acknowledges QoS 0: a backlog must not flood the radio. */
const QOS0_BURST = 16
const QOS0_PAUSE_MS = 20
/** Times that a client may say it does not know a topic id it has confirmed. */
const MAX_REGISTERS = 3

export interface Delivery {
  /** Towards the client. */
  readonly qos: 0 | 1 | 2
  /** At which the node delivers it, and waits for an acknowledgement above 0. */
  readonly nodeQos: 0 | 1 | 2
  /** The node's, and the client's too above QoS 0. */
  readonly messageId: number
  readonly dup: boolean
  readonly retain: boolean
  readonly topicName: string
  readonly payload: Uint8Array
}

export interface DeliveryOwner {
  readonly retryMs: number
  /** Inclusive, without the first try. */
  readonly maxRetries: number
  send(message: SnMessage): void
  /** How to name a topic to this client; null when it has no room for another. Resolves once the id would survive a restart. */
  topicFor(topicName: string): Promise<NamedTopic | null>
  confirmTopic(topicId: number, confirmed: boolean): void
  /** The client has it, or never will (`taken` false): it need not come again. */
  settled(delivery: Delivery, taken: boolean): void
  /** The client has a QoS 2 message: `release` follows. */
  received(messageId: number): void
  /** A QoS 2 handshake is over. */
  completed(messageId: number): void
  /** Nothing is under way or waiting any more. */
  idle(): void
  /** The client does not answer. */
  gaveUp(): void
}

export interface NamedTopic {
  readonly topicIdType: TopicIdType
  readonly topicId: number
  /** The client knows it. */
  readonly confirmed: boolean
}

type Item = Delivery | { readonly release: number }
interface Current {
  readonly item: Item
  step: 'naming' | 'register' | 'publish' | 'received' | 'release'
  topic: NamedTopic | null
  registers: number
  tries: number
}

export class DeliveryQueue {
  /** QoS 0 messages for which there was no room. */
  dropped = 0
  private readonly waiting: Item[] = []
  private waitingQos0 = 0
  private sentQos0 = 0
  private current: Current | null = null
  private timer: NodeJS.Timeout | undefined
  private lastRegisterId = 0

  constructor(private readonly owner: DeliveryOwner) {}

  get isIdle(): boolean {
    return this.current === null && this.waiting.length === 0
  }

  add(delivery: Delivery): void {
    if (delivery.nodeQos === 0) {
      if (this.waitingQos0 >= MAX_WAITING_QOS0) {
        this.dropped += 1
        return
      }
      this.waitingQos0 += 1
    }
    this.waiting.push(delivery)
    this.next()
  }

  /** The node releases a QoS 2 message: now, or again after a restart. */
  release(messageId: number): void {
    const { current } = this
    if (current?.step === 'received' && 'qos' in current.item && current.item.messageId === messageId)
      this.sendRelease(current, messageId)
    else {
      this.waiting.push({ release: messageId })
      this.next()
    }
  }

  /** Forgets everything: what was not settled comes again from the node. */
  clear(): void {
    clearTimeout(this.timer)
    this.waiting.length = 0
    this.waitingQos0 = 0
    this.current = null
  }

  // ---- what the client answers

  onRegack({ topicId, messageId, returnCode }: SnMessageOf<'regack'>): void {
    const { current } = this
    if (current?.step !== 'register' || messageId !== this.lastRegisterId || topicId !== current.topic?.topicId) return
    if (returnCode === RETURN_CODE.congestion) return // the timer asks again
    if (returnCode !== RETURN_CODE.accepted) {
      this.finish(current.item, false)
      return
    }
    this.owner.confirmTopic(topicId, true)
    this.sendPublish(current)
  }

  onPuback({ messageId, returnCode }: SnMessageOf<'puback'>): void {
    const current = this.publishing(messageId)
    if (current === null || returnCode === RETURN_CODE.congestion) return
    const { item, topic } = current
    if (returnCode === RETURN_CODE.invalidTopicId && topic?.topicIdType === 'normal') {
      this.owner.confirmTopic(topic.topicId, false)
      if (++current.registers > MAX_REGISTERS) this.finish(item, false)
      else this.sendRegister(current)
    } else if ('qos' in item && (item.qos === 1 || returnCode !== RETURN_CODE.accepted))
      this.finish(item, returnCode === RETURN_CODE.accepted)
  }

  onPubrec(messageId: number): void {
    const current = this.publishing(messageId)
    if (current === null) {
      // Of a handshake that a restart interrupted: the node knows whether it has released it.
      if (this.current?.step !== 'release' && this.current?.step !== 'received') this.owner.received(messageId)
      return
    }
    if (!('qos' in current.item) || current.item.qos !== 2) return
    clearTimeout(this.timer)
    current.step = 'received'
    this.owner.received(messageId)
  }

  onPubcomp(messageId: number): void {
    const { current } = this
    if (current?.step !== 'release') return
    const { item } = current
    if (('release' in item ? item.release : item.messageId) !== messageId) return
    this.owner.completed(messageId)
    this.finish(item, true)
  }

  // ---- sending

  private next(): void {
    if (this.current !== null) return
    const item = this.waiting.shift()
    if (item === undefined) return
    const current: Current = { item, step: 'naming', topic: null, registers: 0, tries: 0 }
    this.current = current
    if ('release' in item) {
      this.sendRelease(current, item.release)
      return
    }
    if (item.nodeQos === 0) this.waitingQos0 -= 1
    this.owner.topicFor(item.topicName).then(
      (topic) => {
        if (this.current !== current) return
        current.topic = topic
        if (topic === null) this.finish(item, false)
        else if (topic.confirmed) this.sendPublish(current)
        else this.sendRegister(current)
      },
      // It could not be stored: once more when there is time again.
      () => this.arm(current, () => this.again(current)),
    )
  }

  private again(current: Current): void {
    this.current = null
    this.waiting.unshift(current.item)
    if ('qos' in current.item && current.item.nodeQos === 0) this.waitingQos0 += 1
    this.next()
  }

  private sendRegister(current: Current): void {
    const { item, topic } = current
    if (!('qos' in item) || topic === null) return
    current.step = 'register'
    current.tries = 0
    this.lastRegisterId = (this.lastRegisterId % 65_535) + 1
    const { topicId } = topic
    const register = { type: 'register', topicId, messageId: this.lastRegisterId, topicName: item.topicName } as const
    this.repeat(current, () => register)
  }

  private sendPublish(current: Current): void {
    const { item, topic } = current
    if (!('qos' in item) || topic === null) return
    const { topicIdType, topicId } = topic
    const { qos, messageId, retain, payload } = item
    const publish = (dup: boolean) =>
      ({
        type: 'publish',
        dup,
        qos,
        retain,
        topicIdType,
        topicId,
        messageId: qos === 0 ? 0 : messageId,
        payload,
      }) as const
    current.step = 'publish'
    current.tries = 0
    if (qos > 0) this.repeat(current, (isAgain) => publish(item.dup || isAgain))
    else {
      this.owner.send(publish(false))
      this.sentQos0 += 1
      if (this.sentQos0 % QOS0_BURST !== 0) this.finish(item, true)
      else this.timer = setTimeout(() => this.current === current && this.finish(item, true), QOS0_PAUSE_MS).unref()
    }
  }

  private sendRelease(current: Current, messageId: number): void {
    current.step = 'release'
    current.tries = 0
    this.repeat(current, () => ({ type: 'pubrel', messageId }))
  }

  private repeat(current: Current, message: (isAgain: boolean) => SnMessage): void {
    this.owner.send(message(current.tries > 0))
    this.arm(current, () => this.repeat(current, message))
  }

  private arm(current: Current, then: () => void): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      if (this.current !== current) return
      current.tries += 1
      if (current.tries <= this.owner.maxRetries) then()
      else this.owner.gaveUp()
    }, this.owner.retryMs).unref()
  }

  private finish(item: Item, taken: boolean): void {
    clearTimeout(this.timer)
    this.current = null
    if ('qos' in item) this.owner.settled(item, taken)
    this.next()
    if (this.isIdle) this.owner.idle()
  }

  private publishing(messageId: number): Current | null {
    const { current } = this
    if (current?.step !== 'publish' || !('qos' in current.item)) return null
    return current.item.messageId === messageId ? current : null
  }
}
