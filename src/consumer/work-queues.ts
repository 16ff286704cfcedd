// All work queues of a node, by stream and group. One comes into being with its first receive, and is kept in state/ from then on: a row per
// partition. Over HTTP by http/routes/queues.ts.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { StartPosition } from '../base/start-position.js'
import type { Stream, StreamCatalog } from '../log/types.js'
import { toOffset, toPartitionId } from '../record/record.js'
import type { StateStore, StateTable } from '../state/types.js'
import { QueuePartition, type QueueRow } from './queue-partition.js'
import { QueueSaver } from './queue-saver.js'
import type { QueueOutcome, QueueReceive, QueueReceived, WaitForMessages } from './queue-words.js'
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

export interface QueueDescription {
  readonly stream: string
  readonly group: string
  /** Never handed out yet. */
  readonly backlog: number
  /** With a worker right now. */
  readonly inFlight: number
  /** Handed out before, or waiting for their key, and not done. */
  readonly waiting: number
  readonly maxAttempts: number | null
  readonly deadLetter: string | null
  /** Since the node started. */
  readonly received: number
  readonly acknowledged: number
  readonly deadLettered: number
}

export class WorkQueues {
  private readonly queues = new Map<string, WorkQueue>()
  /** What is on disk, for queues that were not used since the start. */
  private readonly stored = new Map<string, QueueRow>()
  private readonly creating = new Map<string, Promise<WorkQueue>>()
  private readonly options: WorkQueuesOptions

  private constructor(
    private readonly table: StateTable<QueueRow>,
    private readonly dependencies: WorkQueuesDependencies,
  ) {
    this.options = { ...DEFAULT_WORK_QUEUES_OPTIONS, ...dependencies.options }
  }

  static async open(dependencies: WorkQueuesDependencies): Promise<WorkQueues> {
    const queues = new WorkQueues(dependencies.state.table<QueueRow>('queues'), dependencies)
    for await (const [key, row] of queues.table.entries()) queues.stored.set(key, row)
    for (const name of queues.names()) queues.restore(name)
    return queues
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
    const keyOf = (partition: number): string => `${stream}/${group}/dead/${partition}`
    const from = Array.from({ length: deadLetters.partitions }, (_, p) => this.stored.get(keyOf(p))?.next ?? 0)
    return queue.redrive(from, maximum, async () => {
      const cursors = from.map((next, p) => ({ put: keyOf(p), value: { next, pending: [] } }))
      await this.saverOf(queue).saveWith(cursors)
      for (const { put, value } of cursors) this.stored.set(put, value)
    })
  }

  list(): QueueDescription[] {
    return [...this.queues.keys()].sort().map((key) => this.describe(...splitKey(key)))
  }

  describe(stream: string, group: string): QueueDescription {
    const queue = this.queueOf(stream, group)
    const reader = this.dependencies.streams.stream(stream)
    const { partitions, settings } = queue
    const inFlight = queue.leased()
    const pending = partitions.reduce((sum, { pendingCount }) => sum + pendingCount, 0)
    return {
      stream,
      group,
      backlog: partitions.reduce(
        (sum, { next }, p) => sum + Math.max(0, reader.highWatermark(toPartitionId(p)) - next),
        0,
      ),
      inFlight,
      waiting: pending - inFlight,
      maxAttempts: settings.deadLetters === null ? null : settings.maxAttempts,
      deadLetter: settings.deadLetters?.name ?? null,
      received: queue.received,
      acknowledged: queue.acknowledged,
      deadLettered: queue.deadLettered,
    }
  }

  /** Forgets what the queue has done; durable when it resolves. The records stay where they are. */
  async remove(stream: string, group: string): Promise<void> {
    const queue = this.queueOf(stream, group)
    queue.close()
    this.queues.delete(`${stream}/${group}`)
    const keys: string[] = queue.partitions.map((_, partition) => `${stream}/${group}/${partition}`)
    keys.push(...[...this.stored.keys()].filter((key) => key.startsWith(`${stream}/${group}/dead/`)))
    await this.table.write(keys.map((key) => ({ delete: key })))
    for (const key of keys) this.stored.delete(key)
  }

