// From the bytes of a topic name, as they stand in a PUBLISH, to everything the publish path needs to know of it, without decoding
// a name that was seen lately. Used by the gate and the publish path.
//
// A set-associative cache of fixed size: a topic hashes to a set of four slots; a slot not used since the last eviction in its set gives way.
// Names longer than MAX_CACHED_TOPIC_BYTES are worked out anew each time, so that the cache is bounded in bytes as well.

import { isUtf8 } from 'node:buffer'
import { assert } from '../base/assert.js'
import { topicNameProblem } from '../base/topic-filter.js'
import type { Stream, StreamCatalog } from '../log/types.js'
import type { PartitionId } from '../record/record.js'
import { NODE_TOPIC_PREFIX } from './node-links.js'
import { isReserved } from './reserved-topics.js'
import { type PartitionRule, parsePartitionRule, partitionOfTopic, routeOf, type StreamRoute } from './routes.js'
import type { TopicMatches } from './subscriber.js'

/** The stream of what no other stream takes. */
export const UNROUTED_STREAM = 'unrouted'
const WAYS = 4
const MAX_CACHED_TOPIC_BYTES = 256

/** What is known of one topic name. */
export interface TopicEntry {
  readonly hash: number
  /** The name in UTF-8: the key of its records. */
  readonly bytes: Buffer
  readonly mqttTopic: string
  /** Only the node itself publishes there. */
  readonly reserved: boolean
  /** The name begins with $sluice/: for other nodes, not for streams and subscribers. */
  readonly forNodes: boolean
  /** Where messages are stored; `unrouted` when no configured stream takes them, null when the catalog has not even that. */
  readonly stream: Stream | null
  /** False: only QoS 1 and 2 are stored (in `unrouted`). */
  readonly routed: boolean
  /** Among the streams of the router, for arrays. */
  readonly streamIndex: number
  readonly partition: PartitionId
  /** The partition depends on the client: `partition` is not to be used. */
  readonly keyedByClient: boolean
  /** Who is subscribed, as of `matches.version`. Kept here by the fan-out. */
  matches: TopicMatches | null
  /** The same name for what is republished; made when it is first asked for. */
  republished: TopicEntry | null
  recentlyUsed: boolean
}

export interface InvalidTopic {
  /** A phrase that follows "topic …". */
  readonly problem: string
}

interface ResolvedRoute extends StreamRoute {
  readonly target: Stream
  readonly rule: PartitionRule
  readonly index: number
}

export class Router {
  private readonly slots: (TopicEntry | undefined)[]
  private readonly setMask: number
  private readonly routes: readonly ResolvedRoute[]
  private readonly unrouted: Stream | null
  private readonly republished: Stream | null
  /** By `TopicEntry.streamIndex`. */
  readonly streams: readonly Stream[]
  private readonly unroutedIndex: number

  /**
   * @param cachedTopics Names remembered at most; rounded up to a power of two.
   * @param republished The stream that holds what is republished of mirrors; none unless told.
   * @throws SluiceError UNKNOWN_STREAM_OR_PARTITION for a route to no stream; RangeError for a bad key rule.
   */
  constructor(catalog: StreamCatalog, routes: readonly StreamRoute[], cachedTopics: number, republished?: string) {
    this.routes = routes.map((route, index) => {
      const target = catalog.stream(route.stream)
      return { ...route, target, index, rule: parsePartitionRule(route.key) }
    })
    this.unrouted = catalog.streams.get(UNROUTED_STREAM) ?? null
    this.republished = republished === undefined ? null : catalog.stream(republished)
    const targets = this.routes.map(({ target }) => target)
    // A configuration lists it as well, without topics.
    this.streams = this.unrouted === null || targets.includes(this.unrouted) ? targets : [...targets, this.unrouted]
    this.unroutedIndex = this.unrouted === null ? targets.length : this.streams.indexOf(this.unrouted)
    assert(this.republished === null || this.streams.includes(this.republished), 'what is republished is delivered')
    const sets = 2 ** Math.ceil(Math.log2(Math.max(1, cachedTopics / WAYS)))
    this.setMask = sets - 1
    this.slots = new Array(sets * WAYS).fill(undefined)
  }

