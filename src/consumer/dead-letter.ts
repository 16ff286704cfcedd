// A message that nobody could work on, as a record of the dead letter stream: the record as it was, with headers that say where it lay, how
// often it was tried and why it failed last.

import { appendDeadLetter as append, DEAD_LETTER_PREFIX as PREFIX } from '../log/dead-letter.js'
import type { Commit, Stream } from '../log/types.js'
import type { LogRecord, RecordHeader } from '../record/record.js'
import { identityOf } from './stream-identity.js'

/** Longest reason kept, UTF-16 units. */
export const MAX_REASON_LENGTH = 256

export interface DeadLetter {
  readonly stream: Stream
  readonly group: string
  readonly partition: number
  readonly record: LogRecord
  readonly attempts: number
  readonly reason: string
}

export interface DeadLetterOrigin {
  /** Of a mirror `ORIGIN.STREAM`. */
  readonly stream: string
  /** Of a mirror, else 1. */
  readonly incarnation: number
  readonly group: string
  readonly partition: number
  readonly offset: number
}

/** @throws SluiceError as Stream.append. */
export function appendDeadLetter(to: Stream, letter: DeadLetter, timestampMs: number): Commit {
  const { record } = letter
  const { stream, incarnation } = identityOf(letter.stream)
  const facts = {
    stream,
    ...(letter.stream.mirrorOf && { incarnation }),
    group: letter.group,
    partition: letter.partition,
    offset: record.offset,
    attempts: letter.attempts,
    reason: letter.reason.slice(0, MAX_REASON_LENGTH),
    timestamp_ms: record.timestampMs,
  }
  return append(to, record, facts, timestampMs)
}

/** Where a dead letter came from; null for a record that is none. */
export function originOf(headers: readonly RecordHeader[]): DeadLetterOrigin | null {
  const text = (name: string): string | undefined => {
    const value = headers.find(({ key }) => key === PREFIX + name)?.value
    return value === undefined || value === null ? undefined : Buffer.from(value).toString()
  }
  const count = (name: string): number => Number(text(name) ?? Number.NaN)
  const [stream, group, partition, offset] = [text('stream'), text('group'), count('partition'), count('offset')]
  const incarnation = Number(text('incarnation') ?? 1)
  if (stream === undefined || group === undefined) return null
  if (![partition, offset, incarnation].every((value) => Number.isSafeInteger(value) && value >= 0)) return null
  return { stream, incarnation, group, partition, offset }
}
