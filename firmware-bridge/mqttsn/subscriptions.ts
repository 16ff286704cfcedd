// What one client has subscribed to, and at which QoS. The node has the same filters, always above QoS 0: a client that sleeps is to find what came
// meanwhile, and the log is where that lies; towards the client the QoS it asked for holds.

import { topicMatches } from '../../src/index.js'
import type { Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { hasWildcard, maySubscribe } from '../devices/topic-rules.js'
import type { ClientTopics } from './client-topics.js'
import { RETURN_CODE, type SnMessage, type SnMessageOf, type SubscribedTopic } from './messages.js'
import type { NodeSession } from './node-session.js'

/** Per client, inclusive. */
const MAX_FILTERS = 100

export type FilterRow = readonly [filter: string, qos: 0 | 1 | 2]

export interface SubscriptionsOwner {
  readonly known: KnownDevice
  readonly session: NodeSession
  readonly topics: ClientTopics
  reject(why: Rejection): void
  send(message: SnMessage): void
  /** Durable when it resolves: there are subscriptions, or no more. */
  save(): Promise<void>
}

export class Subscriptions {
  private readonly filters: Map<string, 0 | 1 | 2>
  /** A SUBSCRIBE that comes again while its answer is on the way is answered alike, and retained messages are not sent twice. */
  private last: { readonly key: string; readonly atMs: number; readonly answer: SnMessage } | null = null

  constructor(
    private readonly owner: SubscriptionsOwner,
    rows: readonly FilterRow[] = [],
  ) {
    this.filters = new Map(rows)
  }

  rows(): FilterRow[] {
    return [...this.filters]
  }

  clear(): void {
    this.filters.clear()
    this.last = null
  }

  /** The client has connected anew: a request like one before is a new one. */
  reconnected(): void {
    this.last = null
  }

  /** @param nodeQos At which the node delivers it. */
  qosTowardsClient(topicName: string, nodeQos: 0 | 1 | 2): 0 | 1 | 2 {
    if (nodeQos !== 1) return nodeQos
    let highest: 0 | 1 | 2 | -1 = -1
    for (const [filter, qos] of this.filters) if (qos > highest && topicMatches(filter, topicName)) highest = qos
    return highest === 0 ? 0 : 1
  }

  /** @param copyMs For how long the same request is taken for a copy. */
  async subscribe({ messageId, qos, topic }: SnMessageOf<'subscribe'>, nowMs: number, copyMs: number): Promise<void> {
    const { owner, last } = this
    const key = JSON.stringify([messageId, qos, topic])
    if (last?.key === key && nowMs - last.atMs < copyMs) {
      owner.send(last.answer)
      return
    }
    const refuse = (returnCode: number, why: Rejection) => {
      owner.reject(why)
      owner.send({ type: 'suback', qos: 0, topicId: 0, messageId, returnCode })
    }
    const filter = this.filterOf(topic)
    if (filter === undefined) return refuse(RETURN_CODE.invalidTopicId, 'topic_invalid')
    if (!maySubscribe(owner.known, filter)) return refuse(RETURN_CODE.notSupported, 'topic_not_allowed')
    const before = this.filters.get(filter)
    if (before === undefined && this.filters.size >= MAX_FILTERS)
      return refuse(RETURN_CODE.notSupported, 'limit_reached')
    const topicId = this.topicIdFor(topic, filter)
    this.filters.set(filter, qos)
    await owner.save()
    const link = await owner.session.open()
    if (link === null) return // the client asks again
    await new Promise<void>((resolve) => {
      link.subscribe(owner.known.topicPrefix + filter, qos === 0 ? 1 : qos, (granted) => {
        // At once: it goes before anything that the subscription brings.
        if (granted === null) {
          if (before === undefined) this.filters.delete(filter)
          refuse(RETURN_CODE.congestion, 'busy')
        } else {
          const answer = { type: 'suback', qos, topicId, messageId, returnCode: RETURN_CODE.accepted } as const
          this.last = { key, atMs: nowMs, answer }
          owner.send(answer)
        }
        resolve()
      })
    })
  }

  async unsubscribe({ messageId, topic }: SnMessageOf<'unsubscribe'>): Promise<void> {
    const { owner } = this
    this.last = null
    const filter = this.filterOf(topic)
    if (filter !== undefined && this.filters.has(filter)) {
      const link = await owner.session.open()
      if (link === null) return // the client asks again
      const whole = owner.known.topicPrefix + filter
      if (!(await new Promise<boolean>((resolve) => link.unsubscribe(whole, resolve)))) return
      this.filters.delete(filter)
      await owner.save()
    }
    owner.send({ type: 'unsuback', messageId })
  }

  private filterOf(topic: SubscribedTopic): string | undefined {
    return topic.topicIdType === 'predefined' ? this.owner.topics.predefinedName(topic.topicId) : topic.topicName
  }

  /** 0 where messages will come with other ids: wildcards, short names. */
  private topicIdFor(topic: SubscribedTopic, filter: string): number {
    if (topic.topicIdType === 'predefined') return topic.topicId
    if (hasWildcard(filter) || Buffer.byteLength(filter) === 2) return 0
    return this.owner.topics.register(filter) ?? 0
  }
}
