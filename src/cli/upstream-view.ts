// Upstreams as text: a row each, one in detail, and what is wrong in words. Used by `sluice upstreams`, once or live.

import { formatBytes, formatCount, formatDuration, formatRate, formatRecords, formatTime } from './format.js'
import { type Column, formatTable, printable } from './table.js'

/** As in GET /v1/upstreams. */
export interface Upstream {
  readonly name: string
  readonly type: string
  readonly url: string
  readonly state: string
  readonly connected: boolean
  readonly connected_since_ms: number | null
  readonly next_attempt_in_ms?: number
  readonly last_error?: string
  readonly backlog_records: number
  readonly backlog_bytes: number
  readonly rate_per_second: number
  readonly in_flight: number
  readonly delivered_total: number
  readonly lost_records: number
  readonly rejected_total: number
  readonly downlink_total: number | null
  readonly downlink_refused_total: number
  readonly oldest_waiting_timestamp_ms: number | null
  readonly drain_forecast_ms: number | null
  readonly daily: { readonly bytes_per_day: number; readonly left_bytes: number; readonly ends_in_ms: number } | null
  readonly partitions: readonly Partition[]
}

interface Partition {
  readonly stream: string
  readonly partition: number
  readonly next_offset: number
  /** Where new records go first and some of the older ones wait. */
  readonly live_offset?: number
  readonly high_watermark: number
  readonly backlog_records: number
  readonly problem?: string
}

const BAR_CELLS = 20

/** What matters most comes first: a narrow terminal has no room for the rest. */
const COLUMNS: readonly Column<Upstream>[] = [
  { title: 'NAME', value: ({ name }) => name },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'BACKLOG', value: ({ backlog_records: records }) => formatCount(records), align: 'right' },
  { title: 'LOST', value: ({ lost_records: records }) => formatCount(records), align: 'right' },
  { title: 'RATE', value: ({ rate_per_second: rate }) => formatRate(rate), align: 'right' },
  { title: 'DRAINED IN', value: (upstream) => forecast(upstream), align: 'right' },
  { title: 'BYTES', value: ({ backlog_bytes: bytes }) => formatBytes(bytes), align: 'right' },
  { title: 'OLDEST WAITING', value: ({ oldest_waiting_timestamp_ms: oldest }) => formatTime(oldest) },
  { title: 'CONNECTED SINCE', value: ({ connected_since_ms: since }) => formatTime(since) },
]

const PARTITION_COLUMNS: readonly Column<Partition>[] = [
  { title: 'STREAM', value: ({ stream }) => stream },
  { title: 'PARTITION', value: ({ partition }) => partition },
  { title: 'NEXT', value: ({ next_offset: next }) => next },
  { title: 'LIVE', value: ({ live_offset: live }) => live },
  { title: 'END', value: ({ high_watermark: end }) => end },
  { title: 'BACKLOG', value: ({ backlog_records: records }) => formatCount(records), align: 'right' },
  { title: 'PROBLEM', value: ({ problem }) => problem },
]

/** A row each. */
export function upstreamTable(upstreams: readonly Upstream[], maxWidth?: number): string {
  return formatTable(COLUMNS, upstreams, maxWidth)
}

/** One upstream: its row, what the row has no room for, its partitions. */
export function upstreamDetails(upstream: Upstream, maxWidth?: number): string {
  const isSplit = upstream.partitions.some(({ live_offset: live }) => live !== undefined)
  const columns = PARTITION_COLUMNS.filter(({ title }) => title !== 'LIVE' || isSplit)
  const partitions = formatTable(columns, upstream.partitions)
  return `${upstreamTable([upstream], maxWidth)}\n${factsOf(upstream)}\n${partitions}`
}

function factsOf(upstream: Upstream): string {
  const { type, url, in_flight: inFlight, delivered_total: delivered, rejected_total: rejected, daily } = upstream
  const { downlink_total: down, downlink_refused_total: refused, lost_records: lost } = upstream
  const facts: [name: string, text: string][] = [
    ['to', `${printable(url)} (${type})`],
    ['sent', `${formatRecords(delivered)} acknowledged since start; in flight: ${formatCount(inFlight)}`],
  ]
  facts.push(['lost', lost === 0 ? 'nothing' : `${formatRecords(lost)}, see sluice ledger`])
  if (rejected > 0) facts.push(['refused', `${formatRecords(rejected)}, see sluice ledger`])
  if (down !== null) {
    const not = refused === 0 ? '' : `, ${formatCount(refused)} could not be published`
    facts.push(['received', `${formatCount(down)} ${down === 1 ? 'message' : 'messages'} since start${not}`])
  }
  if (daily !== null) {
    const { bytes_per_day: all, left_bytes: left, ends_in_ms: endsInMs } = daily
    const next = `the next day begins in ${formatDuration(endsInMs)}`
    facts.push(['day', `${formatBytes(left)} of ${formatBytes(all)} left, ${next}`])
  }
  const width = Math.max(...facts.map(([name]) => name.length))
  return facts.map(([name, text]) => `${name.padEnd(width)}  ${text}\n`).join('')
}

/** How much of the largest backlog seen is gone: one line, or none where there never was one. */
export function drainLine(upstream: Upstream, most: number): string | null {
  const { name, backlog_records: left, drain_forecast_ms: ms } = upstream
  if (most === 0) return null
  const part = Math.max(0, 1 - left / most)
  const cells = Math.floor(part * BAR_CELLS)
  const bar = `[${'#'.repeat(cells)}${'.'.repeat(BAR_CELLS - cells)}] ${String(Math.floor(part * 100)).padStart(3)}%`
  const unknown = upstream.connected ? 'more comes than goes' : 'not connected'
  const time = left === 0 ? 'nothing waits' : ms === null ? unknown : `${formatDuration(ms)} left`
  return `${bar}  ${printable(name)}: ${formatCount(left)} of ${formatCount(most)} records wait, ${time}`
}

/** What is wrong, in words. */
export function notesOf(upstream: Upstream): string[] {
  const { name, url, state, last_error: error, next_attempt_in_ms: nextMs, rejected_total: rejected, daily } = upstream
  const notes: string[] = []
  if (error !== undefined) {
    // It may go somewhere else than the one that failed.
    const next = nextMs === undefined ? '' : `; next attempt in ${formatDuration(nextMs)}, at ${url}`
    notes.push(`${name}: ${error}${next}`)
  }
  if (state === 'over_budget' && daily !== null)
    notes.push(
      `${name}: the day's ${formatBytes(daily.bytes_per_day)} are spent; goes on in ${formatDuration(daily.ends_in_ms)}`,
    )
  if (rejected > 0) notes.push(`${name}: ${formatRecords(rejected)} could not be sent, see sluice ledger`)
  return notes.map(printable)
}

function forecast({ drain_forecast_ms: ms }: Upstream): string {
  return ms === null ? '-' : ms === 0 ? 'now' : formatDuration(ms)
}
