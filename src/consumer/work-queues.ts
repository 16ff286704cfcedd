// All work queues of a node, by stream and group. One comes into being with its first receive, and is kept in state/ from then on
// (queue-rows.ts). Over HTTP by http/routes/queues.ts.
//
// When a mirror is replaced by another incarnation, its queues stay with the records they are of, under the name these have now; under the
// name they had a successor reads all of the new incarnation.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { StartPosition } from '../base/start-position.js'
import type { Stream, StreamCatalog } from '../log/types.js'
import { toOffset, toPartitionId } from '../record/record.js'
import type { StateStore } from '../state/types.js'
import { describeQueue, type QueueDescription } from './queue-description.js'
import { QueuePartition, type QueueRow } from './queue-partition.js'
import { QueueRows } from './queue-rows.js'
import type { QueueSaver } from './queue-saver.js'
import type { QueueOutcome, QueueReceive, QueueReceived, QueueSettings, WaitForMessages } from './queue-words.js'
import { identityOf, lastingName, lastingNameOf } from './stream-identity.js'
import { WorkQueue } from './work-queue.js'

/** What the configuration says of a queue. */
export interface QueueConfig {
  readonly stream: string
  readonly group: string
  readonly maxAttempts: number
  /** Name of the dead letter stream. */
  readonly deadLetter: string
  readonly visibilityTimeoutMs: number
}

export interface WorkQueuesOptions {
  readonly maxQueues: number
  /** Messages that are handed out, wait for another attempt, or wait for an earlier one of their key; per partition of a queue, inclusive. */
  readonly maxPendingPerPartition: number
  readonly visibilityTimeoutMs: number
}

export const DEFAULT_WORK_QUEUES_OPTIONS: WorkQueuesOptions = {
  maxQueues: 1_000,
  maxPendingPerPartition: 1_000,
  visibilityTimeoutMs: 30_000,
}

export interface WorkQueuesDependencies {
  readonly streams: StreamCatalog
  readonly state: StateStore
  readonly clock: Clock
  readonly logger: Logger
  readonly configured?: readonly QueueConfig[]
  readonly options?: Partial<WorkQueuesOptions>
}

export class WorkQueues {
  /** By lasting name of the stream, and group. */
  private readonly queues = new Map<string, WorkQueue>()
  private readonly savers = new WeakMap<WorkQueue, QueueSaver>()
  private readonly creating = new Map<string, Promise<WorkQueue>>()
  private readonly options: WorkQueuesOptions

  private constructor(
    private readonly rows: QueueRows,
    private readonly dependencies: WorkQueuesDependencies,
  ) {
    this.options = { ...DEFAULT_WORK_QUEUES_OPTIONS, ...dependencies.options }
  }

  static async open(dependencies: WorkQueuesDependencies): Promise<WorkQueues> {
    const rows = await QueueRows.open(dependencies.state.table<QueueRow>('queues'))
    const queues = new WorkQueues(rows, dependencies)
    const streams = [...dependencies.streams.streams.values()]
    const byLastingName = new Map(streams.map((stream) => [lastingName(stream), stream]))
    // A queue of a stream that is not configured now stays on disk and is not offered.
    for (const [name, group] of rows.queues()) {
      const stream = byLastingName.get(name)
      if (stream !== undefined) queues.restore(stream, group)
    }
    return queues
  }

  /** The node stops: nothing is done without being asked from now on. */
  async stop(): Promise<void> {
    await Promise.all([...this.queues.values()].map((queue) => queue.stop()))
  }

  /** @throws SluiceError UNKNOWN_STREAM_OR_PARTITION, TOO_MANY_REQUESTS; as WorkQueue.receive. */
  async receive(
    stream: string,
    group: string,
    request: QueueReceive & { readonly start: StartPosition },
    wait: WaitForMessages,
  ): Promise<QueueReceived> {
    const queue = this.known(stream, group) ?? (await this.create(stream, group, request.start))
    return queue.receive(request, wait)
  }

  /** @throws SluiceError GROUP_ID_NOT_FOUND, as do all that follow; INVALID_REQUEST for what is no receipt. */
  ack(stream: string, group: string, receipts: readonly string[]): Promise<QueueOutcome> {
    return this.queueOf(stream, group).ack(receipts)
  }

  nack(
    stream: string,
    group: string,
    receipts: readonly string[],
    request: { readonly delayMs: number; readonly reason: string; readonly deadLetter: boolean },
  ): Promise<QueueOutcome> {
    return this.queueOf(stream, group).nack(receipts, request)
  }

  extend(stream: string, group: string, receipts: readonly string[], visibilityTimeoutMs: number): QueueOutcome {
    return this.queueOf(stream, group).extend(receipts, visibilityTimeoutMs)
  }

  async redrive(
    stream: string,
    group: string,
    maximum: number,
  ): Promise<{ readonly redriven: number; readonly gone: number }> {
    const queue = this.queueOf(stream, group)
    const { deadLetters } = queue.settings
    if (deadLetters === null) return { redriven: 0, gone: 0 }
    const key = keyOf(queue.stream, group)
    const from = this.rows.redrivenTo(key, deadLetters.partitions)
    return queue.redrive(from, maximum, () => this.rows.saveRedriven(key, this.saverOf(queue), from))
  }

  list(): QueueDescription[] {
    for (const { stream, group } of [...this.queues.values()]) this.known(identityOf(stream).stream, group)
    const described = [...this.queues.values()].map(describeQueue)
    return described.sort((a, b) => compare(a.stream, b.stream) || compare(a.group, b.group))
  }

  describe(stream: string, group: string): QueueDescription {
    return describeQueue(this.queueOf(stream, group))
  }

