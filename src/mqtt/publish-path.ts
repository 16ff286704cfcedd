// The one way by which a message enters: from the gate, as a will, from HTTP, a downlink or the firmware bridge. Appends it to its
// stream and hands it to the fan-out. Makes no object per message.

import { partitionOf } from '../base/murmur2.js'
import type { Commit } from '../log/types.js'
import {
  attributesOf,
  type Offset,
  type PartitionId,
  type Qos,
  type RecordHeader,
  type RecordInput,
} from '../record/record.js'
import type { Who } from './acl-file.js'
import { DroppedDeliveries } from './dropped-deliveries.js'
import type { FanOut } from './fan-out.js'
import type { RetainedFacts, RetainedMessages } from './retained-messages.js'
import type { TopicEntry } from './router.js'
import { partitionName } from './session.js'
import type { StoredDelivery } from './stored-delivery.js'

/** No message that a client publishes has any. */
export const NO_HEADERS: readonly RecordHeader[] = []

export interface Publisher {
  /** What key `client` hashes, UTF-8. */
  readonly clientIdBytes: Uint8Array
  /** Whose right to publish to its topic a retained message rests on; null: nobody's. */
  readonly author: Who | null
}

export class PublishPath {
  /** Messages taken, their payloads, and of the messages those no configured stream took. */
  messages = 0
  payloadBytes = 0
  unrouted = 0
  /** Stored records that somebody was not given. */
  readonly dropped = new DroppedDeliveries()
  /** Messages not taken: denied, or refused by the log. */
  refused = 0
  /** Wall-clock time of what is appended next, milliseconds; set by the caller, once per chunk rather than per message. */
  timestampMs = 0
  /** Headers of what is appended next; set by the caller, and taken away again. */
  headers: readonly RecordHeader[] = NO_HEADERS
  private readonly record: RecordInput = {
    timestampMs: 0,
    key: null,
    value: null,
    valueStart: 0,
    valueEnd: 0,
    headers: NO_HEADERS,
    attributes: 0,
  }

  constructor(
    private readonly fanOut: FanOut,
    private readonly retained: RetainedMessages,
    private readonly stored: StoredDelivery,
  ) {}

  /** False while what would keep this message has too much waiting: do not publish, await `whenRoom`. */
  hasRoom(entry: TopicEntry, qos: Qos, retain: boolean): boolean {
    if (retain && !this.retained.hasRoom) return false
    return entry.stream === null || (qos === 0 && !entry.routed) || entry.stream.hasRoom
  }

  whenRoom(entry: TopicEntry): Promise<void> {
    return this.retained.hasRoom ? entry.stream!.whenRoom() : this.retained.whenRoom()
  }

  /**
   * Publishes value[start, end), which is copied.
   * @returns what must be durable before the message may be acknowledged; null where nothing was stored.
   * @throws SluiceError as `Stream.append` does; then nothing has happened.
   */
  publish(
    entry: TopicEntry,
    publisher: Publisher,
    qos: Qos,
    retain: boolean,
    value: Uint8Array,
    start: number,
    end: number,
  ): Commit | null {
    let commit: Commit | null = null
    let { partition } = entry
    const { stream } = entry
    if (stream !== null && (qos > 0 || entry.routed)) {
      const { record } = this
      record.timestampMs = this.timestampMs
      record.key = entry.bytes
      record.value = value
      record.valueStart = start
      record.valueEnd = end
      record.headers = this.headers
      record.attributes = attributesOf(qos, retain)
      if (entry.keyedByClient) partition = partitionOf(publisher.clientIdBytes, stream.partitions) as PartitionId
      if (this.stored.isActive) {
        const wanted = qos > 0 && this.fanOut.matchesOf(entry).stored.length > 0
        this.stored.note(entry.streamIndex, partition, stream.nextOffset(partition), wanted)
      }
      commit = stream.append(partition, record)
    }
    this.messages += 1
    this.payloadBytes += end - start
    if (!entry.routed && !entry.reserved) this.unrouted += 1
    const { dropped } = this.fanOut
    this.fanOut.deliver(entry, qos, value, start, end)
    if (this.fanOut.dropped !== dropped && stream !== null && commit !== null)
      this.dropped.note(stream.name, partition, (stream.nextOffset(partition) - 1) as Offset)
    if (!retain) return commit
    const record =
      qos > 0 && stream !== null && commit !== null
        ? { partition: partitionName(stream.name, partition), offset: stream.nextOffset(partition) - 1 }
        : undefined
    const facts = { ...(record !== undefined && { record }), ...byOf(publisher) }
    return this.retained.store(entry, qos, Buffer.from(value.subarray(start, end)), commit, facts)
  }

  /** Retains a QoS 2 message whose record is there. @param payload Kept as it is. */
  retainAgain(entry: TopicEntry, publisher: Publisher, payload: Buffer, commit: Commit): Commit {
    return this.retained.store(entry, 2, payload, commit, byOf(publisher)) ?? commit
  }
}

/** A copy: a session lives longer than its name's right, and holds more. */
function byOf({ author }: Publisher): RetainedFacts {
  if (author === null) return {}
  const { clientId, username } = author
  return { by: { clientId, ...(username !== undefined && { username }) } }
}
