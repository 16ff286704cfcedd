// Seals the segments of a stream, one after the other: LevelDB flushes on a single thread, and each segment being sealed holds its memtable.
// One that could not be sealed is remembered, to be read back and sealed once the disk lets it.

import type { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { mayPass, storageError } from '../state/level-database.js'
import type { Segment } from './segment.js'

export class SealQueue {
  private last: Promise<void> = Promise.resolve()
  /** Their seal failed; open and readable. */
  readonly unsealed = new Set<Segment>()

  /** @param onFatal Called for a failure after which nothing may be trusted (D4): the process must end. */
  constructor(
    private readonly logger: Logger,
    private readonly onFatal: (error: SluiceError) => void,
  ) {}

  /** Resolves when the segment has been sealed, or could not be. */
  add(segment: Segment): Promise<void> {
    this.last = this.last.then(() => this.seal(segment))
    return this.last
  }

  /** Resolves when no seal is under way. */
  get settled(): Promise<void> {
    return this.last
  }

  private async seal(segment: Segment): Promise<void> {
    try {
      await segment.seal()
      this.logger.debug('sealed segment', { sequence: segment.header.sequence, bytes: segment.bytes })
    } catch (error) {
      // Its records are synced in its write-ahead log and stay readable.
      this.unsealed.add(segment)
      const failure = storageError(error, 'a segment cannot be sealed')
      if (mayPass(failure)) this.logger.warn('a segment could not be sealed; will try again', { reason: failure })
      else this.onFatal(failure)
    }
  }
}