  /** @returns what is known of the topic name buffer[start, end), or why it is not one. */
  resolve(buffer: Buffer, start: number, end: number): TopicEntry | InvalidTopic {
    const hash = hashOf(buffer, start, end)
    const first = (hash & this.setMask) * WAYS
    for (let slot = first; slot < first + WAYS; slot++) {
      const entry = this.slots[slot]
      if (entry !== undefined && entry.hash === hash && sameBytes(entry.bytes, buffer, start, end)) {
        entry.recentlyUsed = true
        return entry
      }
    }
    const made = this.make(hash, buffer, start, end)
    if (!('problem' in made) && end - start <= MAX_CACHED_TOPIC_BYTES) this.slots[this.victim(first)] = made
    return made
  }

  /** What is known of a topic that a will or a program publishes to, or why none of them may, whatever the access rules say. */
  resolvePublishable(mqttTopic: string): TopicEntry | InvalidTopic {
    const topic = Buffer.from(mqttTopic)
    const entry = this.resolve(topic, 0, topic.length)
    if ('problem' in entry || !(entry.forNodes || entry.reserved)) return entry
    return { problem: 'begins with a name that only the node itself uses' }
  }

  /** As `entry`, for a record of a mirror: its stream is the one for these, whatever the routes say. */
  republishedEntry(entry: TopicEntry): TopicEntry {
    if (entry.republished !== null) return entry.republished
    const { republished: stream } = this
    assert(stream !== null, 'nothing is republished without a stream for it')
    const streamIndex = this.streams.indexOf(stream)
    const place = { stream, streamIndex, routed: true, partition: 0 as PartitionId, keyedByClient: false }
    entry.republished = { ...entry, ...place, matches: null }
    return entry.republished
  }

  private victim(first: number): number {
    for (let slot = first; slot < first + WAYS; slot++) if (this.slots[slot]?.recentlyUsed !== true) return slot
    for (let slot = first; slot < first + WAYS; slot++) this.slots[slot]!.recentlyUsed = false
    return first
  }

  private make(hash: number, buffer: Buffer, start: number, end: number): TopicEntry | InvalidTopic {
    // Of its own, not from the pool: it lives long, and would pin 8 KB of strangers.
    const bytes = Buffer.allocUnsafeSlow(end - start)
    buffer.copy(bytes, 0, start, end)
    if (!isUtf8(bytes)) return { problem: 'is not valid UTF-8' } // [MQTT-1.5.3-1]
    const mqttTopic = bytes.toString('utf8')
    const problem = topicNameProblem(mqttTopic) // [MQTT-3.3.2-2, MQTT-4.7.3-1, MQTT-1.5.3-2]
    if (problem !== null) return { problem }
    const route = routeOf(this.routes, mqttTopic)
    const stream = route?.target ?? this.unrouted
    const rule: PartitionRule = route?.rule ?? { by: 'topic' }
    return {
      hash,
      bytes,
      mqttTopic,
      reserved: isReserved(mqttTopic),
      forNodes: mqttTopic.startsWith(NODE_TOPIC_PREFIX),
      stream,
      routed: route !== null,
      streamIndex: route?.index ?? this.unroutedIndex,
      partition: partitionOfTopic(rule, bytes, stream?.partitions ?? 1),
      keyedByClient: rule.by === 'client' && (stream?.partitions ?? 1) > 1,
      matches: null,
      republished: null,
      recentlyUsed: true,
    }
  }
}

/** Whether `bytes` equals buffer[start, end). A loop, since most names are short and a call into C++ costs more. */
export function sameBytes(bytes: Buffer, buffer: Buffer, start: number, end: number): boolean {
  const length = bytes.length
  if (length !== end - start) return false
  for (let i = 0; i < length; i++) if (bytes[i] !== buffer[start + i]) return false
  return true
}

/** FNV-1a, 32 bit, with a last mix: the low bits choose the set. */
function hashOf(buffer: Buffer, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ buffer[i], 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}
