// From the records gathered for a commit to the disk, and what a stream does when that fails (D4): nothing is taken until the disk has been
// asked what it holds, or the process ends. Used by one stream.

import { SluiceError } from '../base/errors.js'
import type { CompressionCodec } from '../record/compression.js'
import type { Ballast } from '../state/ballast.js'
import { mayPass, storageError } from '../state/level-database.js'
import { BatchCompressor } from './batch-compressor.js'
import { CommitQueue } from './commit-queue.js'
import type { Gathering } from './gathering.js'
import type { SegmentStore } from './segment-store.js'
import { WriteRecovery } from './write-recovery.js'

export interface CommitPathOptions {
  readonly name: string
  readonly store: SegmentStore
  readonly directory: string
  readonly segmentBytes: number
  readonly maxBatchBytes: number
  readonly maxPendingBytes: number
  readonly lingerMs: number
  readonly compression: CompressionCodec
  /** Given up when the disk is full, so that reading goes on. */
  readonly ballast: Ballast
  /** Called for a failed write after which nothing may be trusted (D4): the process must end. */
  readonly onFatal: (error: SluiceError) => void
}

export interface CommitPathListener {
  /** A commit has settled, or `refusal` has come or gone. */
  readonly onChange: () => void
  /** A commit began a segment. */
  readonly onRolled: () => Promise<void>
  /** What memory held of a failed write is gone; the store says what the disk has (D4). */
  readonly onReadBack: () => void
  /** Drops a segment if the policy allows. @returns false if there is none that may go. */
  readonly makeRoom: () => Promise<boolean>
}

export class CommitPath {
  readonly queue: CommitQueue
  readonly recovery: WriteRecovery
  private readonly compressor: BatchCompressor
  /** Set while nothing can be written: why. */
  refusal: SluiceError | null = null
  commits = 0
  closing = false

  constructor(
    private readonly options: CommitPathOptions,
    private readonly listener: CommitPathListener,
  ) {
    this.compressor = new BatchCompressor(options.compression)
    this.recovery = new WriteRecovery({
      stream: options.name,
      directory: options.directory,
      segmentBytes: options.segmentBytes,
      ballast: options.ballast,
      store: options.store,
      exclusive: (task) => this.queue.exclusive(task),
      makeRoom: listener.makeRoom,
      isClosing: () => this.closing,
    })
    this.queue = new CommitQueue({
      maxBatchBytes: options.maxBatchBytes,
      maxPendingBytes: options.maxPendingBytes,
      lingerMs: options.lingerMs,
      write: (gathering, onSubmitted) => this.write(gathering, onSubmitted),
      onCommitted: listener.onChange,
    })
  }

  /** Runs a task while nothing is written. A failure that does not pass ends the process, as that of a write does (D4). */
  exclusive(task: () => Promise<void>): Promise<void> {
    return this.queue.exclusive(task).catch((error) => {
      const failure = storageError(error, `stream ${this.options.name} cannot be maintained`)
      if (failure.code === 'STORAGE_FAILED') this.failed(failure)
      throw failure
    })
  }

  /** Writes what was appended; from then on `refusal` is SHUTTING_DOWN. */
  async close(): Promise<void> {
    this.closing = true
    await this.queue.flush()
    this.refusal = new SluiceError('SHUTTING_DOWN', `stream ${this.options.name} is closed`)
  }

  private async write(gathering: Gathering, onSubmitted: () => void): Promise<void> {
    const { store, name } = this.options
    const segmentsBefore = store.segments.newest
    const { bytes, facts, topics } = gathering
    const onCopied = (): void => {
      gathering.recycle()
      onSubmitted()
    }
    try {
      const plain = [...gathering.finish((partition) => store.ends[partition].epoch)]
      const batches = await this.compressor.compress(plain, bytes)
      await store.write({ batches, facts, topics, bytes, onCopied })
    } catch (error) {
      const failure = storageError(error, `stream ${name} cannot be written`)
      this.failed(failure)
      throw failure
    }
    this.commits += 1
    // Not awaited: it waits for this commit to end.
    if (store.segments.newest !== segmentsBefore) this.listener.onRolled().catch((error) => this.failed(error))
  }

  private failed(failure: SluiceError): void {
    if (this.refusal) return
    this.refusal = failure
    // Whatever failed, the write itself or what it needed first: from here on readers are told what the disk says (D4).
    this.options.store.tail.clear()
    this.queue.failGathering(failure)
    this.listener.onChange()
    if (mayPass(failure)) void this.recover()
    else this.options.onFatal(failure)
  }

  private async recover(): Promise<void> {
    try {
      await this.recovery.run()
    } catch (error) {
      this.options.onFatal(error as SluiceError)
      return
    }
    if (this.closing) return
    this.listener.onReadBack()
    this.refusal = null
    this.listener.onChange()
    // What this fails with is met by the next write as well.
    await this.listener.onRolled().catch((error) => this.failed(storageError(error, 'retention failed')))
  }
}
