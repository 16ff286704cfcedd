// What goes to one device: the messages of its MQTT session at the node, numbered, at most a window of them unacknowledged, sent again from the oldest
// on. The node is acknowledged once the device has been heard to have a message, so that whatever is on its way outlives everything but the device. Holds
// at most what the node lets be under way, and a few of QoS 0. Made by SerialSession for a device that takes messages.

import type { BridgeNode, DurableTable } from '../devices/bridge-node.js'
import type { Device } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { type LinkMessage, type LinkOwner, MqttLink } from '../devices/mqtt-link.js'
import { maySubscribe } from '../devices/topic-rules.js'
import type { BridgeMessage, SessionMessage } from './messages.js'
import { SUBSCRIBE_REFUSED, UNSUBSCRIBED } from './messages.js'

/** Requests of a device that wait for the node, inclusive. */
const MAX_REQUESTS = 16
/** Filters a device may ask for in a session, inclusive. */
const MAX_SUBSCRIPTIONS = 32
const RETRY_MS = 1000
const MAX_RETRY_MS = 30_000
const REOPEN_MS = 1000
/** Around topic and payload at most, bytes: type, number, two lengths, flags, counter and MAC. */
const FRAME_BYTES = 1 + 5 + 3 + 3 + 1 + 12

export interface DownlinkHost {
  readonly node: Pick<BridgeNode, 'connect' | 'undeliverable'>
  readonly known: KnownDevice
  readonly device: Device
  /** Which devices have a session at the node. */
  readonly sessions: DurableTable<boolean>
  /** Messages the device takes unacknowledged, inclusive. */
  readonly receiveWindow: number
  /** Longest content of a frame that it takes, bytes, inclusive. */
  readonly maxFrameBytes: number
  send(message: BridgeMessage): void
  /** A message the device cannot take has been put aside. */
  onUndeliverable(mqttTopic: string, bytes: number): void
}

interface Queued {
  readonly message: LinkMessage
  /** Where it is to be acknowledged. */
  readonly link: MqttLink | null
}

export class Downlink implements LinkOwner {
  private link: MqttLink | null = null
  private opening: Promise<MqttLink | null> | null = null
  /** Unacknowledged, oldest first, those beyond `sent` not sent yet. */
  private readonly queue: Queued[] = []
  private sent = 0
  /** The number of the oldest in the queue. */
  private first = 1
  private retryMs = RETRY_MS
  /** The message that was sent again because the device missed it. */
  private missed = 0
  private retryTimer: NodeJS.Timeout | undefined
  private reopenTimer: NodeJS.Timeout | undefined
  private readonly filters = new Set<string>()
  private requests = 0
  private ended = false

  constructor(private readonly host: DownlinkHost) {
    void this.resume()
  }

  /** The device is not there any more: what it has not acknowledged comes again in its next session. */
  end(): void {
    this.ended = true
    clearTimeout(this.retryTimer)
    clearTimeout(this.reopenTimer)
    this.link?.close()
    this.link = null
    this.queue.length = 0
    this.sent = 0
  }

  subscribe({ id, filter, qos }: SessionMessage & { type: 'subscribe' }): Promise<void> {
    return this.request(id, () => this.subscribed(filter, qos))
  }

  unsubscribe({ id, filter }: SessionMessage & { type: 'unsubscribe' }): Promise<void> {
    return this.request(id, async () => {
      this.filters.delete(filter)
      const link = await this.open()
      if (link === null) return SUBSCRIBE_REFUSED.busy
      const done = await new Promise<boolean>((resolve) => link.unsubscribe(this.whole(filter), resolve))
      return done ? UNSUBSCRIBED : SUBSCRIBE_REFUSED.busy
    })
  }

  /** The device has all up to `number`. */
  received(number: number): void {
    const count = number - this.first + 1
    if (count === 0 && this.sent > 0 && this.missed !== this.first) {
      // It answers, and not with what it was sent: once at once, then by the clock.
      this.missed = this.first
      this.sendAgain()
    }
    if (count < 1 || count > this.sent) return
    for (const { message, link } of this.queue.splice(0, count)) {
      link?.puback(message.packetId)
      this.host.device.count('delivered')
    }
    this.first += count
    this.sent -= count
    this.retryMs = RETRY_MS
    clearTimeout(this.retryTimer)
    this.retryTimer = undefined
    this.sendMore()
  }

  // ---- what the link tells

