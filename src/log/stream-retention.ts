// Retention of one stream while it runs: drops what its policy says, rolls what is old, makes room where the node or the disk needs some, and
// knows when the stream is full because nothing may go. Each step runs while nothing is written.

import { SluiceError } from '../base/errors.js'
import type { LedgerReason } from '../state/ledger.js'
import type { CommitPath } from './commit-path.js'
import { type DropCandidate, dropCandidate, dropOldest, enforceRetention, type RetentionOptions } from './retention.js'

/** A segment is rolled when it is so much of max_age old, so that what expires goes in eight steps. */
const SEGMENTS_PER_AGE = 8

export class StreamRetention {
  /** Set while no record is taken because the stream is full. */
  full: SluiceError | null = null

  constructor(
    private readonly stream: string,
    private readonly options: RetentionOptions,
    private readonly commits: CommitPath,
    /** The log start has moved. */
    private readonly onDropped: () => void,
  ) {}

  /** Drops what retention says, rolls what is old. Called at start, after a roll and every so often. */
  maintain(): Promise<void> {
    const { store, policy } = this.options
    const { commits } = this
    return commits.exclusive(async () => {
      if (commits.closing || commits.refusal) return
      if (store.hasUnsealed && (await commits.recovery.diskHasRoom())) await store.reopen()
      if (policy.maxAgeMs !== null && store.activeAgeMs > policy.maxAgeMs / SEGMENTS_PER_AGE) await store.roll()
      const start = store.segments.oldest
      this.full = (await enforceRetention(this.options)) ? this.fullError() : null
      if (start !== store.segments.oldest) this.onDropped()
    })
  }

  /** The oldest segment, if retention lets it go for want of space. */
  get dropCandidate(): DropCandidate | null {
    return this.commits.closing ? null : dropCandidate(this.options)
  }

  /** Drops that segment. @returns false if there is none. */
  async makeRoom(reason: LedgerReason): Promise<boolean> {
    let dropped = false
    await this.commits.exclusive(async () => {
      dropped = await dropOldest(this.options, reason)
    })
    if (dropped) this.onDropped()
    return dropped
  }

  private fullError(): SluiceError {
    const { maxBytes } = this.options.policy
    const message = `stream ${this.stream} holds its max_bytes of ${maxBytes} and on_full is "reject"; it takes records again once upstreams have acknowledged the oldest`
    return new SluiceError('STORAGE_FULL', message, { stream: this.stream, maxBytes })
  }
}
