// One client's session at the node and what comes out of it: opens the link while the client listens, closes it while it sleeps or is away, and hands
// what the node delivers to the delivery queue. While the link is closed nothing is kept here: the session's cursor in the log is what waits.

import type { BridgeNode } from '../devices/bridge-node.js'
import { type LinkMessage, type LinkOwner, MqttLink } from '../devices/mqtt-link.js'
import { type Delivery, type DeliveryOwner, DeliveryQueue, type NamedTopic } from './delivery-queue.js'
import type { SnMessage } from './messages.js'

const REOPEN_MS = 1000
/** Messages above QoS 0 that the node gives out before one is acknowledged: all that is held here for a client. */
const MAX_IN_FLIGHT = 8
/** A PUBLISH and a REGISTER around payload and topic name, at most, bytes. */
const PUBLISH_HEAD_BYTES = 9
const REGISTER_HEAD_BYTES = 8

export interface NodeSessionOwner {
  readonly retryMs: number
  readonly maxRetries: number
  /** Longest message to the client, bytes, inclusive. */
  readonly maxMessageBytes: number
  readonly topicPrefix: string
  send(message: SnMessage): void
  topicFor(topicName: string): Promise<NamedTopic | null>
  confirmTopic(topicId: number, confirmed: boolean): void
  /** At which QoS the client is to get it. */
  qosTowardsClient(topicName: string, nodeQos: 0 | 1 | 2): 0 | 1 | 2
  /** A message has been taken by the client, or cannot be delivered to it at all. */
  delivered(taken: boolean): void
  /** PUBREC and PUBCOMP for QoS 2 messages of the client. */
  onPubrec(messageId: number): void
  onPubcomp(messageId: number): void
  /** Perhaps everything has been delivered. */
  idle(): void
  gaveUp(): void
}

export class NodeSession implements LinkOwner, DeliveryOwner {
  readonly queue: DeliveryQueue = new DeliveryQueue(this)
  private link: MqttLink | null = null
  private isOpen = false
  private hasMore: (() => boolean) | null = null
  private timer: NodeJS.Timeout | undefined
  /** QoS 2 messages that were not given to the client: their handshake is ended without it. */
  private readonly skipped = new Set<number>()
  /** The last that came from the node, on the monotonic clock. */
  lastActivityMs = 0

  /** @param mqttClientId Of the session at the node. */
  constructor(
    private readonly node: BridgeNode,
    private readonly mqttClientId: string,
    private readonly owner: NodeSessionOwner,
  ) {}

  get retryMs(): number {
    return this.owner.retryMs
  }
  get maxRetries(): number {
    return this.owner.maxRetries
  }

  /** Nothing more is to be delivered just now. Of a node that cannot say, silence is taken for it. */
  isCaughtUp(nowMs: number, silenceMs: number): boolean {
    if (!this.isOpen || !this.queue.isIdle) return false
    return this.hasMore === null ? nowMs - this.lastActivityMs >= silenceMs : !this.hasMore()
  }

  /** @returns the link, opened where it is not; null when the node refuses or the client has gone meanwhile. */
  async open(): Promise<MqttLink | null> {
    const link = (this.link ??= this.connect())
    const opened = await link.opened
    if (link !== this.link) return null
    // From here on silence means something.
    if (opened && !this.isOpen) this.lastActivityMs = performance.now()
    this.isOpen = opened
    return opened ? link : null
  }

  /** The client does not listen any more: what it has not acknowledged comes again after the next `open`. */
  suspend(): void {
    clearTimeout(this.timer)
    this.queue.clear()
    this.skipped.clear()
    this.link?.close()
    this.link = null
    this.isOpen = false
  }

  /** Ends the session at the node: subscriptions and all. */
  async end(): Promise<void> {
    this.suspend()
    const link = new MqttLink(this.node.connect(), this.mqttClientId, true, NOBODY)
    const opened = await link.opened
    link.close()
    if (!opened) throw new Error('the node does not take the connection')
  }

  // ---- what the link tells

  onMessage({ qos, packetId, dup, retain, mqttTopic, payload }: LinkMessage): void {
    this.lastActivityMs = performance.now()
    const { topicPrefix, maxMessageBytes } = this.owner
    const topicName = mqttTopic.slice(topicPrefix.length)
    const delivery: Delivery = {
      qos: this.owner.qosTowardsClient(topicName, qos),
      nodeQos: qos,
      messageId: packetId,
      dup,
      retain,
      topicName,
      payload,
    }
    const fits =
      payload.length + PUBLISH_HEAD_BYTES <= maxMessageBytes &&
      Buffer.byteLength(topicName) + REGISTER_HEAD_BYTES <= maxMessageBytes
    if (fits && topicName !== '' && mqttTopic.startsWith(topicPrefix)) this.queue.add(delivery)
    else this.settled(delivery, false)
  }

  onRelease(packetId: number): void {
    this.lastActivityMs = performance.now()
    if (this.skipped.delete(packetId)) this.link?.pubcomp(packetId)
    else this.queue.release(packetId)
  }

  onPubrec(packetId: number): void {
    this.owner.onPubrec(packetId)
  }

  onPubcomp(packetId: number): void {
    this.owner.onPubcomp(packetId)
  }

  onLinkLost(): void {
    this.link = null
    this.isOpen = false
    this.queue.clear()
    this.timer = setTimeout(() => void this.open(), REOPEN_MS).unref()
  }

  // ---- what the queue asks for

  send(message: SnMessage): void {
    this.owner.send(message)
  }

  topicFor(topicName: string): Promise<NamedTopic | null> {
    return this.owner.topicFor(topicName)
  }

  confirmTopic(topicId: number, confirmed: boolean): void {
    this.owner.confirmTopic(topicId, confirmed)
  }

  settled({ nodeQos, messageId }: Delivery, taken: boolean): void {
    this.owner.delivered(taken)
    const { link } = this
    if (taken) {
      if (nodeQos === 1) link?.puback(messageId)
    } else if (nodeQos > 0) void this.giveUp(link, nodeQos, messageId)
  }

  /** In the ledger before it is acknowledged. What cannot be entered now comes again with the next link. */
  private async giveUp(link: MqttLink | null, nodeQos: 0 | 1 | 2, messageId: number): Promise<void> {
    try {
      await this.node.undeliverable(this.mqttClientId, messageId)
    } catch {
      link?.drop()
      return
    }
    if (link === null || link !== this.link) return
    if (nodeQos === 1) link.puback(messageId)
    else {
      this.skipped.add(messageId)
      link.pubrec(messageId)
    }
  }

  received(messageId: number): void {
    this.link?.pubrec(messageId)
  }

  completed(messageId: number): void {
    this.link?.pubcomp(messageId)
  }

  idle(): void {
    this.lastActivityMs = performance.now()
    this.owner.idle()
  }

  gaveUp(): void {
    this.owner.gaveUp()
  }

  private connect(): MqttLink {
    const stream = this.node.connect({ maxInFlight: MAX_IN_FLIGHT })
    this.hasMore = stream.hasMore?.bind(stream) ?? null
    this.lastActivityMs = performance.now()
    return new MqttLink(stream, this.mqttClientId, false, this)
  }
}

const NOBODY: LinkOwner = {
  onMessage() {},
  onRelease() {},
  onPubrec() {},
  onPubcomp() {},
  onLinkLost() {},
}
