// One work queue: a stream read by a group of workers, each message by one of them until it is acknowledged. Several queues on one stream do not
// know of each other. What was handed out, and how often, is durable before a worker sees it; so is an acknowledgement before it is answered.
//
// Receives of one queue follow each other (`exclusive`); ack, nack and extend do not wait for them. `version` counts what may have made a message
// available, so that a receive that waits looks again exactly then.

import { randomBytes } from 'node:crypto'
import { SluiceError } from '../base/errors.js'
import { type LogRecord, toOffset, toPartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import { DEAD_LETTER_RETRY_MS, DeadLetters } from './dead-letters.js'
import { QueuePartition } from './queue-partition.js'
import { readOffsets } from './queue-reading.js'
import type {
  LostRange,
  QueueMessage,
  QueueOutcome,
  QueueReceive,
  QueueReceived,
  QueueSettings,
  WaitForMessages,
  WorkQueueOptions,
} from './queue-words.js'
import { hashOf } from './queue-words.js'

const READ_BYTES = 256 * 1024

interface Gathering extends QueueReceive {
  readonly messages: QueueMessage[]
  readonly lost: LostRange[]
  bytes: number
}

export class WorkQueue {
  received = 0
  acknowledged = 0
  private version = 0
  private isClosed = false
  private turn = 0
  private lease = 0
  /** Receipts of an earlier process are never taken for those of this one. */
  private readonly run = randomBytes(4).toString('hex')
  private readonly deadLetters: DeadLetters
  private readonly listeners = new Set<() => void>()
  private last: Promise<unknown> = Promise.resolve()

  constructor(private readonly options: WorkQueueOptions) {
    this.deadLetters = new DeadLetters(options)
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

  /** @throws SluiceError STORAGE_FULL and the like: then nothing was handed out. */
  async receive(request: QueueReceive, wait: WaitForMessages): Promise<QueueReceived> {
    const { clock } = this.options
    const endMs = clock.monotonicMs() + request.waitMs
    for (;;) {
      const seen = this.version
      const received = await this.exclusive(() => this.gather(request))
      const leftMs = endMs - clock.monotonicMs()
      if (received.messages.length > 0 || received.lost.length > 0 || leftMs <= 0) return received
      const ready = (): boolean => this.version !== seen || this.hasNew()
      const isWanted = await wait({ ready, subscribe: (wake) => this.subscribe(wake) }, leftMs)
      // The time is up, or the node stops and nobody waits any more.
      if (!isWanted || !ready()) return received
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
    }
    await this.options.saver.save()
    this.changed()
    return outcome
  }

  /** Keeps messages for a worker that needs longer. Not stored: after a restart they are handed out again. */
  extend(receipts: readonly string[], visibilityTimeoutMs: number): QueueOutcome {
    const untilMs = this.options.clock.monotonicMs() + visibilityTimeoutMs
    const outcome = this.each(receipts, (partition, offset, _index, lease) => partition.extend(offset, lease, untilMs))
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
    this.changed()
  }

  private changed(): void {
    this.version += 1
    for (const listener of [...this.listeners]) listener()
  }

  private async gather(request: QueueReceive): Promise<QueueReceived> {
    const gathering: Gathering = { ...request, messages: [], lost: [], bytes: 0 }
    if (this.isClosed) return gathering
    this.grow()
    const { length } = this.partitions
    this.turn = (this.turn + 1) % length
    for (let i = 0; i < length; i++) {
      const index = (this.turn + i) % length
      this.dropLost(index, gathering)
      await this.deadLetters.buryWornOut(index)
      const taken = request.orderedByKey ? new Set<number>() : null
      await this.gatherDue(index, gathering, taken)
      await this.gatherNew(index, gathering, taken)
    }
    await this.options.saver.save()
    this.received += gathering.messages.length
    return gathering
  }

  /** Partitions that came after the queue are read from their beginning. */
  private grow(): void {
    const { partitions, stream } = this.options
    while (partitions.length < stream.partitions) {
      const start = stream.logStartOffset(toPartitionId(partitions.length))
      const added = new QueuePartition(start, partitions[0].maxPending)
      added.isDirty = true
      partitions.push(added)
    }
  }

  private dropLost(index: number, { lost }: Gathering): void {
    const logStart = this.options.stream.logStartOffset(toPartitionId(index))
    for (const [firstOffset, lastOffset] of this.partitions[index].dropBelow(logStart))
      lost.push({ partition: index, firstOffset, lastOffset })
  }

  private async gatherDue(index: number, gathering: Gathering, taken: Set<number> | null): Promise<void> {
    const left = gathering.maxMessages - gathering.messages.length
    const partition = this.partitions[index]
    const due = partition.due(this.options.clock.monotonicMs(), left, taken)
    if (due.length === 0) return
    const offsets = due.map(({ offset }) => offset)
    const records = await readOffsets(this.options.stream, toPartitionId(index), offsets)
    for (const offset of offsets) {
      const record = records.get(offset)
      // Its worker may have been heard of meanwhile.
      if (!partition.isDue(offset, this.options.clock.monotonicMs())) continue
      if (record !== undefined) {
        if (!this.hand(index, record, gathering)) return
        continue
      }
      partition.done(offset)
      gathering.lost.push({ partition: index, firstOffset: offset, lastOffset: offset })
    }
  }

  private async gatherNew(index: number, gathering: Gathering, taken: Set<number> | null): Promise<void> {
    const { stream } = this.options
    const id = toPartitionId(index)
    const partition = this.partitions[index]
    while (gathering.messages.length < gathering.maxMessages && partition.hasRoom) {
      const from = toOffset(partition.next)
      if (from >= stream.highWatermark(id)) return
      const maxRecords = gathering.maxMessages - gathering.messages.length
      const { batches, nextOffset } = await stream.fetch(id, from, { maxBytes: READ_BYTES, maxRecords })
      for (const record of batches.flatMap((batch) => decodeRecords(batch, from))) {
        if (gathering.messages.length >= gathering.maxMessages || !partition.hasRoom) return
        const keyHash = hashOf(record)
        const mustWait = taken?.has(keyHash) === true
        if (!mustWait && isFull(gathering, record)) return
        partition.add(record.offset, keyHash)
        taken?.add(keyHash)
        if (!mustWait) this.hand(index, record, gathering)
      }
      // Over whatever is missing from the log.
      partition.advance(nextOffset)
    }
  }

  /** @returns false when the answer has no room for it. */
  private hand(index: number, record: LogRecord, gathering: Gathering): boolean {
    if (isFull(gathering, record)) return false
    const { clock, settings } = this.options
    const lease = `${this.run}${(++this.lease).toString(36)}`
    const untilMs = clock.monotonicMs() + (gathering.visibilityTimeoutMs ?? settings.visibilityTimeoutMs)
    const attempt = this.partitions[index].lease(record.offset, lease, untilMs)
    gathering.bytes += sizeOf(record)
    gathering.messages.push({ partition: index, record, attempt, receipt: `${index}-${record.offset}-${lease}` })
    return true
  }

  private each(
    receipts: readonly string[],
    action: (partition: QueuePartition, offset: number, index: number, lease: string) => void,
    isFineWhenDone = false,
  ): QueueOutcome {
    let done = 0
    const stale: string[] = []
    for (const receipt of new Set(receipts)) {
      const match = /^(\d{1,9})-(\d{1,16})-([0-9a-z]{1,32})$/.exec(receipt)
      const partition = match === null ? undefined : this.partitions[Number(match[1])]
      if (match === null || partition === undefined)
        throw new SluiceError(
          'INVALID_REQUEST',
          `${JSON.stringify(receipt.slice(0, 80))} is not a receipt of this queue`,
        )
      const offset = Number(match[2])
      const holds = partition.holds(offset, match[3])
      if (holds === false || (holds === null && !isFineWhenDone)) stale.push(receipt)
      else {
        action(partition, offset, Number(match[1]), match[3])
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

function sizeOf({ key, value }: LogRecord): number {
  return (key?.length ?? 0) + (value?.length ?? 0)
}

function isFull({ messages, bytes, maxBytes }: Gathering, record: LogRecord): boolean {
  return messages.length > 0 && bytes + sizeOf(record) > maxBytes
}
