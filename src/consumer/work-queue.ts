// One work queue: a stream read by a group of workers, each message by one of them until it is acknowledged. Several queues on one stream do not
// know of each other. What was handed out, and how often, is durable before a worker sees it; so is an acknowledgement before it is answered.
//
// Receives of one queue follow each other (`exclusive`); ack, nack and extend do not wait for them. `version` counts what may have made a message
// available, so that a receive that waits looks again exactly then.

import { messageOf, SluiceError } from '../base/errors.js'
import { toPartitionId } from '../record/record.js'
import { DEAD_LETTER_RETRY_MS, DeadLetters } from './dead-letters.js'
import { QueueGathering } from './queue-gathering.js'
import { QueuePartition } from './queue-partition.js'
import { notAReceipt, QueueReceipts } from './queue-receipts.js'
import type {
  QueueOutcome,
  QueueReceive,
  QueueReceived,
  QueueSettings,
  WaitForMessages,
  WorkQueueOptions,
} from './queue-words.js'
import { identityOf } from './stream-identity.js'
import { WornOutWatch } from './worn-out-watch.js'

const NOTHING: QueueReceived = { messages: [], lost: [] }

export class WorkQueue {
  received = 0
  acknowledged = 0
  private version = 0
  private isClosed = false
  private turn = 0
  private readonly receipts: QueueReceipts
  private readonly deadLetters: DeadLetters
  private readonly wornOut: WornOutWatch
  private readonly listeners = new Set<() => void>()
  private last: Promise<unknown> = Promise.resolve()

  constructor(private readonly options: WorkQueueOptions) {
    this.receipts = new QueueReceipts(identityOf(options.stream).incarnation)
    this.deadLetters = new DeadLetters(options)
    this.wornOut = new WornOutWatch(options.clock, () => this.buryWornOut())
    const { settings, clock, partitions } = options
    // Leases have not outlived the process that gave them, but a worker from before may be at its last attempt: it is given its time.
    const untilMs = clock.monotonicMs() + settings.visibilityTimeoutMs
    for (const partition of partitions) partition.keepWornOut(settings.maxAttempts, untilMs)
    this.wornOut.expect(this.nextWornOutMs())
  }

  get deadLettered(): number {
    return this.deadLetters.count
  }

  get settings(): QueueSettings {
    return this.options.settings
  }

  get partitions(): readonly QueuePartition[] {
    return this.options.partitions
  }

  leased(): number {
    const now = this.options.clock.monotonicMs()
    return this.partitions.reduce((sum, partition) => sum + partition.leasedCount(now), 0)
  }

  get group(): string {
    return this.options.group
  }

  get stream(): WorkQueueOptions['stream'] {
    return this.options.stream
  }

  /** @throws SluiceError STORAGE_FULL and the like: then nothing was handed out. */
  async receive(request: QueueReceive, wait: WaitForMessages): Promise<QueueReceived> {
    const { clock, stream } = this.options
    const { name } = stream
    const isReplaced = (): boolean => stream.name !== name
    const endMs = clock.monotonicMs() + request.waitMs
    for (;;) {
      const seen = this.version
      const received = await this.exclusive(() => this.gather(request))
      if (isReplaced()) return this.takeBack(received)
      const leftMs = endMs - clock.monotonicMs()
      if (received.messages.length > 0 || received.lost.length > 0 || leftMs <= 0) return received
      const ready = (): boolean => this.version !== seen || this.hasNew() || isReplaced()
      const isWanted = await wait({ ready, subscribe: (wake) => this.subscribe(wake) }, leftMs)
      // The time is up, or the node stops and nobody waits any more.
      if (!isWanted || !ready() || isReplaced()) return received
    }
  }

  /** Durable when it resolves. A message that is done already counts as done: an answer may have been lost. */
  async ack(receipts: readonly string[]): Promise<QueueOutcome> {
    const outcome = this.each(receipts, (partition, offset) => partition.done(offset), true)
    this.acknowledged += outcome.done
    await this.options.saver.save()
    this.changed()
    return outcome
  }

  /** Gives messages back, to be handed out again after `delayMs`; those that have been tried often enough become dead letters. */
  async nack(
    receipts: readonly string[],
    {
      delayMs,
      reason,
      deadLetter,
    }: { readonly delayMs: number; readonly reason: string; readonly deadLetter: boolean },
  ): Promise<QueueOutcome> {
    const { clock, settings, group, stream } = this.options
    if (deadLetter && settings.deadLetters === null)
      throw new SluiceError(
        'INVALID_REQUEST',
        `the queue ${group} of ${stream.name} has no dead letter stream: name one with [[queue]] in the configuration`,
      )
    const dead: { index: number; offset: number }[] = []
    const dueMs = clock.monotonicMs() + delayMs
    const outcome = this.each(receipts, (partition, offset, index) => {
      const isDead =
        settings.deadLetters !== null && (deadLetter || partition.attemptsOf(offset) >= settings.maxAttempts)
      partition.release(offset, isDead ? Number.POSITIVE_INFINITY : dueMs, reason)
      if (isDead) dead.push({ index, offset })
    })
    try {
      while (dead.length > 0) {
        const { index, offset } = dead[0]
        await this.exclusive(() => this.deadLetters.bury(index, [{ offset, reason }]))
        dead.shift()
      }
    } finally {
      for (const { index, offset } of dead)
        this.partitions[index].release(offset, clock.monotonicMs() + DEAD_LETTER_RETRY_MS, reason)
      if (dead.length > 0) this.wornOut.expect(clock.monotonicMs() + DEAD_LETTER_RETRY_MS)
    }
    await this.options.saver.save()
    this.changed()
    return outcome
  }

