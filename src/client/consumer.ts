// A member of a consumer group, as a loop: `for await (const record of consumer)`. Reads one answer ahead of the loop and no further, so a slow
// loop holds the node back rather than filling memory. Goes on by itself after a lost connection, a restart of the node and a rebalance.
//
// What is committed is never beyond what the loop has finished: a record counts as finished when the loop asks for the next one.

import { messageOf, SluiceError } from '../base/errors.js'
import type { ConsumerBatch, ConsumerOptions } from './consumer-options.js'
import type { ConsumerRecord } from './consumer-record.js'
import { FinishedOffsets } from './finished-offsets.js'
import { type AssignedPartition, GroupSession, type OffsetToCommit } from './group-session.js'
import type { HttpTransport } from './http-transport.js'
import { Pauses } from './pauses.js'
import { RecordIterator } from './record-iterator.js'

interface Fetched {
  readonly records: readonly ConsumerRecord[]
  readonly epoch: number
}

const GONE = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'GROUP_ID_NOT_FOUND'])

export class Consumer implements AsyncIterable<ConsumerRecord> {
  private readonly session: GroupSession
  private readonly abort = new AbortController()
  private readonly pauses: Pauses
  private assigned: readonly AssignedPartition[] = []
  private mustJoin = true
  /** Counts assignments: what was fetched under an earlier one is not delivered. */
  private epoch = 0
  private ahead: Promise<Fetched> | null = null
  private readonly finished = new FinishedOffsets()
  private committing: Promise<void> = Promise.resolve()
  private heartbeat: NodeJS.Timeout | null = null
  private autoCommit: NodeJS.Timeout | null = null
  private lastAskedMs = 0
  private failed: SluiceError | null = null
  private isLooping = false

  constructor(
    transport: HttpTransport,
    private readonly options: ConsumerOptions,
  ) {
    const { sessionTimeoutMs = 30_000 } = options
    this.session = new GroupSession(
      transport,
      {
        group: options.group,
        streams: options.streams,
        memberName: options.memberName ?? 'client',
        instanceId: options.instanceId,
        sessionTimeoutMs,
        rebalanceTimeoutMs: sessionTimeoutMs,
        assignment: options.assignment,
        offsetReset: options.offsetReset ?? 'earliest',
        maxRecords: options.maxRecords ?? 10_000,
        maxBytes: options.maxBytes ?? 1024 * 1024,
      },
      this.abort.signal,
    )
    this.pauses = new Pauses(100, 10_000, this.abort.signal)
  }

  /** The partitions this member has. */
  get partitions(): readonly AssignedPartition[] {
    return this.assigned
  }

  /** @throws SluiceError what cannot be tried again: UNAUTHORIZED, FORBIDDEN, FENCED_INSTANCE_ID, UNKNOWN_STREAM_OR_PARTITION … */
  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumerRecord> {
    return new RecordIterator(this.read(), (record) => this.finish(record))
  }

  /**
   * Records as they come, at most `maxRecords` at once. All of a batch are finished when the loop asks for the next one, unless it was told that the
   * batch is not current any more: how many of the rest it has worked on is not known then.
   */
  async *batches(): AsyncGenerator<ConsumerBatch, void, undefined> {
    for await (const batch of this.read()) {
      let isCurrent = true
      yield {
        records: batch.records,
        get isCurrent() {
          isCurrent &&= batch.isCurrent
          return isCurrent
        },
      }
      if (isCurrent) for (const record of batch.records) this.finish(record)
    }
  }

  /** What is finished is for the caller to say. */
  private async *read(): AsyncGenerator<ConsumerBatch, void, undefined> {
    if (this.isLooping) throw new TypeError('a consumer is read by one loop at a time')
    this.isLooping = true
    this.startTimers()
    try {
      while (!this.abort.signal.aborted) {
        const { records, epoch } = await this.next()
        if (records.length === 0) continue
        const isCurrent = (): boolean => this.epoch === epoch && !this.mustJoin
        yield {
          records,
          get isCurrent() {
            return isCurrent()
          },
        }
      }
    } finally {
      this.isLooping = false
      this.stopTimers()
      if (this.options.autoCommit !== false) await this.commitQuietly()
      // A later loop begins where the group is: what this one was given and did not finish comes again.
      this.mustJoin = true
      this.ahead = null
    }
  }

  /**
   * Durable when it resolves. Without `offsets`: everything handed to the loop so far that it has finished, and `upTo` itself.
   * @throws SluiceError UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS: the partitions are being given to others.
   */
  async commit(upTo?: ConsumerRecord | readonly OffsetToCommit[]): Promise<void> {
    if (Array.isArray(upTo)) return this.session.commit(upTo as readonly OffsetToCommit[])
    if (upTo !== undefined) this.finish(upTo as ConsumerRecord)
    await this.commitFinished()
  }

