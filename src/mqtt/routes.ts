// Which stream and partition a message goes to: the first stream one of whose filters matches takes it, and the stream's key rule picks
// the partition, by Kafka's hash. Pure; the router caches what this decides.

import { partitionOf } from '../base/murmur2.js'
import { topicMatches } from '../base/topic-filter.js'
import type { PartitionId } from '../record/record.js'

export interface StreamRoute {
  readonly stream: string
  /** MQTT topic filters. */
  readonly topics: readonly string[]
  /** What decides the partition: `topic`, `client`, or `level:N`, the Nth level of the topic name from 1 (the whole name where it is shorter). */
  readonly key: string
}

export type PartitionRule =
  | { readonly by: 'topic' }
  | { readonly by: 'client' }
  | { readonly by: 'level'; readonly level: number }

/** @throws RangeError for a rule that is none of `topic`, `client`, `level:N`. */
export function parsePartitionRule(key: string): PartitionRule {
  if (key === 'topic' || key === 'client') return { by: key }
  const level = /^level:([1-9][0-9]?)$/.exec(key)
  if (level === null) throw new RangeError(`not a partition key: ${key} (use topic, client or level:N)`)
  return { by: 'level', level: Number(level[1]) }
}

/** The route that takes this topic name, or null. */
export function routeOf<R extends StreamRoute>(routes: readonly R[], mqttTopic: string): R | null {
  return routes.find((route) => route.topics.some((filter) => topicMatches(filter, mqttTopic))) ?? null
}

/** The partition for a topic under a rule that does not look at the client. */
export function partitionOfTopic(rule: PartitionRule, topic: Buffer, partitions: number): PartitionId {
  if (partitions === 1 || rule.by === 'client') return 0 as PartitionId
  return partitionOf(rule.by === 'level' ? levelOf(topic, rule.level) : topic, partitions) as PartitionId
}

const SLASH = 47

function levelOf(topic: Buffer, level: number): Buffer {
  let start = 0
  for (let n = 1; n < level; n++) {
    const slash = topic.indexOf(SLASH, start)
    if (slash === -1) return topic
    start = slash + 1
  }
  const end = topic.indexOf(SLASH, start)
  return topic.subarray(start, end === -1 ? topic.length : end)
}