  private create(stream: string, group: string, start: StartPosition): Promise<WorkQueue> {
    const key = `${stream}/${group}`
    const already = this.creating.get(key)
    if (already !== undefined) return already
    const { maxQueues } = this.options
    if (this.queues.size + this.creating.size >= maxQueues)
      throw new SluiceError('TOO_MANY_REQUESTS', `this node has ${maxQueues} work queues, the most it may have`)
    const created = this.begin(stream, group, start).finally(() => this.creating.delete(key))
    this.creating.set(key, created)
    return created
  }

  private async begin(name: string, group: string, start: StartPosition): Promise<WorkQueue> {
    const stream = this.dependencies.streams.stream(name)
    const partitions: QueuePartition[] = []
    for (let p = 0; p < stream.partitions; p++)
      partitions.push(new QueuePartition(await resolve(stream, p, start), this.options.maxPendingPerPartition))
    for (const partition of partitions) partition.isDirty = true
    const queue = this.make(stream, group, partitions)
    // Before anything is handed out: `latest` must not become a later one over a restart.
    await this.saverOf(queue).save()
    this.queues.set(`${name}/${group}`, queue)
    return queue
  }

  private readonly savers = new WeakMap<WorkQueue, QueueSaver>()

  private make(stream: Stream, group: string, partitions: QueuePartition[]): WorkQueue {
    const { clock, logger } = this.dependencies
    const saver = new QueueSaver(this.table, `${stream.name}/${group}`, partitions)
    const queue = new WorkQueue({
      group,
      stream,
      partitions,
      saver,
      settings: this.settingsOf(stream.name, group),
      clock,
      logger,
    })
    this.savers.set(queue, saver)
    return queue
  }

  private saverOf(queue: WorkQueue): QueueSaver {
    return this.savers.get(queue) as QueueSaver
  }

  private settingsOf(stream: string, group: string) {
    const { configured = [], streams } = this.dependencies
    const own = configured.find((each) => each.stream === stream && each.group === group)
    return {
      maxAttempts: own?.maxAttempts ?? Number.POSITIVE_INFINITY,
      deadLetters: own === undefined ? null : streams.stream(own.deadLetter),
      visibilityTimeoutMs: own?.visibilityTimeoutMs ?? this.options.visibilityTimeoutMs,
    }
  }

  private names(): string[] {
    return [...new Set([...this.stored.keys()].map((key) => splitKey(key).join('/')))]
  }

  /** A queue of a stream that is not configured now stays on disk and is not offered. */
  private restore(key: string): void {
    const [name, group] = splitKey(key)
    const stream = this.dependencies.streams.streams.get(name)
    if (stream === undefined) return
    const partitions = Array.from({ length: stream.partitions }, (_, p) =>
      QueuePartition.restore(
        this.stored.get(`${key}/${p}`) ?? { next: 0, pending: [] },
        this.options.maxPendingPerPartition,
      ),
    )
    for (let p = 0; p < stream.partitions; p++) this.stored.delete(`${key}/${p}`)
    this.queues.set(key, this.make(stream, group, partitions))
  }

  /** A mirror can appear after the start, and with it its queues. */
  private known(stream: string, group: string): WorkQueue | undefined {
    const key = `${stream}/${group}`
    if (!this.queues.has(key) && this.stored.has(`${key}/0`)) this.restore(key)
    return this.queues.get(key)
  }

  private queueOf(stream: string, group: string): WorkQueue {
    const queue = this.known(stream, group)
    if (queue !== undefined) return queue
    this.dependencies.streams.stream(stream)
    const message = `stream ${stream} has no work queue ${group}: the first receive makes one`
    throw new SluiceError('GROUP_ID_NOT_FOUND', message, { stream, group })
  }
}

function splitKey(key: string): [stream: string, group: string] {
  const [stream, group] = key.split('/')
  return [stream, group]
}

async function resolve(stream: Stream, partition: number, start: StartPosition): Promise<number> {
  const id = toPartitionId(partition)
  if (start.at === 'earliest') return stream.logStartOffset(id)
  if (start.at === 'latest') return stream.highWatermark(id)
  if (start.at === 'offset') return Math.max(toOffset(start.offset), stream.logStartOffset(id))
  return stream.offsetForTime(id, start.timestampMs)
}