  /** Commits (unless autoCommit is false), leaves the group and ends the loop. */
  async close(): Promise<void> {
    if (this.abort.signal.aborted) return
    if (this.options.autoCommit !== false) await this.commitQuietly()
    this.abort.abort()
    this.stopTimers()
    await this.ahead?.catch(() => {})
    // The group would find out by itself, a session time-out later.
    await this.session.leave().catch(() => {})
  }

  private finish(record: ConsumerRecord): void {
    this.lastAskedMs = performance.now()
    this.finished.add(record)
  }

  private async next(): Promise<Fetched> {
    for (;;) {
      this.lastAskedMs = performance.now()
      try {
        if (this.failed !== null) throw this.failed
        if (this.mustJoin) await this.join()
        this.ahead ??= this.fetch()
        const fetched = await this.ahead
        this.ahead = null
        if (fetched.epoch !== this.epoch || this.abort.signal.aborted) return { records: [], epoch: fetched.epoch }
        // The next answer is on its way while the loop works on this one.
        if (fetched.records.length > 0) {
          this.pauses.reset()
          this.ahead = this.fetch()
          this.ahead.catch(() => {})
        }
        return fetched
      } catch (error) {
        this.ahead = null
        if (this.abort.signal.aborted) return { records: [], epoch: -1 }
        await this.recover(error)
      }
    }
  }

  private async fetch(): Promise<Fetched> {
    const { epoch } = this
    return { epoch, records: await this.session.fetch(this.options.waitMs ?? 30_000) }
  }

  /** @throws what cannot be helped. */
  private async recover(error: unknown): Promise<void> {
    this.failed = null
    if (!(error instanceof SluiceError)) throw error
    if (error.code === 'REBALANCE_IN_PROGRESS' || GONE.has(error.code)) {
      await this.revoke(error.code !== 'REBALANCE_IN_PROGRESS')
      return
    }
    if (error.code === 'OFFSET_OUT_OF_RANGE') {
      if (this.options.onSkipped === undefined) process.emitWarning(error.message, 'SluiceWarning')
      else this.options.onSkipped(error)
      return
    }
    if (!error.retriable) throw error
    this.options.onTrouble?.(error)
    await this.pauses.next()
  }

  private async join(): Promise<void> {
    if (this.assigned.length > 0) await this.revoke(false)
    this.assigned = await this.session.join()
    this.epoch += 1
    this.mustJoin = false
    this.ahead = null
    this.finished.clear()
    this.lastAskedMs = performance.now()
    await this.options.onAssigned?.(this.assigned)
  }

  private async revoke(isLost: boolean): Promise<void> {
    this.mustJoin = true
    const before = this.assigned
    this.assigned = []
    if (before.length === 0) return
    await this.options.onRevoked?.(before, isLost)
    if (!isLost && this.options.autoCommit !== false) await this.commitQuietly()
    this.finished.clear()
  }

  /** One after the other: a commit that overtakes another would take the group back. */
  private commitFinished(): Promise<void> {
    const committed = this.committing.catch(() => {}).then(() => this.commitNow())
    this.committing = committed
    return committed
  }

  private async commitNow(): Promise<void> {
    if (!this.session.isMember) return
    const offsets = this.finished.take()
    if (offsets.length === 0) return
    try {
      await this.session.commit(offsets)
    } catch (error) {
      this.finished.giveBack(offsets)
      throw error
    }
  }

  /** A commit that fails is made up for by the next, or the records come again: at least once. */
  private async commitQuietly(): Promise<void> {
    await this.commitFinished().catch((error) => this.trouble(error))
  }

  private startTimers(): void {
    const {
      sessionTimeoutMs = 30_000,
      autoCommitIntervalMs = 1_000,
      autoCommit = true,
      maxLoopMs = 300_000,
    } = this.options
    this.heartbeat = setInterval(() => {
      // A waiting request keeps the member alive; a loop that never comes back should not.
      if (this.mustJoin || performance.now() - this.lastAskedMs > maxLoopMs) return
      this.session.heartbeat().catch((error) => this.trouble(error))
    }, sessionTimeoutMs / 3)
    if (autoCommit) this.autoCommit = setInterval(() => void this.commitQuietly(), autoCommitIntervalMs)
  }

  private stopTimers(): void {
    clearInterval(this.heartbeat ?? undefined)
    clearInterval(this.autoCommit ?? undefined)
  }

  /** Heard beside the loop: the loop acts on it when it comes back. */
  private trouble(error: unknown): void {
    if (this.abort.signal.aborted) return
    const known = error instanceof SluiceError ? error : new SluiceError('INTERNAL', messageOf(error), {}, error)
    if (known.code === 'REBALANCE_IN_PROGRESS' || known.code === 'FENCED_INSTANCE_ID' || GONE.has(known.code)) {
      this.failed ??= known
      this.mustJoin = true
    } else this.options.onTrouble?.(known)
  }
}
