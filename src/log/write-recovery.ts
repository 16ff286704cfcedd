// What a stream does after a write was refused for want of space (D4): nothing is written until the disk lets it, room is made where the
// retention policy allows, and then the segment that failed is read back from disk before anything else is written.

import { rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Ballast } from '../state/ballast.js'
import { writeFileDurably } from '../state/durable-files.js'
import { mayPass, storageError } from '../state/level-database.js'
import type { SegmentStore } from './segment-store.js'

const RETRY_MS = 1000

export interface WriteRecoveryOptions {
  readonly stream: string
  readonly directory: string
  readonly segmentBytes: number
  readonly ballast: Ballast
  readonly store: SegmentStore
  /** Runs a task while nothing is written. */
  readonly exclusive: (task: () => Promise<void>) => Promise<void>
  /** Drops a segment if the policy allows. @returns false if there is none that may go. */
  readonly makeRoom: () => Promise<boolean>
  readonly isClosing: () => boolean
}

export class WriteRecovery {
  constructor(private readonly options: WriteRecoveryOptions) {}

  /**
   * The failed database goes on serving reads until there is room to open it again; only then is it closed and read back.
   * @returns when the stream can be written again, or closes. @throws SluiceError for a failure that does not pass.
   */
  async run(): Promise<void> {
    const { stream, store, exclusive, isClosing } = this.options
    while (!isClosing()) {
      try {
        await this.giveUpBallast()
        if (await this.hasRoomOrMakesIt()) {
          await this.assertWritable()
          // Without it the next refusal could find no room even for the ledger's row of what is dropped, and so for nothing else.
          await this.options.ballast.restore(this.neededBytes)
          await exclusive(() => store.reopen())
          return
        }
      } catch (error) {
        const failure = storageError(error, `stream ${stream} cannot be reopened`)
        if (!mayPass(failure)) throw failure
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref())
    }
  }

  /** Not while a segment is being flushed, which would use the space up and fail all the same. */
  async giveUpBallast(): Promise<void> {
    await this.options.store.settled
    await this.options.ballast.release()
  }

  async diskHasRoom(): Promise<boolean> {
    const { directory, ballast } = this.options
    const { bavail, bsize } = await statfs(directory)
    return bavail * bsize > this.neededBytes + ballast.bytes
  }

  /** For the segment that failed, once it is read back, and the one after it. */
  private get neededBytes(): number {
    return this.options.segmentBytes * 2
  }

  private async hasRoomOrMakesIt(): Promise<boolean> {
    for (;;) {
      if (await this.diskHasRoom()) return true
      if (this.options.isClosing() || !(await this.options.makeRoom())) return false
    }
  }

  /** Closing a database that cannot be opened again would take from readers what they still have. @throws SluiceError as storageError. */
  private async assertWritable(): Promise<void> {
    const path = join(this.options.directory, 'probe')
    await writeFileDurably(path, Buffer.alloc(0))
    await rm(path)
  }
}
