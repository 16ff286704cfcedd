// Opens one stream's segments and puts a stream on them, within its share of what the node's streams have together.

import { basename, join } from 'node:path'
import { setAside } from '../state/quarantine.js'
import type { LogOptions, StreamOptions } from './log-options.js'
import type { Place } from './retention.js'
import { keepPolicy } from './retention-file.js'
import type { OpenSegments } from './segment-list.js'
import { SegmentStore, type SegmentStoreOptions } from './segment-store.js'
import { LogStream } from './stream.js'

/** Of a stream's max_bytes a segment takes at most an eighth, so that retention never frees more than that at once. */
const SEGMENTS_PER_STREAM = 8
/** At least so many of the largest commits fit into a segment: with one each, every commit would pay for a seal and a birth. */
const COMMITS_PER_SEGMENT = 4
/** Neither for want of memory nor for a small stream is a segment smaller than this, unless it is asked for. */
const MIN_SEGMENT_BYTES = 256 * 1024

/** Where a stream lies, and whom to ask and tell. */
export interface LogPlace extends Pick<SegmentStoreOptions, 'directory' | 'partitions' | 'ceilings' | 'onDamage'> {
  readonly placeOf: (partition: number) => Place
}

/** What the streams of a node have together. */
export interface SharedByStreams {
  readonly openSegments: OpenSegments
  /** What memory is divided by. */
  readonly streamCount: number
}

/** @throws SluiceError as SegmentStore.open. */
export async function openLogStream(
  options: LogOptions,
  stream: StreamOptions,
  { directory, partitions, ceilings, placeOf, onDamage }: LogPlace,
  { openSegments, streamCount }: SharedByStreams,
): Promise<LogStream> {
  const segmentBytes = segmentBytesOf(stream, options, streamCount)
  if (!stream.retired) await keepPolicy(directory, stream.retention)
  const logger = options.logger.child(`log ${stream.name}`)
  const store = await SegmentStore.open({
    stream: stream.name,
    directory,
    setAside: (segment) => setAside(segment, options.dataDirectory, join(stream.name, basename(segment)), logger),
    partitions,
    allPartitions: stream.allPartitions ?? false,
    prepareEarly: stream.topics.length > 0,
    retired: stream.retired ?? false,
    ballast: options.ballast,
    segmentBytes,
    tailCacheBytes: Math.floor(options.tailCacheBytes / streamCount),
    ceilings,
    openSegments,
    poweredOn: options.poweredOn,
    clock: options.clock,
    logger,
    onDamage,
    onFatal: options.onFatal,
  })
  return new LogStream({
    name: stream.name,
    topics: stream.topics,
    retired: stream.retired ?? false,
    store,
    openSegments,
    directory,
    segmentBytes,
    maxBatchBytes: options.maxBatchBytes,
    // A commit goes into one segment, and a memtable holds twice that: LevelDB never flushes in between.
    maxPendingBytes: Math.min(options.maxPendingBytes, segmentBytes / COMMITS_PER_SEGMENT),
    lingerMs: stream.lingerMs,
    compression: stream.compression,
    maxRecordBytes: options.maxRecordBytes,
    retention: {
      policy: stream.retention,
      cursors: options.cursors,
      ledger: options.ledger,
      placeOf,
      destinationsOf: options.destinationsOf,
      poweredOnMs: () => options.poweredOn.nowMs(),
      wallMs: () => options.clock.wallMs(),
    },
    ballast: options.ballast,
    onDamage,
    onFatal: options.onFatal,
  })
}

function segmentBytesOf(
  { retention }: StreamOptions,
  { segmentBytes, memoryBudgetBytes }: LogOptions,
  streamCount: number,
): number {
  const eighth = Math.floor(retention.maxBytes / SEGMENTS_PER_STREAM)
  // A stream holds the memtables of the segment it writes and of the one it seals.
  const share = Math.floor(memoryBudgetBytes / (streamCount * 2))
  return Math.max(Math.min(MIN_SEGMENT_BYTES, segmentBytes), Math.min(segmentBytes, eighth, share))
}