  onMessage(message: LinkMessage): void {
    const { mqttTopic, payload, qos } = message
    const { host } = this
    const fits = Buffer.byteLength(this.short(mqttTopic)) + payload.length + FRAME_BYTES <= host.maxFrameBytes
    if (!fits || !mqttTopic.startsWith(host.known.topicPrefix)) {
      host.onUndeliverable(mqttTopic, payload.length)
      host.device.reject('too_large')
      if (qos > 0) void this.giveUp(this.link, message.packetId)
    } else if (qos === 0) {
      this.sendMessage(message, 0)
    } else {
      this.queue.push({ message, link: this.link })
      this.sendMore()
    }
  }

  /** QoS 2 is not subscribed to. */
  onRelease(): void {}
  onPubrec(): void {}
  onPubcomp(): void {}

  /** What was not acknowledged comes again from the node. What has been sent stays as well: the device counts. */
  onLinkLost(): void {
    this.link = null
    this.opening = null
    this.queue.length = this.sent
    if (!this.ended) this.reopenTimer = setTimeout(() => void this.open(), REOPEN_MS).unref()
  }

  // ----

  /** In the ledger before it is acknowledged. What cannot be entered now comes again with the next link. */
  private async giveUp(link: MqttLink | null, packetId: number): Promise<void> {
    try {
      await this.host.node.undeliverable(this.clientId, packetId)
      link?.puback(packetId)
    } catch {
      link?.drop()
    }
  }

  private get clientId(): string {
    return `serial/${this.host.known.id}`
  }

  private async resume(): Promise<void> {
    const hasSession = await this.host.sessions.get(this.host.known.id).catch(() => undefined)
    if (hasSession && !this.ended) await this.open()
  }

  private async request(id: number, result: () => Promise<number>): Promise<void> {
    if (this.requests >= MAX_REQUESTS) {
      this.host.send({ type: 'subscribed', id, result: SUBSCRIBE_REFUSED.busy })
      return
    }
    this.requests += 1
    const answer = await result()
    this.requests -= 1
    if (!this.ended) this.host.send({ type: 'subscribed', id, result: answer })
  }

  private async subscribed(filter: string, qos: 0 | 1): Promise<number> {
    const { known, sessions } = this.host
    if (!maySubscribe(known, filter)) return SUBSCRIBE_REFUSED.notAllowed
    if (!this.filters.has(filter) && this.filters.size >= MAX_SUBSCRIPTIONS) return SUBSCRIBE_REFUSED.limit
    try {
      // Before the session is made: one that nobody remembers would hold messages for ever.
      await sessions.put(known.id, true)
    } catch {
      return SUBSCRIBE_REFUSED.busy
    }
    const link = await this.open()
    if (link === null) return SUBSCRIBE_REFUSED.busy
    const granted = await new Promise<number | null>((resolve) => link.subscribe(this.whole(filter), qos, resolve))
    if (granted === null) return SUBSCRIBE_REFUSED.topic
    this.filters.add(filter)
    return granted
  }

  /** @returns null when the node does not take the connection, or the device has gone meanwhile. */
  private open(): Promise<MqttLink | null> {
    if (this.ended) return Promise.resolve(null)
    this.opening ??= this.connect()
    return this.opening
  }

  private async connect(): Promise<MqttLink | null> {
    const link = new MqttLink(this.host.node.connect(), this.clientId, false, this)
    this.link = link
    const opened = await link.opened
    return opened && this.link === link ? link : null
  }

  private sendMore(): void {
    while (this.sent < this.queue.length && this.sent < this.host.receiveWindow) {
      const number = this.first + this.sent
      const { message } = this.queue[this.sent]
      // Counted first: the answer may come before this returns.
      this.sent += 1
      this.sendMessage(message, number)
    }
    if (this.sent > 0) this.retryTimer ??= setTimeout(() => this.retry(), this.retryMs).unref()
  }

  /** No word of the device: from the oldest on again, more seldom from time to time. */
  private retry(): void {
    this.retryTimer = undefined
    this.retryMs = Math.min(2 * this.retryMs, MAX_RETRY_MS)
    this.sendAgain()
    this.sendMore()
  }

  private sendAgain(): void {
    const { first } = this
    for (const [i, { message }] of this.queue.slice(0, this.sent).entries()) this.sendMessage(message, first + i)
  }

  private sendMessage({ mqttTopic, payload, retain }: LinkMessage, number: number): void {
    this.host.send({ type: 'message', number, mqttTopic: this.short(mqttTopic), payload, retain })
  }

  private whole(filter: string): string {
    return this.host.known.topicPrefix + filter
  }

  private short(mqttTopic: string): string {
    return mqttTopic.slice(this.host.known.topicPrefix.length)
  }
}