  /** Forgets what the queue has done; durable when it resolves. The records stay where they are. */
  async remove(name: string, group: string): Promise<void> {
    const queue = this.queueOf(name, group)
    const { stream, incarnation } = identityOf(queue.stream)
    const successor = this.known(stream, group)
    // It is one because of this queue.
    if (successor !== undefined && successor !== queue) await this.saverOf(successor).save()
    queue.close()
    const key = keyOf(queue.stream, group)
    this.queues.delete(key)
    await this.rows.remove(key, queue.partitions.length, incarnation > 1)
  }

  private create(name: string, group: string, start: StartPosition): Promise<WorkQueue> {
    const stream = this.dependencies.streams.stream(name)
    const key = keyOf(stream, group)
    const already = this.creating.get(key)
    if (already !== undefined) return already
    if (!this.hasRoom) {
      const message = `this node has ${this.options.maxQueues} work queues, the most it may have`
      throw new SluiceError('TOO_MANY_REQUESTS', message)
    }
    const created = this.begin(stream, group, start).finally(() => this.creating.delete(key))
    this.creating.set(key, created)
    return created
  }

  private async begin(stream: Stream, group: string, start: StartPosition): Promise<WorkQueue> {
    const partitions: QueuePartition[] = []
    for (let p = 0; p < stream.partitions; p++)
      partitions.push(new QueuePartition(await resolve(stream, p, start), this.options.maxPendingPerPartition))
    for (const partition of partitions) partition.isDirty = true
    const queue = this.make(stream, group, partitions)
    const key = keyOf(stream, group)
    // Before anything is handed out: `latest` must not become a later one over a restart.
    await this.rows.begin(key, this.saverOf(queue))
    this.queues.set(key, queue)
    return queue
  }

  private make(stream: Stream, group: string, partitions: QueuePartition[]): WorkQueue {
    const { clock, logger } = this.dependencies
    const saver = this.rows.saverOf(keyOf(stream, group), partitions)
    const settings = this.settingsOf(stream, group)
    const queue = new WorkQueue({ group, stream, partitions, saver, settings, clock, logger })
    this.savers.set(queue, saver)
    return queue
  }

  private saverOf(queue: WorkQueue): QueueSaver {
    return this.savers.get(queue) as QueueSaver
  }

  private settingsOf(of: Stream, group: string): QueueSettings {
    const { configured = [], streams } = this.dependencies
    const { stream } = identityOf(of)
    const own = configured.find((each) => each.stream === stream && each.group === group)
    return {
      maxAttempts: own?.maxAttempts ?? Number.POSITIVE_INFINITY,
      deadLetters: own === undefined ? null : streams.stream(own.deadLetter),
      visibilityTimeoutMs: own?.visibilityTimeoutMs ?? this.options.visibilityTimeoutMs,
      maxPending: this.options.maxPendingPerPartition,
    }
  }

  private restore(stream: Stream, group: string): WorkQueue {
    const key = keyOf(stream, group)
    const queue = this.make(stream, group, this.rows.take(key, stream, this.options.maxPendingPerPartition))
    this.queues.set(key, queue)
    return queue
  }

  /** A mirror can appear after the start, and with it its queues. */
  private known(name: string, group: string): WorkQueue | undefined {
    const stream = this.dependencies.streams.streams.get(name)
    if (stream === undefined) return undefined
    const key = keyOf(stream, group)
    const queue = this.queues.get(key)
    if (queue !== undefined) return queue
    if (this.rows.has(key)) return this.restore(stream, group)
    return this.hasFormer(stream, group) && this.hasRoom ? this.succeed(stream, group) : undefined
  }

  /** Whether a queue of this name reads a former incarnation of the mirror. */
  private hasFormer(of: Stream, group: string): boolean {
    const { stream, incarnation } = identityOf(of)
    if (this.rows.isRemoved(keyOf(of, group))) return false
    for (let former = incarnation - 1; former > 0; former--) {
      const key = `${lastingNameOf({ stream, incarnation: former })}/${group}`
      if (this.queues.has(key) || this.rows.has(key)) return true
      if (this.rows.isRemoved(key)) return false
    }
    return false
  }

  /** From the beginning of what is there now. It is stored with its first receive; until then it follows from the former one. */
  private succeed(stream: Stream, group: string): WorkQueue {
    const partitions = Array.from({ length: stream.partitions }, (_, p) => {
      const start = stream.logStartOffset(toPartitionId(p))
      return new QueuePartition(start, this.options.maxPendingPerPartition)
    })
    for (const partition of partitions) partition.isDirty = true
    const queue = this.make(stream, group, partitions)
    this.queues.set(keyOf(stream, group), queue)
    return queue
  }

  private get hasRoom(): boolean {
    return this.queues.size + this.creating.size < this.options.maxQueues
  }

  private queueOf(stream: string, group: string): WorkQueue {
    const queue = this.known(stream, group)
    if (queue !== undefined) return queue
    this.dependencies.streams.stream(stream)
    const message = `stream ${stream} has no work queue ${group}: the first receive makes one`
    throw new SluiceError('GROUP_ID_NOT_FOUND', message, { stream, group })
  }
}

function keyOf(stream: Stream, group: string): string {
  return `${lastingName(stream)}/${group}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

async function resolve(stream: Stream, partition: number, start: StartPosition): Promise<number> {
  const id = toPartitionId(partition)
  if (start.at === 'earliest') return stream.logStartOffset(id)
  if (start.at === 'latest') return stream.highWatermark(id)
  if (start.at === 'offset') return Math.max(toOffset(start.offset), stream.logStartOffset(id))
  return stream.offsetForTime(id, start.timestampMs)
}
