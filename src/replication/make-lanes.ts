// The lanes of one stream of an upstream, one per partition (two where new records go first), each where its cursor on disk says, or at the oldest
// record stored.

import type { StreamReader } from '../log/types.js'
import { toPartitionId } from '../record/record.js'
import type { CursorPosition } from '../state/cursors.js'
import { Lane } from './lane.js'
import { LiveFirst } from './live-first.js'
import type { SenderOptions } from './sender.js'
import type { Shipment } from './targets/target.js'

export interface LanesToMake<S extends Shipment> {
  readonly stream: StreamReader
  /** The first partition to make one for. */
  readonly from: number
  /** No more than so many. */
  readonly maxLanes: number
  /** The lane may have something to send. */
  readonly onReady: (lane: Lane<S>) => void
  /** A cursor has moved over what will not be sent. */
  readonly onPassed: (lane: Lane<S>) => void
}

const DEFAULT_READ_AHEAD_BYTES = 256 * 1024
const MIN_FETCH_BYTES = 16 * 1024
const DEFAULT_WEIGHT = 1
const DEFAULT_LIVE_SHARE = 80
const DEFAULT_BACKLOG_AFTER_MS = 10_000

/** @returns the lanes, and what is on disk of their cursors. */
export function makeLanes<S extends Shipment>(
  options: SenderOptions<S> & LanesToMake<S>,
): { readonly lanes: Lane<S>[]; readonly onDisk: ReadonlyMap<Lane<S>, CursorPosition> } {
  const { upstream, target, streams, stream, cursors, ledger, deadLetters, clock, logger, onReady, onPassed } = options
  const count = Math.max(
    stream.partitions,
    streams.reduce((sum, one) => sum + one.partitions, 0),
  )
  const readAheadBytes = upstream.readAheadBytes ?? DEFAULT_READ_AHEAD_BYTES
  const fetchBytes = Math.max(MIN_FETCH_BYTES, Math.floor(readAheadBytes / Math.max(1, count)))
  const lanes: Lane<S>[] = []
  const onDisk = new Map<Lane<S>, CursorPosition>()
  /** What the backlog of this stream takes its turns by. */
  const behind = {}
  for (let index = options.from; index < stream.partitions && lanes.length < options.maxLanes; index++) {
    const partition = toPartitionId(index)
    const saved = cursors.get(upstream.name, stream.name, partition)
    const acked = cursors.acked(upstream.name, stream.name, partition)
    const cursor = saved ?? stream.logStartOffset(partition)
    const weight = weightOf(upstream.weights ?? {}, stream.name)
    const laneOptions = {
      ...{ stream, partition, target, ledger, deadLetters, clock, logger, fetchBytes, onReady, onPassed, cursor },
      upstream: upstream.name,
      maxInFlight: upstream.maxInFlight,
    }
    const jumps = upstream.order === 'live_first'
    const share = (upstream.liveShare ?? DEFAULT_LIVE_SHARE) / 100
    const lane = new Lane<S>({ ...laneOptions, weight: jumps ? weight * share : weight })
    if (saved !== undefined) onDisk.set(lane, { next: saved, acked })
    lanes.push(lane)
    if (!jumps && acked.length === 0) continue
    const backlog = new Lane<S>({ ...laneOptions, weight: weight * (1 - share), turnsWith: behind })
    lanes.push(backlog)
    const position = { next: cursor, acked }
    const { maxInFlight, backlogAfterMs = DEFAULT_BACKLOG_AFTER_MS } = upstream
    const course = new LiveFirst<S>({ live: lane, backlog, position, jumps, backlogAfterMs, maxInFlight, clock })
    lane.course = course
    backlog.course = course
  }
  return { lanes, onDisk }
}

/** What a mirror has no weight for by its name, it has by `*.STREAM`. */
function weightOf(weights: Readonly<Record<string, number>>, stream: string): number {
  const [, mirrored] = stream.split('.')
  return weights[stream] ?? (mirrored === undefined ? undefined : weights[`*.${mirrored}`]) ?? DEFAULT_WEIGHT
}
