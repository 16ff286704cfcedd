// skeleton
import type { Offset } from '../record/record.js'
export interface CommittedOffset {
  readonly offset: Offset
  readonly metadata: string
  readonly committedAtMs: number
}
export interface OffsetCommit {
  readonly stream: string
  readonly partition: number
  readonly offset: Offset
  readonly metadata?: string
}
/** Committed offsets of consumer groups; survive restarts. `offset` is the next one to be read, as in Kafka. */
export interface GroupOffsets {
  get(group: string, stream: string, partition: number): CommittedOffset | undefined
  /** All or nothing, durable when it resolves. */
  commit(group: string, commits: readonly OffsetCommit[]): Promise<void>
  ofGroup(group: string): readonly ({ stream: string; partition: number } & CommittedOffset)[]
  groups(): readonly string[]
  remove(group: string): Promise<void>
}