  /** Keeps messages for a worker that needs longer. Not stored: after a restart they are handed out again. */
  extend(receipts: readonly string[], visibilityTimeoutMs: number): QueueOutcome {
    const untilMs = this.options.clock.monotonicMs() + visibilityTimeoutMs
    const outcome = this.each(receipts, (partition, offset, _index, lease) => {
      partition.extend(offset, lease, untilMs)
      if (partition.attemptsOf(offset) >= this.settings.maxAttempts) this.wornOut.expect(untilMs)
    })
    this.changed()
    return outcome
  }

  /**
   * Brings dead letters of this queue back, as messages that were never tried.
   * @param from Where to go on, per partition of the dead letter stream; moved. @returns how many, and how many are gone from the stream.
   */
  redrive(
    from: number[],
    maximum: number,
    save: () => Promise<void>,
  ): Promise<{ readonly redriven: number; readonly gone: number }> {
    return this.exclusive(async () => {
      const brought = await this.deadLetters.bringBack(from, maximum)
      await save()
      this.changed()
      return brought
    })
  }

  /** The queue has been removed: nothing of it is handed out or stored any more. */
  close(): void {
    this.isClosed = true
    this.wornOut.stop()
    this.changed()
  }

  /** The node stops: resolves once nothing more is done of itself. */
  async stop(): Promise<void> {
    this.wornOut.stop()
    await this.exclusive(async () => {})
  }

  private changed(): void {
    this.version += 1
    for (const listener of [...this.listeners]) listener()
  }

  private async gather(request: QueueReceive): Promise<QueueReceived> {
    if (this.isClosed) return NOTHING
    this.grow()
    const gathering = new QueueGathering(this.options, this.receipts, request)
    const { length } = this.partitions
    this.turn += 1
    for (let i = 0; i < length; i++) {
      const index = (this.turn + i) % length
      gathering.dropLost(index)
      await this.deadLetters.buryWornOut(index)
      await gathering.gather(index)
    }
    await this.options.saver.save()
    this.received += gathering.messages.length
    if (gathering.messages.some(({ attempt }) => attempt >= this.settings.maxAttempts))
      this.wornOut.expect(this.nextWornOutMs())
    const { messages, lost } = gathering
    return { messages, lost }
  }

  /** Another mirror has got the name under which these were asked for: there, offsets and receipts would be taken for its own. */
  private takeBack({ messages }: QueueReceived): QueueReceived {
    const nowMs = this.options.clock.monotonicMs()
    for (const { partition, record } of messages) this.partitions[partition].release(record.offset, nowMs, '')
    this.changed()
    return NOTHING
  }

  /** @returns when the next last attempt runs out. */
  private buryWornOut(): Promise<number> {
    return this.exclusive(async () => {
      if (this.isClosed) return Number.POSITIVE_INFINITY
      const { saver, logger, stream, group } = this.options
      for (let index = 0; index < this.partitions.length; index++) await this.deadLetters.buryWornOut(index)
      // What could not be stored goes with the next write: until then a crash makes a second dead letter of the same position.
      await saver.save().catch((error) => {
        logger.warn('a queue cannot be stored', { stream: stream.name, group, reason: messageOf(error) })
      })
      this.changed()
      return this.nextWornOutMs()
    })
  }

  private nextWornOutMs(): number {
    const { maxAttempts, deadLetters } = this.settings
    if (deadLetters === null) return Number.POSITIVE_INFINITY
    return Math.min(...this.partitions.map((partition) => partition.wornOutMs(maxAttempts)))
  }

  /** Partitions that came after the queue are read from their beginning. */
  private grow(): void {
    const { partitions, stream, settings } = this.options
    while (partitions.length < stream.partitions) {
      const start = stream.logStartOffset(toPartitionId(partitions.length))
      const added = new QueuePartition(start, settings.maxPending)
      added.isDirty = true
      partitions.push(added)
    }
  }

  private each(
    receipts: readonly string[],
    action: (partition: QueuePartition, offset: number, index: number, lease: string) => void,
    isFineWhenDone = false,
  ): QueueOutcome {
    let done = 0
    const stale: string[] = []
    for (const receipt of new Set(receipts)) {
      const named = this.receipts.parse(receipt)
      if (named === null) {
        stale.push(receipt)
        continue
      }
      const { partition: index, offset, lease } = named
      const partition = this.partitions[index]
      if (partition === undefined) throw notAReceipt(receipt)
      const holds = partition.holds(offset, lease)
      if (holds === false || (holds === null && !isFineWhenDone)) stale.push(receipt)
      else {
        action(partition, offset, index, lease)
        done += 1
      }
    }
    return { done, stale }
  }

  private hasNew(): boolean {
    const { stream } = this.options
    return this.partitions.some(
      (partition, index) => partition.hasRoom && partition.next < stream.highWatermark(toPartitionId(index)),
    )
  }

  private subscribe(wake: () => void): () => void {
    const { stream, clock } = this.options
    this.listeners.add(wake)
    const endStream = stream.onChange(wake)
    const nowMs = clock.monotonicMs()
    const dueMs = Math.min(...this.partitions.map((partition) => partition.nextDueMs(nowMs)))
    const cancel = dueMs === Number.POSITIVE_INFINITY ? () => {} : clock.after(dueMs - nowMs, () => this.changed())
    return () => {
      this.listeners.delete(wake)
      endStream()
      cancel()
    }
  }

  private exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work)
    this.last = result.catch(() => {})
    return result
  }
}
