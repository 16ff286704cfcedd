// How an upstream is doing, from what its sender knows: the numbers of `sluice upstreams` and GET /v1/upstreams.

import type { StreamReader } from '../log/types.js'
import { type DailyAllowance, waitForDaysMs } from './daily-allowance.js'
import type { Downlink } from './downlink.js'
import type { Lane } from './lane.js'
import type { Sender } from './sender.js'
import type { Shipment } from './targets/target.js'
import type {
  DailyStatus,
  UpstreamOptions,
  UpstreamPartition,
  UpstreamState,
  UpstreamStatus,
} from './upstream-options.js'

/** Silence of the far side, as a share of the ack deadline, from which a connection is called stalled. */
const STALLED_SHARE = 1 / 3

export function upstreamStatus<S extends Shipment>(
  upstream: UpstreamOptions,
  url: string,
  sender: Sender<S>,
  downlink: Downlink | undefined,
  lostRecords: number,
): UpstreamStatus {
  const { keeper, lanes, leading } = sender
  const backlogRecords = leading.reduce((sum, lane) => sum + waitingOf(lane), 0)
  const backlogBytes = backlogBytesOf(sender, backlogRecords)
  const state = stateOf(upstream, sender, backlogRecords)
  const problem = lanes.find((lane) => lane.problem !== null)?.problem ?? sender.problem
  const lastError = problem ?? (state === 'idle' || state === 'flowing' ? null : (keeper.lastError?.message ?? null))
  return {
    name: upstream.name,
    type: upstream.type,
    url,
    state,
    connected: keeper.link !== null,
    connectedSinceMs: keeper.connectedSinceMs,
    ...(keeper.nextAttemptInMs !== undefined && { nextAttemptInMs: keeper.nextAttemptInMs }),
    ...(lastError !== null && { lastError }),
    backlogRecords,
    backlogBytes: Math.round(backlogBytes),
    ratePerSecond: round(sender.delivered.perSecond()),
    inFlight: sender.inFlight,
    deliveredTotal: sender.deliveredTotal,
    lostRecords,
    rejectedTotal: lanes.reduce((sum, lane) => sum + lane.rejected, 0),
    downlinkTotal: downlink?.receivedTotal ?? null,
    downlinkRefusedTotal: downlink?.refusedTotal ?? 0,
    oldestWaitingTimestampMs: oldestOf(lanes.map((lane) => lane.oldestTimestampMs)),
    drainForecastMs: forecastMs(upstream, sender, backlogRecords, backlogBytes),
    daily: sender.budget.daily && dailyOf(sender.budget.daily),
    partitions: leading.map((lane) => partitionOf(lane, keeper.link !== null)),
  }
}

function partitionOf<S extends Shipment>(lane: Lane<S>, isUp: boolean): UpstreamPartition {
  const { stream, partition, position, course, highWatermark } = lane
  // With the connection up the upstream has said where it is: it is compared once this node has as much.
  const isBehind = isUp && lane.held && !lane.unwanted
  const problem = lane.problem ?? (isBehind ? 'waits: the upstream has more of it already, by another way' : null)
  return {
    stream: stream.name,
    partition,
    nextOffset: position.next,
    ...(course?.isSplit && {
      liveOffset: lane.cursor,
      ackedRanges: position.acked.map(({ first, next }) => [first, next] as const),
    }),
    highWatermark,
    backlogRecords: waitingOf(lane),
    ...(problem !== null && { problem }),
  }
}

/** Of the lane's partition. */
function waitingOf<S extends Shipment>({ course, backlog }: Lane<S>): number {
  return course?.waiting ?? backlog
}

function stateOf<S extends Shipment>(
  { ackTimeoutMs }: UpstreamOptions,
  { paused, keeper, deadline, lanes, budget, problem }: Sender<S>,
  backlogRecords: number,
): UpstreamState {
  if (paused || keeper.state === 'off') return 'paused'
  if (keeper.state !== 'up') return keeper.state
  if (problem !== null || lanes.some((lane) => lane.problem !== null)) return 'stalled'
  if (backlogRecords > 0 && budget.daily?.leftBytes === 0) return 'over_budget'
  if (deadline.silentMs > ackTimeoutMs * STALLED_SHARE) return 'stalled'
  return backlogRecords > 0 ? 'flowing' : 'idle'
}

function dailyOf({ bytesPerDay, leftBytes, endsInMs }: DailyAllowance): DailyStatus {
  return { bytesPerDay, leftBytes, endsInMs: Math.ceil(endsInMs) }
}

function backlogBytesOf<S extends Shipment>({ lanes, averageBytes }: Sender<S>, backlogRecords: number): number {
  if (averageBytes !== null) return backlogRecords * averageBytes
  return lanes.reduce((sum, lane) => sum + lane.backlog * storedBytesPerRecord(lane.stream), 0)
}

/** What a record of this stream takes in the log, until the first one that was sent tells better. */
function storedBytesPerRecord(stream: StreamReader): number {
  let records = 0
  for (let partition = 0; partition < stream.partitions; partition++) {
    const id = partition as Parameters<StreamReader['highWatermark']>[0]
    records += stream.highWatermark(id) - stream.logStartOffset(id)
  }
  const stats = 'stats' in stream ? (stream as { stats(): { readonly bytes: number } }).stats() : { bytes: 0 }
  return records === 0 ? 0 : stats.bytes / records
}

function oldestOf(timestamps: readonly (number | null)[]): number | null {
  let oldest: number | null = null
  for (const timestamp of timestamps) {
    if (timestamp !== null && (oldest === null || timestamp < oldest)) oldest = timestamp
  }
  return oldest
}

function forecastMs<S extends Shipment>(
  { bandwidthBytesPerSecond, maxInFlight }: UpstreamOptions,
  sender: Sender<S>,
  backlogRecords: number,
  backlogBytes: number,
): number | null {
  if (backlogRecords === 0) return 0
  const { daily } = sender.budget
  // Days are worth saying also while it is paused by them.
  const byDays = daily === null ? 0 : waitForDaysMs(backlogBytes, daily)
  if (byDays > 0 && sender.keeper.link !== null) return Math.ceil(byDays)
  const rate = sender.delivered.perSecond()
  if (sender.keeper.link === null || rate === 0) return null
  // What passes through at the pace of its arrival is no backlog that drains.
  if (backlogRecords <= maxInFlight) return Math.ceil((backlogRecords / rate) * 1000)
  const net = rate - sender.arrived.perSecond()
  if (net <= 0) return null
  const byBandwidth = bandwidthBytesPerSecond === undefined ? 0 : (backlogBytes / bandwidthBytesPerSecond) * 1000
  return Math.ceil(Math.max((backlogRecords / net) * 1000, byBandwidth))
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
