// What a log is opened with: node-storage.ts makes it out of the configuration.

import type { Clock } from '../base/clock.js'
import type { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { CompressionCodec } from '../record/compression.js'
import type { Ballast } from '../state/ballast.js'
import type { Cursors } from '../state/cursors.js'
import type { GroupOffsets } from '../state/group-offsets.js'
import type { Ledger } from '../state/ledger.js'
import type { OffsetCeilings } from '../state/offset-ceilings.js'
import type { PoweredOnClock } from '../state/powered-on-clock.js'
import type { RetentionPolicy } from './retention.js'

export interface StreamOptions {
  readonly name: string
  readonly topics: readonly string[]
  readonly partitions: number
  /** Partitions on disk beyond these are opened as well, instead of refusing to start without them. */
  readonly allPartitions?: boolean
  /** No longer configured: it is read until retention has removed the last of it. */
  readonly retired?: boolean
  readonly lingerMs: number
  /** Of the record batches as they are stored; applied where it pays. */
  readonly compression: CompressionCodec
  readonly retention: RetentionPolicy
}

export interface LogOptions {
  /** The node's data directory; streams live in `streams/<name>/` below it. */
  readonly dataDirectory: string
  readonly streams: readonly StreamOptions[]
  /** Largest segment. */
  readonly segmentBytes: number
  /** What the memtables of all streams may take together. */
  readonly memoryBudgetBytes: number
  readonly maxBatchBytes: number
  readonly maxPendingBytes: number
  /** What all streams together may keep in memory of their newest records, for readers that follow them. */
  readonly tailCacheBytes: number
  readonly maxRecordBytes: number
  /** Most bytes of records that all streams together may store; null: what their own retention allows. */
  readonly diskBudgetBytes: number | null
  readonly ceilings: OffsetCeilings
  readonly cursors: Cursors
  readonly groupOffsets: Pick<GroupOffsets, 'renameStream' | 'streams'>
  readonly ballast: Ballast
  readonly ledger: Ledger
  readonly poweredOn: PoweredOnClock
  /** Of the mirrors of one stream name together. */
  readonly mirrorRetention: RetentionPolicy
  /** Names of the upstreams that list a stream. */
  readonly destinationsOf: (stream: string) => readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  readonly onFatal: (error: SluiceError) => void
}
