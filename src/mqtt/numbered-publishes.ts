// Messages that their producer numbers, so that one that is sent again is stored once, also across restarts. What is kept of a producer is one
// fact per stream, its highest number there, stored in one write with the message: both are on disk, or neither. Unlike Stream.appendFrom it
// recognises a resend however old and takes one numbering that is spread over many streams and partitions; the producer must send in order.
//
// Bounded: per stream the producer not heard of for longest is forgotten first. Used by MqttFront.

import type { Commit, Stream } from '../log/types.js'
import { SettableCommit } from './settable-commit.js'

/** Producers remembered per stream, inclusive. */
const MAX_NUMBERED_PRODUCERS = 10_000
const FACT_KIND = 'numbered/'
const FACT_BYTES = 16
const MAX_PRODUCER_ID_BYTES = 256
const DURABLE = SettableCommit.settled(null)

export interface NumberedBy {
  /** Who numbers: at most 256 bytes of UTF-8, stable for ever. */
  readonly id: string
  /** A numbering. A producer that has forgotten its numbers takes an epoch it never had. 0 to 2^32 - 1. */
  readonly epoch: number
  /** Rises from message to message of an epoch, whatever their topics; gaps are allowed. 0 to 2^32 - 1. */
  readonly sequence: number
}

export interface NumberedPublish {
  readonly commit: Commit
  /** It was published before: nothing was added. */
  readonly duplicate: boolean
}

interface Mark {
  readonly epoch: number
  readonly sequence: number
  readonly usedAtMs: number
  readonly commit: Commit
}

export class NumberedPublishes {
  private readonly perStream = new Map<Stream, Map<string, Mark>>()

  /**
   * @param publish Appends the message to `stream`.
   * @throws RangeError for numbers out of range; SluiceError whatever the log throws: then nothing has happened.
   */
  publish(
    { id, epoch, sequence }: NumberedBy,
    stream: Stream,
    usedAtMs: number,
    publish: () => Commit,
  ): NumberedPublish {
    checkNumber(epoch)
    checkNumber(sequence)
    const marks = this.marksOf(stream)
    let known = marks.get(id)
    if (known?.commit.state === 'failed') known = storedMark(stream, id)
    if (known?.epoch === epoch && sequence <= known.sequence) return { commit: known.commit, duplicate: true }
    const name = nameOf(id)
    stream.setFact(name, encodeMark(epoch, sequence, usedAtMs))
    let commit: Commit
    try {
      commit = publish()
    } catch (error) {
      restore(stream, name, known)
      throw error
    }
    marks.delete(id)
    marks.set(id, { epoch, sequence, usedAtMs, commit })
    if (marks.size > MAX_NUMBERED_PRODUCERS) {
      const [oldest] = marks.keys()
      marks.delete(oldest)
      restore(stream, nameOf(oldest), undefined)
    }
    return { commit, duplicate: false }
  }

  private marksOf(stream: Stream): Map<string, Mark> {
    const there = this.perStream.get(stream)
    if (there !== undefined) return there
    const stored = [...stream.facts(FACT_KIND)].map(
      ([name, value]) => [name.slice(FACT_KIND.length), decodeMark(value)] as const,
    )
    const marks = new Map(stored.sort(([, a], [, b]) => a.usedAtMs - b.usedAtMs))
    this.perStream.set(stream, marks)
    return marks
  }
}

/** What the disk says: with a write that failed, nothing in memory is to be trusted. */
function storedMark(stream: Stream, id: string): Mark | undefined {
  const value = stream.facts(nameOf(id)).get(nameOf(id))
  return value === undefined ? undefined : decodeMark(value)
}

/** Puts back what the fact said before. A refusal means that nothing is written any more, the fact included. */
function restore(stream: Stream, name: string, mark: Mark | undefined): void {
  try {
    stream.setFact(name, mark === undefined ? null : encodeMark(mark.epoch, mark.sequence, mark.usedAtMs))
  } catch {}
}

function nameOf(id: string): string {
  if (id === '' || Buffer.byteLength(id) > MAX_PRODUCER_ID_BYTES)
    throw new RangeError(`a producer id has 1 to ${MAX_PRODUCER_ID_BYTES} bytes`)
  return `${FACT_KIND}${id}`
}

function checkNumber(value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw new RangeError(`not a u32: ${value}`)
}

/** epoch u32be | sequence u32be | when it was used, milliseconds since 1970, f64be */
function encodeMark(epoch: number, sequence: number, usedAtMs: number): Uint8Array {
  const bytes = Buffer.alloc(FACT_BYTES)
  bytes.writeUInt32BE(epoch, 0)
  bytes.writeUInt32BE(sequence, 4)
  bytes.writeDoubleBE(usedAtMs, 8)
  return bytes
}

function decodeMark(value: Uint8Array): Mark {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  return {
    epoch: bytes.readUInt32BE(0),
    sequence: bytes.readUInt32BE(4),
    usedAtMs: bytes.readDoubleBE(8),
    commit: DURABLE,
  }
}
