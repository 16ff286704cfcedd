// Looks into LevelDB's write-ahead log before LevelDB does (D5). LevelDB skips what fails a checksum there and says nothing: a hole, or, at the
// end, acknowledged records as if they had never been. This tells a tail that a crash has torn, which nobody was promised, from bytes
// that have changed. Called before a segment that was not sealed, or the state database, is opened.
// wal-format.ts has the grammar.

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32c } from '../base/crc32c.js'
import { listDirectory } from './durable-files.js'
import {
  BLOCK_BYTES,
  FIRST,
  FRAGMENT_HEADER_BYTES,
  fragmentEnd,
  isSoundFragment,
  LAST,
  operationsOf,
  RECORD_HEADER_BYTES,
  sequenceOf,
  unmaskedCrc,
  WHOLE,
} from './wal-format.js'

const SECTOR_BYTES = 512

export interface WalCheck {
  /** Bytes that were written have changed: what may have been acknowledged is missing. */
  readonly damaged: boolean
  /**
   * The first four bytes, u32be, of all keys that LevelDB will find in it; if damaged, only of those written later than what is missing:
   * damage hides no end where one of these is.
   */
  readonly prefixes: ReadonlySet<number>
  /** LevelDB's sequence number of the last operation found, which counts them from 1; 0 if there is none. */
  readonly lastSequence: number
}

/** Checks the write-ahead logs of a LevelDB that is not open; one without any is not damaged. */
export async function checkWal(directory: string): Promise<WalCheck> {
  const scan = new WalScan()
  // Named by number with leading zeros: in the order in which they were written.
  for (const name of (await listDirectory(directory)).filter((one) => one.endsWith('.log'))) {
    const handle = await open(join(directory, name))
    try {
      const { size } = await handle.stat()
      for (let at = 0; at < size; at += BLOCK_BYTES) {
        const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, size - at))
        await handle.read(block, 0, block.length, at)
        scan.block(block)
      }
      scan.endOfFile()
    } finally {
      await handle.close()
    }
  }
  return { damaged: scan.damaged, prefixes: scan.prefixes, lastSequence: scan.lastSequence }
}

/** Follows LevelDB's log::Reader fragment by fragment, which after a bad one goes on with the next block. */
class WalScan {
  damaged = false
  prefixes = new Set<number>()
  lastSequence = 0
  /** Met since the last sound record: 'torn' is damage only if another record begins behind it. */
  private problem: 'torn' | 'changed' | null = null
  /** Parts of the record begun and not yet ended. */
  private parts: Buffer[] | null = null

  /** @param block A whole one, or the last of a file. */
  block(block: Buffer): void {
    let at = 0
    while (block.length - at >= FRAGMENT_HEADER_BYTES) {
      const problem = fragmentProblem(block, at)
      if (problem !== null) {
        this.meet(problem)
        return
      }
      const end = fragmentEnd(block, at)
      this.fragment(block[at + 6], block.subarray(at + FRAGMENT_HEADER_BYTES, end))
      at = end
    }
  }

  endOfFile(): void {
    if (this.problem === 'changed') this.found()
    this.problem = null
    this.parts = null
  }

  private fragment(type: number, payload: Buffer): void {
    if (type === WHOLE || type === FIRST) {
      // A record without an end in front of another: some block in between was passed over, or its write failed.
      if (this.problem !== null || this.parts !== null) this.found()
      this.parts = []
    } else if (this.parts === null) {
      this.meet('changed')
      return
    }
    this.parts?.push(payload)
    if (type !== WHOLE && type !== LAST) return
    const record = Buffer.concat(this.parts ?? [])
    this.parts = null
    if (record.length < RECORD_HEADER_BYTES) return
    this.lastSequence = sequenceOf(record) + record.readUInt32LE(8) - 1
    for (const { key } of operationsOf(record)) this.remember(key)
  }

  private meet(problem: 'torn' | 'changed'): void {
    this.problem ??= problem
    this.parts = null
  }

  private found(): void {
    this.damaged = true
    this.problem = null
    this.prefixes = new Set()
  }

  private remember(key: Buffer): void {
    if (key.length >= 4) this.prefixes.add(key.readUInt32BE(0))
  }
}

function fragmentProblem(block: Buffer, at: number): 'torn' | 'changed' | null {
  const length = block.readUInt16LE(at + 4)
  const type = block[at + 6]
  const end = fragmentEnd(block, at)
  if (type === 0 && length === 0) return hasZeroSector(block, at, at + SECTOR_BYTES) ? 'torn' : 'changed'
  if (end > BLOCK_BYTES) return 'changed'
  const crc = unmaskedCrc(block.readUInt32LE(at))
  if (end > block.length) return endsSomewhere(block, at + 6, crc) ? 'changed' : 'torn'
  if (isSoundFragment(block, at)) return null
  return hasZeroSector(block, at, end) ? 'torn' : 'changed'
}

/** Whether some length makes the checksum right: then it is the length that has changed, not the end that is missing. */
function endsSomewhere(block: Buffer, start: number, crc: number): boolean {
  let running = 0
  for (let at = start; at < block.length; at++) {
    running = crc32c(block, at, at + 1, running)
    if (running === crc) return true
  }
  return false
}

/**
 * Whether a sector that [from, end) touches reads as zeros from `from` on: the file had grown, or was laid out in advance, but a power cut came
 * before this sector was written. Sectors are written wholly, in any order.
 */
function hasZeroSector(block: Buffer, from: number, end: number): boolean {
  for (let at = from; at < Math.min(end, block.length); ) {
    const sectorEnd = at - (at % SECTOR_BYTES) + SECTOR_BYTES
    if (block.subarray(at, Math.min(sectorEnd, block.length)).every((byte) => byte === 0)) return true
    at = sectorEnd
  }
  return false
}
