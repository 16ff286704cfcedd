// Group commit, one in flight per stream (D3). While a commit runs, what arrives gathers; when it ends, all of it goes in the next. There is
// no timer unless `lingerMs` asks for one, and an idle stream adds no latency: a commit starts at the end of the event-loop turn that
// brought its first record, so that everything read from the sockets in that turn goes along.

import type { SluiceError } from '../base/errors.js'
import { Waiters } from '../base/waiters.js'
import type { RecordInput } from '../record/record.js'
import { BuilderPool, Gathering } from './gathering.js'
import type { ProducerSequence } from './producer-table.js'
import type { Commit } from './types.js'

export interface CommitQueueOptions {
  /** A batch closes before it would exceed this; a larger record travels alone. */
  readonly maxBatchBytes: number
  /** Above this many waiting bytes `hasRoom` is false. */
  readonly maxPendingBytes: number
  /** How long a commit waits for more, milliseconds; 0: not at all. */
  readonly lingerMs: number
  /**
   * Makes a gathering durable; calls `recycle` on it as soon as its bytes have been copied, and `onSubmitted` once the disk is at
   * work. Rejects with why it is not durable.
   */
  readonly write: (gathering: Gathering, onSubmitted: () => void) => Promise<void>
  /** Called in order after each commit's callbacks. */
  readonly onCommitted: () => void
}

export class CommitQueue {
  private readonly pool: BuilderPool
  private gathering: Gathering
  private inFlightBytes = 0
  private inFlightFacts = 0
  private running: Promise<void> | null = null
  /** On disk, but not yet said so: the next write is submitted first, so that its fdatasync runs while acks are sent. */
  private durable: Gathering | null = null
  private wakeLinger: (() => void) | null = null
  private readonly roomWaiters = new Waiters()
  private tasks: (() => Promise<void>)[] = []

  constructor(private readonly options: CommitQueueOptions) {
    const poolSize = Math.ceil(options.maxPendingBytes / options.maxBatchBytes)
    this.pool = new BuilderPool(options.maxBatchBytes * 2, poolSize)
    this.gathering = this.nextGathering()
  }

  get pendingBytes(): number {
    return this.gathering.bytes + this.inFlightBytes
  }

  /** Facts that are to be stored or removed and are not yet. */
  get pendingFacts(): number {
    return this.gathering.facts.size + this.inFlightFacts
  }

  get hasRoom(): boolean {
    return this.pendingBytes < this.options.maxPendingBytes
  }

  whenRoom(): Promise<void> {
    return this.hasRoom ? Promise.resolve() : this.roomWaiters.wait()
  }

  /** The caller has checked size and partition; see Stream.append. */
  append(partition: number, offset: number, record: RecordInput): Commit {
    const gathering = this.gathering
    gathering.append(partition, offset, record)
    this.running ??= this.run()
    if (this.wakeLinger && gathering.bytes >= this.options.maxPendingBytes / 4) this.wakeLinger()
    return gathering.commit
  }

  /** As append, for records that are numbered by their producer. */
  appendFrom(producer: ProducerSequence, partition: number, offset: number, records: readonly RecordInput[]): Commit {
    this.gathering.appendFrom(producer, partition, offset, records)
    this.running ??= this.run()
    return this.gathering.commit
  }

  /** As append, for a batch that is encoded already; its bytes must stay as they are until the commit has settled. */
  appendBatch(partition: number, batch: Buffer): Commit {
    this.gathering.appendBatch(partition, batch)
    this.running ??= this.run()
    return this.gathering.commit
  }

  /** Stores a small fact together with whatever is gathered; see Stream.setFact. */
  setFact(name: string, value: Uint8Array | null): Commit {
    this.gathering.setFact(name, value)
    this.running ??= this.run()
    return this.gathering.commit
  }

  /** Runs `task` while no commit is in flight, before the next one. Rejects with what the task throws. */
  exclusive(task: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.tasks.push(() => task().then(resolve, reject))
      this.running ??= this.run()
    })
  }

  /** Resolves when everything appended so far has settled. */
  async flush(): Promise<void> {
    while (this.running) {
      this.wakeLinger?.()
      await this.running
    }
  }

  /** Fails everything that is not in flight: nothing of it may be acknowledged. */
  failGathering(error: SluiceError): void {
    this.settleDurable()
    const failed = this.gathering
    this.gathering = this.nextGathering()
    failed.recycle()
    failed.commit.settle(error)
    if (this.hasRoom) this.roomWaiters.wake()
  }

  private nextGathering(): Gathering {
    return new Gathering(this.pool, this.options.maxBatchBytes)
  }

  private async run(): Promise<void> {
    await nextTurn()
    for (;;) {
      if (this.tasks.length > 0) {
        this.settleDurable()
        for (const task of this.tasks.splice(0)) await task()
      }
      if (this.options.lingerMs > 0 && !this.gathering.isEmpty) {
        this.settleDurable()
        await this.linger()
      }
      if (!this.gathering.isEmpty) {
        // What the other sockets have brought by now goes along: a commit begun between two of them would find half of what is there.
        if (this.durable) await nextTurn()
        await this.commitGathered()
      } else if (this.durable) this.settleDurable()
      else if (this.tasks.length === 0) break
    }
    this.running = null
  }

  /** Writes what is gathered; the commit before it settles once that write is under way. */
  private async commitGathered(): Promise<void> {
    const gathering = this.gathering
    this.gathering = this.nextGathering()
    this.inFlightBytes = gathering.bytes
    this.inFlightFacts = gathering.facts.size
    const settleBefore = (): void => this.settleDurable()
    // Whatever this write has to wait for first, such as a roll, does not hold back the acks of the one before.
    if (this.durable) setImmediate(settleBefore)
    try {
      await this.options.write(gathering, settleBefore)
      this.settled()
      this.durable = gathering
    } catch (error) {
      this.settled()
      this.settle(gathering, error as SluiceError)
    }
  }

  /** Nothing is in flight any more. */
  private settled(): void {
    this.inFlightBytes = 0
    this.inFlightFacts = 0
    this.settleDurable()
  }

  private settleDurable(): void {
    const durable = this.durable
    this.durable = null
    if (durable) this.settle(durable, null)
  }

  private settle(gathering: Gathering, failure: SluiceError | null): void {
    gathering.commit.settle(failure)
    this.options.onCommitted()
    if (this.hasRoom) this.roomWaiters.wake()
  }

  private linger(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.wakeLinger?.(), this.options.lingerMs)
      this.wakeLinger = () => {
        clearTimeout(timer)
        this.wakeLinger = null
        resolve()
      }
    })
  }
}

/** Resolves once everything that the event loop has to read now has been read. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
