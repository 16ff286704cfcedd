// The writing side of a segment, from the opening of its database ahead of need to its last write: the database, the write-ahead log that is
// laid out ahead of it (wal-layout.ts), and the witness of what was synced (live-file.ts).

import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncDirectory } from '../state/durable-files.js'
import {
  type LevelDatabase,
  type LevelOperation,
  openLevel,
  storageError,
  writeSynced,
} from '../state/level-database.js'
import type { WitnessFile } from '../state/witness-file.js'
import { metaKey } from './keys.js'
import { createLiveFile, openLiveFile } from './live-file.js'
import { factOperation } from './segment-facts.js'
import { encodeHeader, type SegmentHeader } from './segment-index.js'
import { WalLayout, walBytesOf } from './wal-layout.js'

/** A segment's database, opened ahead of need; holds nothing and is nothing until its birth. */
export interface PreparedSegment {
  readonly directory: string
  readonly database: LevelDatabase
  readonly layout: WalLayout
}

export interface PrepareOptions {
  /** Larger than the segment, so that LevelDB never flushes by itself. */
  readonly writeBufferBytes: number
  /** How much of the write-ahead log to lay out until its birth. */
  readonly laidOutBytes: number
}

export async function prepareSegment(directory: string, options: PrepareOptions): Promise<PreparedSegment> {
  await rm(directory, { recursive: true, force: true })
  const database = await openLevel(directory, { writeBufferBytes: options.writeBufferBytes, createIfMissing: true })
  return { directory, database, layout: new WalLayout(directory, options.laidOutBytes) }
}

/** Undoes what `prepareSegment` did. */
export async function discardPrepared({ directory, database, layout }: PreparedSegment): Promise<void> {
  await layout.close()
  await database.close()
  await rm(directory, { recursive: true, force: true })
}

export class SegmentWriter {
  private ended: Promise<void> | null = null

  private constructor(
    private readonly database: LevelDatabase,
    private readonly layout: WalLayout,
    private readonly live: WitnessFile,
    /** Puts and deletes so far. */
    private operations: number,
  ) {}

  /** Makes a prepared database a segment: after this, records in it may be acknowledged. @throws SluiceError as storageError; it is closed then. */
  static async birth(
    { directory, database, layout }: PreparedSegment,
    header: SegmentHeader,
    facts: ReadonlyMap<string, Uint8Array>,
  ): Promise<SegmentWriter> {
    try {
      await layout.begin()
      const operations: LevelOperation[] = [{ type: 'put', key: metaKey('header'), value: encodeHeader(header) }]
      for (const [name, value] of facts) operations.push(factOperation(name, value))
      // Not laid out for: whether what follows is small enough to gain by it is not known yet.
      await database.batch(operations, { sync: true })
      await createLiveFile(directory, { count: operations.length, succeeded: false })
      await syncDirectory(dirname(directory))
      return new SegmentWriter(database, layout, await openLiveFile(directory), operations.length)
    } catch (error) {
      await layout.close()
      // Otherwise the next attempt would find it locked.
      await database.close()
      throw storageError(error, `the segment ${directory} cannot be begun`)
    }
  }

  /** One sync write, while no other is under way. @param onCopied Called when its bytes have been copied. */
  async write(operations: LevelOperation[], onCopied: () => void): Promise<void> {
    await this.layout.beforeWrite(walBytesOf(operations))
    const written = writeSynced(this.database, operations)
    onCopied()
    await written
    this.operations += operations.length
    this.live.note({ count: this.operations, succeeded: false })
  }

  /** Nothing is written any more; the database stays open. @throws SluiceError for what the witness has failed with, each time. */
  end(): Promise<void> {
    this.ended ??= Promise.all([this.live.close(), this.layout.close()]).then(() => {})
    return this.ended
  }
}
