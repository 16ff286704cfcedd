// Stored batches as lines of JSON. Those who follow a stream want the same newest batches at the same time: what was made for one is held for the
// others, up to a maximum.

import type { Offset } from '../record/record.js'
import { baseOffsetOf, crcOf } from '../record/record-batch.js'
import { batchesAsJson } from './record-json.js'

/** Of all lines held together, inclusive; the oldest give way. */
export const MAX_HELD_BYTES = 1024 * 1024
/** A piece is sent once it has so many bytes; it is larger by at most one batch. */
const PIECE_BYTES = 64 * 1024

interface Held {
  /** Of the batch: a name can come to stand for another mirror, with other records at the same offsets. */
  readonly crc: number
  readonly lines: Buffer
}

export class RecordLines {
  private readonly held = new Map<string, Held>()
  private heldBytes = 0

  get bytes(): number {
    return this.heldBytes
  }

  /** The records at and after `from`, a line each; one batch is decoded at a time. */
  *pieces(stream: string, partition: number, batches: readonly Buffer[], from: Offset): Generator<Buffer, void> {
    let gathered: Buffer[] = []
    let bytes = 0
    for (const batch of batches) {
      const lines = this.linesOf(stream, partition, batch, from)
      if (lines.length === 0) continue
      gathered.push(lines)
      bytes += lines.length
      if (bytes < PIECE_BYTES) continue
      yield joined(gathered, bytes)
      gathered = []
      bytes = 0
    }
    if (bytes > 0) yield joined(gathered, bytes)
  }

  private linesOf(stream: string, partition: number, batch: Buffer, from: Offset): Buffer {
    const baseOffset = baseOffsetOf(batch)
    if (from > baseOffset) return encode(stream, partition, batch, from)
    const key = `${stream}/${partition}/${baseOffset}`
    const crc = crcOf(batch)
    const known = this.held.get(key)
    if (known?.crc === crc) return known.lines
    const lines = encode(stream, partition, batch, from)
    this.hold(key, { crc, lines })
    return lines
  }

  private hold(key: string, entry: Held): void {
    this.drop(key)
    if (memoryOf(entry) > MAX_HELD_BYTES) return
    this.held.set(key, entry)
    this.heldBytes += memoryOf(entry)
    for (const oldest of this.held.keys()) {
      if (this.heldBytes <= MAX_HELD_BYTES) break
      this.drop(oldest)
    }
  }

  private drop(key: string): void {
    const entry = this.held.get(key)
    if (entry === undefined) return
    this.held.delete(key)
    this.heldBytes -= memoryOf(entry)
  }
}

/** They lie in memory for what they were expected to take, which for a compressed batch is a guess. */
function memoryOf({ lines }: Held): number {
  return lines.buffer.byteLength
}

function encode(stream: string, partition: number, batch: Buffer, from: Offset): Buffer {
  return batchesAsJson(stream, partition, [batch], from, '\n').json
}

function joined(parts: readonly Buffer[], bytes: number): Buffer {
  return parts.length === 1 ? parts[0] : Buffer.concat(parts, bytes)
}
