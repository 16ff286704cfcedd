// `$SYS/broker/…` and what other parts of the node tell under `$SYS/`: what the broker tells of itself, under mosquitto's names for what both have, so that dashboards made for it work here.
// Values are told every ten seconds where they have changed, and at once to whoever subscribes; none is ever stored.

import type { Clock } from '../base/clock.js'
import { topicMatches } from '../base/topic-filter.js'
import type { MqttStats } from './mqtt-front-options.js'

const INTERVAL_MS = 10_000
const ROOT = '$SYS/broker/'

export interface SysTopicsOptions {
  readonly stats: () => MqttStats
  /** Further topics, all below `$SYS/`, and their values. */
  readonly more?: (() => Iterable<readonly [mqttTopic: string, value: string]>) | undefined
  /** Delivers at QoS 0 to whoever is subscribed. */
  readonly deliver: (mqttTopic: string, payload: Buffer) => void
  readonly version: string
  readonly clock: Clock
}

export class SysTopics {
  private readonly startedMs: number
  private readonly told = new Map<string, string>()
  private mostConnections = 0
  private cancel: () => void

  constructor(private readonly options: SysTopicsOptions) {
    this.startedMs = options.clock.monotonicMs()
    this.cancel = this.tellLater()
  }

  /** What a new subscriber is sent, as retained messages are. */
  *matching(filter: string): Iterable<{ readonly mqttTopic: string; readonly payload: Buffer; readonly qos: 0 }> {
    if (!filter.startsWith('$SYS/')) return
    for (const [mqttTopic, value] of this.values()) {
      if (topicMatches(filter, mqttTopic)) yield { mqttTopic, payload: Buffer.from(value), qos: 0 }
    }
  }

  /** What has changed since it was told last. */
  tell(): void {
    for (const [mqttTopic, value] of this.values()) {
      if (this.told.get(mqttTopic) === value) continue
      this.told.set(mqttTopic, value)
      this.options.deliver(mqttTopic, Buffer.from(value))
    }
  }

  stop(): void {
    this.cancel()
  }

  private tellLater(): () => void {
    return this.options.clock.after(INTERVAL_MS, () => {
      this.tell()
      this.cancel = this.tellLater()
    })
  }

  private values(): (readonly [mqttTopic: string, value: string])[] {
    const stats = this.options.stats()
    const { connections, offlineSessions } = stats
    this.mostConnections = Math.max(this.mostConnections, connections)
    const uptimeSeconds = Math.floor((this.options.clock.monotonicMs() - this.startedMs) / 1000)
    const numbers: Record<string, number> = {
      'clients/connected': connections,
      'clients/active': connections,
      'clients/disconnected': offlineSessions,
      'clients/inactive': offlineSessions,
      'clients/total': connections + offlineSessions,
      'clients/maximum': this.mostConnections,
      'subscriptions/count': stats.subscriptions,
      'shared_subscriptions/count': stats.sharedGroups,
      'retained messages/count': stats.retainedMessages,
      'publish/messages/received': stats.receivedMessages,
      'publish/messages/sent': stats.deliveredMessages,
      'publish/messages/dropped': stats.droppedMessages,
      'publish/bytes/received': stats.receivedPayloadBytes,
      'bytes/received': stats.receivedBytes,
      'bytes/sent': stats.sentBytes,
    }
    return [
      [`${ROOT}version`, this.options.version],
      [`${ROOT}uptime`, `${uptimeSeconds} seconds`],
      ...Object.entries(numbers).map(([name, value]): [string, string] => [ROOT + name, String(value)]),
      ...(this.options.more?.() ?? []),
    ]
  }
}
