// What an upstream sends to the devices: subscriptions over there, in a session that the broker keeps while we are away, whose messages enter
// here by the ordinary publish path. A message is acknowledged over there once it is durable here, and in the order of receipt
// [MQTT-4.6.0-2]; what was not comes again after the next connection. Every stored one carries the header `sluice.via` with the name of the
// upstream, by which the sender knows not to send it back.
//
//   broker ─PUBLISH─▶ take ─▶ publish path ─▶ durable ─▶ PUBACK        room for MAX_WAITING; beyond it the socket is not read

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { mapTopic, type TopicMapping } from '../base/topic-mapping.js'
import type { Commit } from '../log/types.js'
import type { RecordHeader } from '../record/record.js'

/** Name of the header that says by which upstream a record came down. */
export const VIA_HEADER = 'sluice.via'

export interface DownlinkPublish {
  readonly mqttTopic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly headers: readonly RecordHeader[]
}

export interface DownlinkOptions {
  readonly upstream: string
  readonly mappings: readonly TopicMapping[]
  /** The publish path. @throws SluiceError, with nothing done, when the message is not taken. */
  readonly publish: (message: DownlinkPublish) => Pick<Commit, 'onSettled'>
  /** What the broker is known to hold a subscription for in our session. */
  readonly subscribed: () => readonly string[]
  readonly onSubscribed: (filters: readonly string[]) => void
  readonly clock: Clock
  readonly logger: Logger
}

export interface DownlinkMessage {
  readonly mqttTopic: string
  readonly payload: Uint8Array
  readonly qos: number
  readonly retain: boolean
  readonly packetId: number
}

/** Taken from one connection and not yet acknowledged, inclusive. */
export const MAX_WAITING = 1_000
/** How long a message that the log does not take at the moment waits. */
const RETRY_MS = 500
/** These mean "not now". */
const PASSING = ['TOO_MANY_REQUESTS', 'STORAGE_FULL', 'STORAGE_READ_ONLY']

export class Downlink {
  /** Messages that are durable here, or delivered where they had QoS 0, since start. */
  receivedTotal = 0
  /** Messages that could not be published here, since start. */
  refusedTotal = 0
  private readonly headers: readonly RecordHeader[]

  constructor(readonly options: DownlinkOptions) {
    this.headers = [{ key: VIA_HEADER, value: Buffer.from(options.upstream) }]
  }

  get filters(): string[] {
    return [...new Set(this.options.mappings.map(({ from }) => from))]
  }

  /** The topic here for a topic there; null for what is not for us. */
  localTopic(mqttTopic: string): string | null {
    for (const mapping of this.options.mappings) {
      const mapped = mapTopic(mapping, mqttTopic)
      if (mapped !== null) return mapped
    }
    return null
  }

  /** @throws as `publish`. */
  publish({ payload, qos, retain }: DownlinkMessage, mqttTopic: string): Pick<Commit, 'onSettled'> {
    const { headers } = this
    return this.options.publish({ mqttTopic, payload, qos: qos > 0 ? 1 : 0, retain, headers })
  }
}

interface Waiting {
  readonly message: DownlinkMessage
  readonly mqttTopic: string
  state: 'new' | 'published' | 'done'
}

/** The downlink's side of one connection. */
export class DownlinkFlow {
  private readonly waiting: Waiting[] = []
  private held: (() => void) | null = null
  private cancelRetry = (): void => {}
  private retrying = false
  private over = false

  /** @param ack Tells the broker, for several messages at once. */
  constructor(
    private readonly downlink: Downlink,
    private readonly ack: (packetIds: readonly number[]) => void,
  ) {}

  /** @returns false for a message that is none of the downlink's. */
  take(message: DownlinkMessage): boolean {
    const mqttTopic = this.downlink.localTopic(message.mqttTopic)
    if (mqttTopic === null) return false
    const entry: Waiting = { message, mqttTopic, state: 'new' }
    if (message.qos > 0) this.waiting.push(entry)
    if (this.retrying && message.qos > 0) return true
    if (!this.offer(entry)) this.tryAgain()
    this.ackDone()
    return true
  }

  /** Calls back when another message may come: at once while there is room. */
  whenRoom(callback: () => void): void {
    if (this.waiting.length < MAX_WAITING) callback()
    else this.held = callback
  }

  /** The connection is over: what is not durable yet comes again. */
  end(): void {
    this.over = true
    this.cancelRetry()
  }

  private publishWaiting(): void {
    if (this.over || this.retrying) return
    const stuck = this.waiting.find((entry) => entry.state === 'new' && !this.offer(entry))
    if (stuck !== undefined) this.tryAgain()
    this.ackDone()
  }

  /** @returns false if it is not taken now. */
  private offer(entry: Waiting): boolean {
    const { downlink } = this
    try {
      const commit = downlink.publish(entry.message, entry.mqttTopic)
      entry.state = 'published'
      commit.onSettled((error) => this.settled(entry, error))
      return true
    } catch (error) {
      const passing = error instanceof SluiceError && PASSING.includes(error.code)
      if (passing && entry.message.qos > 0) return false
      if (error instanceof SluiceError && error.code === 'SHUTTING_DOWN') return entry.message.qos === 0
      entry.state = 'done'
      downlink.refusedTotal += 1
      const { mqttTopic } = entry
      downlink.options.logger.warn('a message from the upstream cannot be published here', {
        mqtt_topic: mqttTopic,
        reason: messageOf(error),
      })
      return true
    }
  }

  private settled(entry: Waiting, error: SluiceError | null): void {
    if (error === null) {
      entry.state = 'done'
      this.downlink.receivedTotal += 1
      this.ackDone()
    } else if (!this.over && entry.message.qos > 0) {
      entry.state = 'new'
      this.tryAgain()
    }
  }

  /** The longest prefix that is done. */
  private ackDone(): void {
    let done = 0
    while (this.waiting[done]?.state === 'done') done += 1
    if (done === 0 || this.over) return
    this.ack(this.waiting.splice(0, done).map(({ message }) => message.packetId))
    const { held } = this
    this.held = null
    held?.()
  }

  private tryAgain(): void {
    if (this.retrying || this.over) return
    this.retrying = true
    this.cancelRetry = this.downlink.options.clock.after(RETRY_MS, () => {
      this.retrying = false
      this.publishWaiting()
    })
  }
}

/** Whether a record came down from this upstream, so that it must not go up there again. */
export function cameFrom(headers: readonly RecordHeader[], upstream: string): boolean {
  return headers.some(
    ({ key, value }) => key === VIA_HEADER && value !== null && Buffer.from(value).equals(Buffer.from(upstream)),
  )
}
