// What the routes need of the rest of a node, declared here because siblings do not import each other; node.ts passes in what fits.

import type { StartPosition } from '../base/start-position.js'
import type { Commit } from '../log/types.js'
import type { LogRecord, Offset, Qos, RecordHeader } from '../record/record.js'

/** Where a record lies once `commit` is durable. */
export interface Published {
  readonly partition: number
  readonly offset: Offset
  /** What must be durable before the record may be acknowledged. */
  readonly commit: Commit
}

export interface OutgoingMessage {
  readonly mqttTopic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly headers: readonly RecordHeader[]
}

/** The publish path, as a program uses it: what it publishes reaches the log, subscribers and upstreams as any device's does. */
export interface Producer {
  /**
   * Where a message of this MQTT topic goes; null when no stream takes it.
   * @param clientId Decides the partition where the stream's key is `client`.
   */
  routeOf(mqttTopic: string, clientId: string): { readonly stream: string; readonly partition: number } | null
  /** Largest payload, bytes, inclusive. */
  readonly maxPayloadBytes: number
  /**
   * Appends messages, in order and in one go: those of one stream become durable together, or none does.
   * @throws SluiceError STORAGE_FULL, RECORD_TOO_LARGE, STORAGE_READ_ONLY, TOO_MANY_REQUESTS, SHUTTING_DOWN: then nothing has happened.
   */
  publish(messages: readonly OutgoingMessage[], clientId: string): readonly Published[]
  /** Makes a message that is stored already the retained one of its topic. @returns what must be durable before it may be acknowledged. */
  retain(message: OutgoingMessage): Commit
}

export type AssignmentStrategy = 'range' | 'round_robin' | 'sticky'

interface Assigned {
  readonly stream: string
  readonly partition: number
}

/** Consumer groups, as PullGroups offers them. */
export interface Groups {
  join(
    group: string,
    request: {
      readonly streams: readonly string[]
      readonly memberId?: string
      readonly instanceId?: string
      readonly memberName: string
      readonly sessionTimeoutMs: number
      readonly rebalanceTimeoutMs: number
      readonly assignment?: readonly AssignmentStrategy[]
      readonly offsetReset: StartPosition
    },
  ): Promise<{
    readonly memberId: string
    readonly generation: number
    readonly assignments: readonly (Assigned & { readonly position: Offset })[]
  }>
  fetch(
    group: string,
    memberId: string,
    request: {
      readonly maxRecords: number
      readonly maxBytes: number
      readonly after?: number
      readonly asStored?: boolean
    },
    wait: (work: { ready(): boolean; subscribe(wake: () => void): () => void }) => Promise<boolean>,
  ): Promise<GroupFetched>
  /** From what is committed on, as stored batches, endlessly; without partitions where `wait` has ended with nothing. */
  follow(
    group: string,
    memberId: string,
    maxBytes: number,
    wait: (work: { ready(): boolean; subscribe(wake: () => void): () => void }) => Promise<boolean>,
  ): AsyncIterable<GroupFetched>
  heartbeat(
    group: string,
    memberId: string,
    as?: { readonly generation?: number; readonly instanceId?: string },
  ): { readonly generation: number }
  leave(group: string, memberId: string): void
  commit(
    group: string,
    commits: readonly (Assigned & {
      readonly offset: Offset
      readonly metadata?: string
      readonly leaderEpoch?: number
    })[],
    identity?: { readonly memberId: string; readonly generation: number; readonly instanceId?: string },
  ): Promise<void>
  list(): readonly string[]
  describe(group: string): DescribedGroup
  remove(group: string): Promise<void>
}

/** Work queues, as WorkQueues offers them. */
export interface Queues {
  receive(
    stream: string,
    group: string,
    request: {
      readonly maxMessages: number
      readonly maxBytes: number
      readonly visibilityTimeoutMs?: number
      readonly waitMs: number
      readonly orderedByKey: boolean
      readonly start: StartPosition
    },
    wait: (work: { ready(): boolean; subscribe(wake: () => void): () => void }, waitMs: number) => Promise<boolean>,
  ): Promise<{
    readonly messages: readonly {
      readonly partition: number
      readonly record: LogRecord
      readonly attempt: number
      readonly receipt: string
    }[]
    readonly lost: readonly { readonly partition: number; readonly firstOffset: number; readonly lastOffset: number }[]
  }>
  ack(stream: string, group: string, receipts: readonly string[]): Promise<ReceiptOutcome>
  nack(
    stream: string,
    group: string,
    receipts: readonly string[],
    request: { readonly delayMs: number; readonly reason: string; readonly deadLetter: boolean },
  ): Promise<ReceiptOutcome>
  extend(stream: string, group: string, receipts: readonly string[], visibilityTimeoutMs: number): ReceiptOutcome
  redrive(stream: string, group: string, maximum: number): Promise<{ readonly redriven: number; readonly gone: number }>
  list(): readonly DescribedQueue[]
  describe(stream: string, group: string): DescribedQueue
  remove(stream: string, group: string): Promise<void>
}

export interface ReceiptOutcome {
  readonly done: number
  readonly stale: readonly string[]
}

export interface DescribedQueue {
  readonly stream: string
  readonly group: string
  readonly backlog: number
  readonly inFlight: number
  readonly waiting: number
  readonly maxAttempts: number | null
  readonly deadLetter: string | null
  readonly received: number
  readonly acknowledged: number
  readonly deadLettered: number
}

export interface GroupFetched {
  readonly generation: number
  readonly fetchId: number
  readonly partitions: readonly (Assigned & {
    readonly position: Offset
    readonly records: readonly LogRecord[]
    /** Instead of records, where stored bytes were asked for. */
    readonly batches: readonly Buffer[]
    readonly nextOffset: Offset
    readonly logStartOffset: Offset
    readonly highWatermark: Offset
  })[]
}

export interface DescribedGroup {
  readonly state: string
  readonly generation: number
  readonly assignment: string | undefined
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | undefined
    readonly clientId: string
    readonly assignments: readonly Assigned[]
  }[]
  readonly offsets: readonly (Assigned & {
    readonly offset: Offset
    readonly metadata: string
    readonly leaderEpoch: number | null
    readonly committedAtMs: number
  })[]
}
