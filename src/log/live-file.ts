// The file `live` of a segment: there from the segment's birth on, and a witness of how far it came (D5). LevelDB's log cannot tell an end that was
// cut off from one that was never written, nor can a segment tell that its successor is gone. What is acknowledged out of the segment is
// counted here as well, written over in place: that takes no space, so a full disk cannot refuse it, and no journal, so it wears nothing out.
//
//   live = copy at 0, the same at 512, zeros between        512: a sector is written wholly or not at all
//   copy = operations:u32be succeeded:u8 check:u32be        check: CRC-32C of the five bytes before
//
// `operations` counts the puts and deletes that are synced in 000003.log, the log the segment was born with, which is LevelDB's sequence number
// too; it may be behind by those of the last few milliseconds, never ahead. `succeeded` is 1 once records in the next segment may have been acknowledged.

import { close, fdatasync, open, write } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32c } from '../base/crc32c.js'
import { listDirectory, writeFileDurably } from '../state/durable-files.js'
import { storageError } from '../state/level-database.js'
import type { WalCheck } from '../state/wal-check.js'

export const LIVE_FILE = 'live'
const FIRST_LOG = '000003.log'
const COPY_AT = 512
const CHECKED_BYTES = 5
const COPY_BYTES = 9
const FILE_BYTES = COPY_AT + COPY_BYTES
/** Between two writes of a count: a few µs of each commit saved, for what is acknowledged meanwhile and only counted after it. */
const PAUSE_MS = 5
/** A count survives its process at once, and a power cut so much later at most, while writes go on. */
const SYNC_EVERY_MS = 10_000

const openFile = promisify(open)
const closeFile = promisify(close)

export interface Witness {
  readonly operations: number
  readonly succeeded: boolean
}

/** Makes the file; durable when it resolves. @throws SluiceError as storageError. */
export function createLiveFile(directory: string, witness: Witness): Promise<void> {
  return writeFileDurably(join(directory, LIVE_FILE), encode(witness))
}

/** @returns null if the file is missing or damaged: then nothing is known. */
export async function readLiveFile(directory: string): Promise<Witness | null> {
  const bytes = await readFile(join(directory, LIVE_FILE)).catch(() => null)
  return bytes && (decode(bytes, 0) ?? decode(bytes, COPY_AT))
}

/** Whether the log of a segment that was not sealed ends before what was acknowledged out of it, or nobody knows. */
export async function lacksAcknowledged(directory: string, { lastSequence }: WalCheck): Promise<boolean> {
  const witness = await readLiveFile(directory)
  if (witness === null) return true
  // Once a start, or a seal, has had LevelDB make a table of it, the log is gone; if it is missing without that, LevelDB says so.
  return lastSequence < witness.operations && (await listDirectory(directory)).includes(FIRST_LOG)
}

/** Says of a segment that is not written any more that there is a next one. Durable when it resolves. */
export async function markSucceeded(directory: string): Promise<void> {
  const witness = await readLiveFile(directory)
  if (witness === null) return createLiveFile(directory, { operations: 0, succeeded: true })
  const file = await LiveFile.open(directory)
  file.note({ ...witness, succeeded: true })
  await file.close({ sync: true })
}

/** The file of a segment that is being written. */
export class LiveFile {
  private wanted: Witness | null = null
  private writing: Promise<void> | null = null
  private syncedAtMs = performance.now()
  private failure: Error | null = null
  private closing = false
  private endPause: () => void = () => {}

  private constructor(
    private readonly directory: string,
    private readonly descriptor: number,
  ) {}

  /** @throws SluiceError as storageError. */
  static async open(directory: string): Promise<LiveFile> {
    try {
      return new LiveFile(directory, await openFile(join(directory, LIVE_FILE), 'r+'))
    } catch (error) {
      throw storageError(error, `the file ${join(directory, LIVE_FILE)} cannot be opened`)
    }
  }

  /** Nobody waits for it: what is noted while a write is under way goes with the next. @throws what an earlier one failed with (D4). */
  note(witness: Witness): void {
    if (this.failure) throw this.failure
    this.wanted = witness
    this.writing ??= this.writeWanted()
  }

  /** @param sync Have what was noted on disk first. @throws SluiceError as storageError. */
  async close({ sync = false } = {}): Promise<void> {
    if (sync) this.syncedAtMs = Number.NEGATIVE_INFINITY
    this.closing = true
    this.endPause()
    await this.writing
    await closeFile(this.descriptor)
    if (this.failure) throw this.failure
  }

  private async writeWanted(): Promise<void> {
    try {
      while (this.wanted !== null) {
        const bytes = encode(this.wanted)
        this.wanted = null
        await this.inPlace(bytes)
        await this.pause()
      }
    } catch (error) {
      this.failure = storageError(error, `the file ${join(this.directory, LIVE_FILE)} cannot be written`)
    }
    this.writing = null
  }

  private pause(): Promise<void> {
    if (this.closing) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, PAUSE_MS).unref()
      this.endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  private inPlace(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null): void => (error ? reject(error) : resolve())
      write(this.descriptor, bytes, 0, bytes.length, 0, (error) => {
        if (error || performance.now() - this.syncedAtMs < SYNC_EVERY_MS) return done(error)
        this.syncedAtMs = performance.now()
        fdatasync(this.descriptor, done)
      })
    })
  }
}

function encode({ operations, succeeded }: Witness): Buffer {
  const bytes = Buffer.alloc(FILE_BYTES)
  bytes.writeUInt32BE(operations, 0)
  bytes[4] = succeeded ? 1 : 0
  bytes.writeUInt32BE(crc32c(bytes, 0, CHECKED_BYTES), CHECKED_BYTES)
  bytes.copy(bytes, COPY_AT, 0, COPY_BYTES)
  return bytes
}

function decode(bytes: Buffer, at: number): Witness | null {
  if (bytes.length < at + COPY_BYTES) return null
  if (crc32c(bytes, at, at + CHECKED_BYTES) !== bytes.readUInt32BE(at + CHECKED_BYTES)) return null
  return { operations: bytes.readUInt32BE(at), succeeded: bytes[at + 4] === 1 }
}
