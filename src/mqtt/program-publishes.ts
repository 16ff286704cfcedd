// Publishing by programs rather than clients: HTTP, downlinks, the firmware bridge, other nodes, wills. Used by the front.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import { partitionOf } from '../base/murmur2.js'
import type { Commit } from '../log/types.js'
import { type Offset, type PartitionId, toOffset } from '../record/record.js'
import type { PublishMessage } from './mqtt-front-options.js'
import { type NumberedBy, type NumberedPublish, NumberedPublishes } from './numbered-publishes.js'
import { NO_HEADERS, type PublishPath } from './publish-path.js'
import type { RetainedMessages } from './retained-messages.js'
import type { Router, TopicEntry } from './router.js'
import { SettableCommit } from './settable-commit.js'

const DURABLE = SettableCommit.settled(null)

export interface Published {
  readonly partition: PartitionId
  readonly offset: Offset
  /** What must be durable before the message may be acknowledged. */
  readonly commit: Commit
}

export class ProgramPublishes {
  private readonly numbered = new NumberedPublishes()

  constructor(
    private readonly router: Router,
    private readonly publishPath: PublishPath,
    private readonly retained: RetainedMessages,
    private readonly clock: Clock,
  ) {}

  /** See MqttFront.publish. */
  publish(message: PublishMessage): Commit {
    return this.publishTo(this.writableEntry(message), message)
  }

  /** See MqttFront.publishAll. */
  publishAll(messages: readonly PublishMessage[]): Published[] {
    const entries = messages.map((message) => this.writableEntry(message))
    return messages.map((message, i) => {
      const { stream } = entries[i]
      const partition = partitionFor(entries[i], message.clientId)
      const offset = stream?.nextOffset(partition) ?? toOffset(0)
      return { partition, offset, commit: this.publishTo(entries[i], message) }
    })
  }

  /** See MqttFront.routeOf. */
  routeOf(mqttTopic: string, clientId: string): { readonly stream: string; readonly partition: PartitionId } | null {
    const topic = Buffer.from(mqttTopic)
    const entry = this.router.resolve(topic, 0, topic.length)
    if ('problem' in entry || !entry.routed || entry.stream === null) return null
    return { stream: entry.stream.name, partition: partitionFor(entry, clientId) }
  }

  /** See MqttFront.retainAgain. */
  retainAgain(message: PublishMessage): Commit {
    const entry = this.writableEntry(message)
    return this.retained.store(entry, message.qos, Buffer.from(message.payload), DURABLE) ?? DURABLE
  }

  /** See MqttFront.publishNumbered. */
  publishNumbered(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.publishNumberedTo(this.writableEntry(message), message, by)
  }

  /** See MqttFront.republish. */
  republish(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.publishNumberedTo(
      this.writableEntry(message, (entry) => this.router.republishedEntry(entry)),
      message,
      by,
    )
  }

  private publishNumberedTo(entry: TopicEntry, message: PublishMessage, by: NumberedBy): NumberedPublish {
    if (entry.stream === null || (message.qos === 0 && !entry.routed))
      throw new RangeError('only a message that is stored can be numbered')
    const nowMs = this.clock.wallMs()
    const published = this.numbered.publish(by, entry.stream, nowMs, () => this.publishTo(entry, message))
    if (!published.duplicate || message.retain !== true) return published
    // A crash may have come between the record and the retained message: only the record is known to be there.
    const commit = this.retained.store(entry, message.qos, Buffer.from(message.payload), published.commit)
    return { commit: commit ?? published.commit, duplicate: true }
  }

  private writableEntry(message: PublishMessage, placeOf = (entry: TopicEntry): TopicEntry => entry): TopicEntry {
    const { mqttTopic } = message
    const known = this.router.resolvePublishable(mqttTopic)
    if ('problem' in known) throw new SluiceError('INVALID_TOPIC', `topic ${known.problem}`, { mqttTopic })
    const entry = placeOf(known)
    if (!this.publishPath.hasRoom(entry, message.qos, message.retain ?? false))
      throw new SluiceError(
        'TOO_MANY_REQUESTS',
        'more is being published than the disk can take: try again in a moment',
      )
    return entry
  }

  private publishTo(entry: TopicEntry, message: PublishMessage): Commit {
    this.publishPath.timestampMs = this.clock.wallMs()
    const { payload } = message
    const publisher = { clientIdBytes: Buffer.from(message.clientId ?? ''), author: message.author ?? null }
    const { publishPath } = this
    publishPath.headers = message.headers ?? NO_HEADERS
    try {
      const retain = message.retain ?? false
      return publishPath.publish(entry, publisher, message.qos, retain, payload, 0, payload.length) ?? DURABLE
    } finally {
      publishPath.headers = NO_HEADERS
    }
  }
}

function partitionFor({ stream, partition, keyedByClient }: TopicEntry, clientId = ''): PartitionId {
  if (!keyedByClient || stream === null) return partition
  return partitionOf(Buffer.from(clientId), stream.partitions) as PartitionId
}
