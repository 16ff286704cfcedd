// A device that gives up nothing: publishes QoS 1 messages in order with a bounded window, connects again when the connection is lost, and sends
// again, first and in order, what was not acknowledged. So every message is stored at least once, and the first copies are in order.
//
// mqtt.js keeps no window and fails publishes while it replays its own store, so each connection is a client of its own and the window is ours.

import mqtt, { type MqttClient } from 'mqtt'

export interface Message {
  readonly mqttTopic: string
  readonly payload: string
}

export interface PublisherOptions {
  readonly url: string
  readonly clientId: string
  /** Unacknowledged messages at most. */
  readonly window: number
  readonly reconnectMs: number
}

export class ReliablePublisher {
  /** In the order of their acknowledgement. */
  readonly acked: Message[] = []
  /** Messages sent once more because their acknowledgement never came. */
  resent = 0
  private readonly waiting: Message[] = []
  private inFlight: Message[] = []
  private client: MqttClient | null = null
  private connected = false
  private closed = false
  private timer: NodeJS.Timeout | undefined
  private readonly idleListeners = new Set<() => void>()

  constructor(private readonly options: PublisherOptions) {
    this.connect()
  }

  /** Messages not acknowledged yet. */
  get pending(): number {
    return this.waiting.length + this.inFlight.length
  }

  publish(message: Message): void {
    this.waiting.push(message)
    this.sendMore()
  }

  /** Resolves when everything published so far is acknowledged. */
  async allAcked(): Promise<void> {
    while (this.pending > 0) await new Promise<void>((resolve) => this.idleListeners.add(resolve))
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    this.client?.end(true)
  }

  private connect(): void {
    const { url, clientId } = this.options
    const client = mqtt.connect(url, {
      clientId,
      clean: true,
      reconnectPeriod: 0,
      connectTimeout: 5000,
      protocolVersion: 4,
    })
    this.client = client
    client.on('connect', () => {
      this.connected = true
      this.sendMore()
    })
    client.on('error', () => {}) // 'close' follows
    client.on('close', () => this.lost(client))
  }

  private lost(client: MqttClient): void {
    if (this.closed || this.client !== client) return
    this.connected = false
    this.client = null
    this.resent += this.inFlight.length
    this.waiting.unshift(...this.inFlight)
    this.inFlight = []
    client.end(true)
    this.timer = setTimeout(() => this.connect(), this.options.reconnectMs)
  }

  private sendMore(): void {
    const client = this.client
    if (client === null || !this.connected) return
    while (this.inFlight.length < this.options.window && this.waiting.length > 0) {
      const message = this.waiting.shift() as Message
      this.inFlight.push(message)
      client.publish(message.mqttTopic, message.payload, { qos: 1 }, (error) => {
        if (!error && this.client === client) this.takeAck(message)
      })
    }
  }

  private takeAck(message: Message): void {
    this.inFlight.splice(this.inFlight.indexOf(message), 1)
    this.acked.push(message)
    this.sendMore()
    if (this.pending > 0) return
    for (const listener of this.idleListeners) listener()
    this.idleListeners.clear()
  }
}
