// Fills a segment's write-ahead log with zeros ahead of LevelDB. Appending to a file makes each fdatasync write the file system's journal as
// well, for the new length: on ext4 some 20 KB a commit. Writing over what is there does not: a commit of 1.4 KB then costs the device 7 KB
// instead of 20, the zeros counted in, and a third to two thirds less time; from LARGE_WRITE_BYTES on the zeros would cost more than the journal.
// LevelDB's own reader skips zeros, and so does wal-check.ts.
//
// Only bytes that LevelDB has not reached may be filled. Before the segment's birth that is all of its log, filled at leisure. From then on it is
// what lies behind the end of the file, filled a step at a time between two writes.

import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../base/assert.js'
import { Pause } from '../base/pause.js'
import { listDirectory } from '../state/durable-files.js'
import { storageError } from '../state/level-database.js'
import { BLOCK_BYTES, FRAGMENT_HEADER_BYTES, RECORD_HEADER_BYTES } from '../state/wal-format.js'

const STEP = Buffer.alloc(256 * 1024)
/** Time left to others between two steps at leisure, as a multiple of what a step took: commits have the disk most of the time. */
const PAUSE = 4
/** Writes from this size on are appended. */
export const LARGE_WRITE_BYTES = 24 * 1024

export class WalLayout {
  private readonly pause = new Pause()
  private readonly filledAtLeisure: Promise<void>
  private begun = false
  private file: FileHandle | null = null
  /** Bytes from the start that are zeros or written. */
  private laidOut = 0
  /** Where LevelDB writes next, about: put right whenever LevelDB has come beyond what is laid out. */
  private position = 0

  /** @param directory Of a LevelDB that nobody has written to. @param atLeisure Bytes to fill before the segment's birth. */
  constructor(
    private readonly directory: string,
    atLeisure: number,
  ) {
    this.filledAtLeisure = this.fillAtLeisure(atLeisure)
    // Whoever calls `begin` hears of a failure.
    this.filledAtLeisure.catch(() => {})
  }

  /** Before the first write. @throws SluiceError when the disk failed: what is written next to it cannot be trusted either (D4). */
  begin(): Promise<void> {
    this.begun = true
    this.pause.end()
    return this.filledAtLeisure
  }

  /**
   * To be awaited before each write but the first, while no other is under way: lays out a step where the write would come to the end of what is laid out.
   * @param bytes What it takes in the log, at most: see walBytesOf. @throws SluiceError unless all that is wrong is a want of room.
   */
  async beforeWrite(bytes: number): Promise<void> {
    assert(this.begun, 'a log is filled at leisure only until it is written')
    if (this.position + bytes > this.laidOut && bytes < LARGE_WRITE_BYTES) await this.layOutBehindTheEnd()
    this.position += bytes
  }

  async close(): Promise<void> {
    await this.begin().catch(() => {})
    await this.file?.close()
    this.file = null
  }

  private async fillAtLeisure(bytes: number): Promise<void> {
    const name = (await listDirectory(this.directory)).find((one) => one.endsWith('.log'))
    if (name === undefined) return
    this.file = await open(join(this.directory, name), 'r+')
    while (this.laidOut < bytes && !this.begun) {
      const startedAt = performance.now()
      if (!(await this.layOut(this.file, this.laidOut))) return
      await this.pause.wait((performance.now() - startedAt) * PAUSE)
    }
  }

  private async layOutBehindTheEnd(): Promise<void> {
    if (this.file === null) return
    const { size } = await this.file.stat()
    // LevelDB has appended: it stands at the end.
    if (size > this.laidOut) this.position = size
    await this.layOut(this.file, size)
  }

  /** @returns false if there is no room: without zeros the log is only slower. */
  private async layOut(file: FileHandle, from: number): Promise<boolean> {
    try {
      await file.write(STEP, 0, STEP.length, from)
      await file.datasync()
      this.laidOut = from + STEP.length
      return true
    } catch (error) {
      const failure = storageError(error, 'a write-ahead log cannot be laid out')
      if (failure.code !== 'STORAGE_FULL') throw failure
      await file.truncate(from)
      return false
    }
  }
}

/** Of an operation: its type and the lengths of its key and value. */
const OPERATION_BYTES = 7

/** What a batch of LevelDB's takes in its log, at most; the grammar is at the top of wal-format.ts. */
export function walBytesOf(operations: readonly { readonly key: Buffer; readonly value?: Buffer }[]): number {
  let bytes = RECORD_HEADER_BYTES
  for (const { key, value } of operations) bytes += OPERATION_BYTES + key.length + (value?.length ?? 0)
  // A fragment in each block it touches, and the rest of a block that is too short for one.
  return bytes + (Math.floor(bytes / BLOCK_BYTES) + 2) * FRAGMENT_HEADER_BYTES
}
