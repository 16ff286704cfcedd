// A small file beside a LevelDB that says how far it came (D5): LevelDB cannot tell an end that was cut off from one that was never written. It is
// written over in place: that takes no space, so a full disk cannot refuse it, and no journal, so it wears nothing out.
//
//   file = copy at 0, the same at 512, zeros between          512: a sector is written wholly or not at all
//   copy = count:u64be succeeded:u8 check:u32be               check: CRC-32C of the nine bytes before

import { close, fdatasync, open, write } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { crc32c } from '../base/crc32c.js'
import { writeFileDurably } from './durable-files.js'
import { storageError } from './level-database.js'

const COPY_AT = 512
const SUCCEEDED_AT = 8
const CHECK_AT = 9
const COPY_BYTES = 13
const FILE_BYTES = COPY_AT + COPY_BYTES
/** Between two writes of a count: a few µs of each commit saved, for what is acknowledged meanwhile and only counted after it. */
const PAUSE_MS = 5
/** A count survives its process at once, and a power cut so much later at most, while writes go on. */
const SYNC_EVERY_MS = 10_000

const openFile = promisify(open)
const closeFile = promisify(close)

export interface Witness {
  /** What was synced; behind by the last few milliseconds, never ahead. */
  readonly count: number
  /** Something else has begun to take its place. */
  readonly succeeded: boolean
}

/** Makes the file; durable when it resolves. @throws SluiceError as storageError. */
export function createWitness(path: string, witness: Witness): Promise<void> {
  return writeFileDurably(path, encode(witness))
}

/** @returns null if the file is missing or damaged: then nothing is known. */
export async function readWitness(path: string): Promise<Witness | null> {
  const bytes = await readFile(path).catch(() => null)
  return bytes && (decode(bytes, 0) ?? decode(bytes, COPY_AT))
}

/** The file of a database that is being written: up to two hundred times a second, so that little is made for a write but the write. */
export class WitnessFile {
  private wanted: Witness | null = null
  /** Of the write that is under way. */
  private readonly bytes = Buffer.alloc(FILE_BYTES)
  /** A write is under way, or the pause after it. */
  private isBusy = false
  private isPausing = false
  private pause: NodeJS.Timeout | null = null
  private isClosing = false
  private whenIdle = (): void => {}
  private syncedAtMs = performance.now()
  private failure: Error | null = null

  private constructor(
    private readonly path: string,
    private readonly descriptor: number,
  ) {}

  /** @throws SluiceError as storageError. */
  static async open(path: string): Promise<WitnessFile> {
    try {
      return new WitnessFile(path, await openFile(path, 'r+'))
    } catch (error) {
      throw storageError(error, `the file ${path} cannot be opened`)
    }
  }

  /** Nobody waits for it: what is noted while a write is under way goes with the next. @throws what an earlier one failed with (D4). */
  note(witness: Witness): void {
    if (this.failure) throw this.failure
    this.wanted = witness
    if (!this.isBusy) this.writeWanted()
  }

  /** @param sync Have what was noted on disk first. @throws SluiceError as storageError. */
  async close({ sync = false } = {}): Promise<void> {
    if (sync) this.syncedAtMs = Number.NEGATIVE_INFINITY
    this.isClosing = true
    if (this.isBusy) {
      const idle = new Promise<void>((resolve) => (this.whenIdle = resolve))
      if (this.isPausing) {
        clearTimeout(this.pause!)
        this.writeWanted()
      }
      await idle
    }
    await closeFile(this.descriptor)
    if (this.failure) throw this.failure
  }

  private writeWanted(): void {
    const { wanted, bytes } = this
    this.isPausing = false
    this.isBusy = wanted !== null
    if (wanted === null) {
      this.whenIdle()
      return
    }
    this.wanted = null
    encode(wanted, bytes)
    write(this.descriptor, bytes, 0, bytes.length, 0, this.onWritten)
  }

  private readonly onWritten = (error: Error | null): void => {
    if (error || performance.now() - this.syncedAtMs < SYNC_EVERY_MS) {
      this.onDone(error)
      return
    }
    this.syncedAtMs = performance.now()
    fdatasync(this.descriptor, this.onDone)
  }

  private readonly onDone = (error: Error | null): void => {
    if (error) {
      this.failure = storageError(error, `the file ${this.path} cannot be written`)
      this.wanted = null
    }
    if (error || this.isClosing) this.writeWanted()
    else this.takePause()
  }

  private takePause(): void {
    this.isPausing = true
    this.pause = setTimeout(this.afterPause, PAUSE_MS).unref()
  }

  private readonly afterPause = (): void => this.writeWanted()
}

/** @param bytes A file's worth of zeros, or what was encoded before. */
function encode({ count, succeeded }: Witness, bytes = Buffer.alloc(FILE_BYTES)): Buffer {
  bytes.writeUInt32BE(Math.floor(count / 0x1_0000_0000), 0)
  bytes.writeUInt32BE(count >>> 0, 4)
  bytes[SUCCEEDED_AT] = succeeded ? 1 : 0
  bytes.writeUInt32BE(crc32c(bytes, 0, CHECK_AT), CHECK_AT)
  bytes.copyWithin(COPY_AT, 0, COPY_BYTES)
  return bytes
}

function decode(bytes: Buffer, at: number): Witness | null {
  if (bytes.length < at + COPY_BYTES) return null
  if (crc32c(bytes, at, at + CHECK_AT) !== bytes.readUInt32BE(at + CHECK_AT)) return null
  return { count: Number(bytes.readBigUInt64BE(at)), succeeded: bytes[at + SUCCEEDED_AT] === 1 }
}
