// A message that nobody could work on, as a record of the dead letter stream: the record as it was, with headers that say where it lay, how
// often it was tried and why it failed last.

import { appendDeadLetter as append, DEAD_LETTER_PREFIX as PREFIX } from '../log/dead-letter.js'
import type { Commit, Stream } from '../log/types.js'
import type { LogRecord, RecordHeader } from '../record/record.js'

/** Longest reason kept, UTF-16 units. */
export const MAX_REASON_LENGTH = 256

export interface DeadLetter {
  readonly stream: string
  readonly group: string
  readonly partition: number
  readonly record: LogRecord
  readonly attempts: number
  readonly reason: string
}

export interface DeadLetterOrigin {
  readonly stream: string
  readonly group: string
  readonly partition: number
  readonly offset: number
}

/** @throws SluiceError as Stream.append. */
export function appendDeadLetter(to: Stream, letter: DeadLetter, timestampMs: number): Commit {
  const { record } = letter
  const facts = {
    stream: letter.stream,
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
  const [stream, group, partition, offset] = [
    text('stream'),
    text('group'),
    Number(text('partition')),
    Number(text('offset')),
  ]
  if (stream === undefined || group === undefined) return null
  if (!Number.isSafeInteger(partition) || !Number.isSafeInteger(offset) || partition < 0 || offset < 0) return null
  return { stream, group, partition, offset }
}
