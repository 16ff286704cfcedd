// The retained message of each topic, in the state store: nothing is kept in memory but what is just being written. A retained QoS 1 or 2
// message is acknowledged once its record and this table are both durable. Used by the publish path and by SUBSCRIBE.

import type { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { topicMatches } from '../base/topic-filter.js'
import { Waiters } from '../base/waiters.js'
import type { Commit } from '../log/types.js'
import type { Qos } from '../record/record.js'
import type { StateOperation, StateTable } from '../state/types.js'
import type { Who } from './acl-file.js'
import type { TopicEntry } from './router.js'
import type { RecordPlace } from './session.js'
import { SettableCommit } from './settable-commit.js'
import { longestKeyPrefix, topicKey } from './topic-key.js'

export interface RetainedValue {
  readonly mqttTopic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  /** The record of one above QoS 0; not known where a crash came between record and retained message, or an earlier version retained it. */
  readonly record?: RecordPlace
  /** The client it is of: once that may not publish to the topic, nobody is sent it. Not of what comes from HTTP, firmware, other brokers. */
  readonly by?: Who
}

/** What is kept with a retained message besides itself. */
export type RetainedFacts = Pick<RetainedValue, 'record' | 'by'>

const NO_FACTS: RetainedFacts = {}

/** What a value of the state store holds, less what goes with it (a topic name of 64 KB). */
const MAX_RETAINED_BYTES = 900 * 1024

/** Waiting to be written: beyond it publishers of retained messages wait. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024
/** What a message that waits costs beside its bytes. */
const OVERHEAD_BYTES = 200

/** A group of changes written together; null takes the retained message of a topic away. */
class Group {
  readonly commit = new SettableCommit()
  readonly values = new Map<string, RetainedValue | null>()
}

export class RetainedMessages {
  private count = 0
  private collecting = new Group()
  private writing = new Group()
  private running = false
  private waitingBytes = 0
  /** By topic: what holds the latest above QoS 0, as long as that is not durable. One of QoS 0 that comes after it takes its place after it. */
  private readonly undurable = new Map<string, Commit>()
  private readonly roomWaiters = new Waiters()

  private constructor(
    private readonly table: StateTable<RetainedValue>,
    private readonly maxMessages: number,
    private readonly logger: Logger,
  ) {}

  static async open(table: StateTable<RetainedValue>, maxMessages: number, logger: Logger): Promise<RetainedMessages> {
    const retained = new RetainedMessages(table, maxMessages, logger)
    for await (const _ of table.entries()) retained.count += 1
    return retained
  }

  get size(): number {
    return this.count
  }

  /** False while too much waits to be written: do not store, await `whenRoom`. */
  get hasRoom(): boolean {
    return this.waitingBytes < MAX_WAITING_BYTES
  }

  whenRoom(): Promise<void> {
    return this.hasRoom ? Promise.resolve() : this.roomWaiters.wait()
  }

  /**
   * Makes a message the retained one of its topic; an empty payload takes away what is there [MQTT-3.3.1-5, -10, -11].
   * @param payload Kept as it is.
   * @param commit What holds the record. A QoS 0 message is visible at once, or after what was published before it; others only when it is durable.
   * @returns what the acknowledgement must wait for.
   */
  store(
    entry: TopicEntry,
    qos: Qos,
    payload: Buffer,
    commit: Commit | null,
    facts: RetainedFacts = NO_FACTS,
  ): Commit | null {
    if (payload.length > MAX_RETAINED_BYTES) {
      this.notRetained(entry.mqttTopic, `it is larger than ${MAX_RETAINED_BYTES} bytes`)
      return commit
    }
    const value: RetainedValue | null =
      payload.length === 0 ? null : { mqttTopic: entry.mqttTopic, payload, qos, ...facts }
    const bytes = payload.length + 2 * entry.mqttTopic.length + OVERHEAD_BYTES
    this.waitingBytes += bytes
    const { mqttTopic } = entry
    const written = (): void => this.written(bytes)
    if (qos === 0 || commit === null) {
      const put = (): void => this.put(mqttTopic, value).onSettled(written)
      const before = this.undurable.get(mqttTopic)
      if (before === undefined) put()
      else before.onSettled(put)
      return commit
    }
    const both = new SettableCommit()
    both.onSettled(written)
    this.undurable.set(mqttTopic, commit)
    commit.onSettled((error) => {
      if (this.undurable.get(mqttTopic) === commit) this.undurable.delete(mqttTopic)
      if (error !== null) both.settle(error)
      else this.put(mqttTopic, value).onSettled((failure) => both.settle(failure))
    })
    return both
  }

  private written(bytes: number): void {
    this.waitingBytes -= bytes
    if (this.hasRoom) this.roomWaiters.wake()
  }

  /** All retained messages whose topic the filter matches, each once. */
  async *matching(filter: string): AsyncGenerator<RetainedValue> {
    const fresh = new Map([...this.writing.values, ...this.collecting.values])
    for (const [mqttTopic, value] of fresh) if (value !== null && topicMatches(filter, mqttTopic)) yield value
    const wildcard = filter.search(/[+#]/)
    if (wildcard === -1) {
      const value = fresh.has(filter) ? undefined : await this.table.get(topicKey(filter))
      if (value !== undefined) yield value
      return
    }
    // `a/#` matches `a` as well: the prefix ends before the slash.
    const prefix = filter.slice(0, filter[wildcard] === '#' ? Math.max(0, wildcard - 1) : wildcard)
    for await (const [, value] of this.table.entries(longestKeyPrefix(prefix)))
      if (!fresh.has(value.mqttTopic) && topicMatches(filter, value.mqttTopic)) yield value
  }

  private put(mqttTopic: string, value: RetainedValue | null): Commit {
    this.collecting.values.set(mqttTopic, value)
    const { commit } = this.collecting
    if (!this.running) {
      this.running = true
      // After this turn of the event loop: what comes together is written together.
      setImmediate(() => void this.run())
    }
    return commit
  }

  private async run(): Promise<void> {
    while (this.collecting.values.size > 0) {
      this.writing = this.collecting
      this.collecting = new Group()
      let failure: SluiceError | null = null
      try {
        await this.table.write(await this.operationsFor(this.writing.values))
      } catch (error) {
        failure = error as SluiceError
        this.logger.error('retained messages could not be stored', { error })
      }
      const { commit } = this.writing
      this.writing = new Group()
      commit.settle(failure)
    }
    this.running = false
  }

  private async operationsFor(values: Map<string, RetainedValue | null>): Promise<StateOperation<RetainedValue>[]> {
    const operations: StateOperation<RetainedValue>[] = []
    for (const [mqttTopic, value] of values) {
      const key = topicKey(mqttTopic)
      const known = (await this.table.get(key)) !== undefined
      if (value === null) {
        if (!known) continue
        operations.push({ delete: key })
        this.count -= 1
      } else if (known || this.count < this.maxMessages) {
        operations.push({ put: key, value })
        if (!known) this.count += 1
      } else {
        this.notRetained(mqttTopic, `there are ${this.maxMessages} retained messages already`)
      }
    }
    return operations
  }

  private notRetained(mqttTopic: string, reason: string): void {
    this.logger.warn('message delivered but not retained', { mqtt_topic: mqttTopic, reason })
  }
}
