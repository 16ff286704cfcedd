// The words of a work queue: what workers ask for and hear, and what a queue is made of.

import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import { murmur2 } from '../base/murmur2.js'
import type { Stream } from '../log/types.js'
import type { LogRecord } from '../record/record.js'
import type { QueuePartition } from './queue-partition.js'
import type { QueueSaver } from './queue-saver.js'

export interface QueueSettings {
  /** Attempts after which a message becomes a dead letter; without a dead letter stream they have no limit. */
  readonly maxAttempts: number
  readonly deadLetters: Stream | null
  readonly visibilityTimeoutMs: number
  /** Per partition, inclusive. */
  readonly maxPending: number
}

export interface QueueReceive {
  readonly maxMessages: number
  /** Bounds the payloads of an answer; the first message comes whatever its size. */
  readonly maxBytes: number
  /** How long the messages are this worker's. Default: the queue's. */
  readonly visibilityTimeoutMs?: number
  readonly waitMs: number
  /** Messages of one key one at a time, in order. */
  readonly orderedByKey: boolean
}

export interface QueueMessage {
  readonly partition: number
  readonly record: LogRecord
  /** Counted from 1. */
  readonly attempt: number
  readonly receipt: string
}

/** Messages that retention has taken before they were done; both ends inclusive. */
export interface LostRange {
  readonly partition: number
  readonly firstOffset: number
  readonly lastOffset: number
}

export interface QueueReceived {
  readonly messages: readonly QueueMessage[]
  readonly lost: readonly LostRange[]
}

/** What became of receipts. */
export interface QueueOutcome {
  readonly done: number
  /** Receipts of messages that were handed to somebody else meanwhile, or, but for an ack, that are done. */
  readonly stale: readonly string[]
}

/** Waits until `ready`, at most `waitMs`. @returns false when nobody will read the answer. */
export type WaitForMessages = (
  work: { ready(): boolean; subscribe(wake: () => void): () => void },
  waitMs: number,
) => Promise<boolean>

export interface WorkQueueOptions {
  readonly group: string
  readonly stream: Stream
  /** Shared with `saver`; grows with the stream. */
  readonly partitions: QueuePartition[]
  readonly saver: QueueSaver
  readonly settings: QueueSettings
  readonly clock: Clock
  readonly logger: Logger
}

/** Stands for the key of a message, where order by key is asked for. */
export function hashOf({ key }: LogRecord): number {
  return key === null ? 0 : murmur2(key)
}
