// What a program says to a consumer, and what it gets of it in batch mode.

import type { SluiceError } from '../base/errors.js'
import type { ConsumerRecord } from './consumer-record.js'
import type { AssignedPartition } from './group-session.js'

export interface ConsumerOptions {
  readonly group: string
  readonly streams: readonly string[]
  /** Commits what the loop has finished, every `autoCommitIntervalMs`, before a rebalance and at the end. Default true. */
  readonly autoCommit?: boolean
  /** Default 1,000. */
  readonly autoCommitIntervalMs?: number
  /** Where to begin without a committed offset: `earliest` (default), `latest`, an offset, `@TIME`. */
  readonly offsetReset?: string
  /** First part of the member's id. */
  readonly memberName?: string
  /** Keeps its partitions over a restart within the session time-out; unique in the group. */
  readonly instanceId?: string
  /** How partitions are shared: `range`, `round_robin` or `sticky`, or several in order of preference. Default: what the others want, else range. */
  readonly assignment?: string | readonly string[]
  /** Default 30,000. */
  readonly sessionTimeoutMs?: number
  /** A loop that does not come back for the next record within this gives its partitions up. Default 300,000. */
  readonly maxLoopMs?: number
  /** Of one answer. Default 10,000. */
  readonly maxRecords?: number
  /** Of one answer; two are held at most. Default 1 MB. */
  readonly maxBytes?: number
  /** How long a request waits at the node for records. Default 30,000. */
  readonly waitMs?: number
  /** After each rebalance, before the first record. */
  readonly onAssigned?: (partitions: readonly AssignedPartition[]) => void | Promise<void>
  /** Before each rebalance: the last moment to commit by hand. With `lost` the partitions are somebody else's already. */
  readonly onRevoked?: (partitions: readonly AssignedPartition[], lost: boolean) => void | Promise<void>
  /** Retention was faster: OFFSET_OUT_OF_RANGE, whose details name what is left. The loop goes on there. Default: a warning of the process. */
  readonly onSkipped?: (error: SluiceError) => void
  /** Something failed and is tried again. */
  readonly onTrouble?: (error: SluiceError) => void
}

export interface ConsumerBatch {
  readonly records: readonly ConsumerRecord[]
  /** False once a rebalance has given the partitions to others: the rest need not be worked on. */
  readonly isCurrent: boolean
}
