// `sluice upstreams`: how far each upstream is and how long the rest will take, once or live, and what an operator may do to one.

import { SluiceError } from '../base/errors.js'
import type { ApiClient } from './api-client.js'
import { type CommandContext, defineCommand, integerOption, UsageError } from './command.js'
import { formatBytes, formatCount, formatDuration, formatRate, formatTime } from './format.js'
import { type Column, formatTable, printable } from './table.js'

/** As in GET /v1/upstreams. */
interface Upstream {
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
  readonly rejected_total: number
  readonly oldest_waiting_timestamp_ms: number | null
  readonly drain_forecast_ms: number | null
  readonly partitions: readonly Partition[]
}

interface Partition {
  readonly stream: string
  readonly partition: number
  readonly next_offset: number
  readonly high_watermark: number
  readonly problem?: string
}

interface Rewound {
  readonly stream: string
  readonly partition: number
  readonly from_offset: number
  readonly to_offset: number
}

const OPTIONS = {
  watch: { type: 'boolean', short: 'w', description: 'show it again every second, until Ctrl-C' },
  stream: { type: 'string', value: 'NAME', description: 'rewind: the stream to send again' },
  partition: { type: 'string', value: 'N', description: 'rewind: only this partition' },
  'to-offset': { type: 'string', value: 'N', description: 'rewind: to this offset' },
  'to-datetime': {
    type: 'string',
    value: 'TIME',
    description: 'rewind: to the first record of this time (ISO 8601, or milliseconds since 1970)',
  },
} as const

type Context = CommandContext<typeof OPTIONS>

const REFRESH_MS = 1_000
const CLEAR_SCREEN = '\x1b[H\x1b[2J\x1b[3J'

const COLUMNS: readonly Column<Upstream>[] = [
  { title: 'NAME', value: ({ name }) => name },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'CONNECTED SINCE', value: ({ connected_since_ms: since }) => formatTime(since) },
  { title: 'BACKLOG', value: ({ backlog_records: records }) => formatCount(records), align: 'right' },
  { title: 'BYTES', value: ({ backlog_bytes: bytes }) => formatBytes(bytes), align: 'right' },
  { title: 'RATE', value: ({ rate_per_second: rate }) => formatRate(rate), align: 'right' },
  { title: 'OLDEST WAITING', value: ({ oldest_waiting_timestamp_ms: oldest }) => formatTime(oldest) },
  { title: 'DRAINED IN', value: (upstream) => forecast(upstream), align: 'right' },
]

const PARTITION_COLUMNS: readonly Column<Partition>[] = [
  { title: 'STREAM', value: ({ stream }) => stream },
  { title: 'PARTITION', value: ({ partition }) => partition },
  { title: 'NEXT', value: ({ next_offset: next }) => next },
  { title: 'END', value: ({ high_watermark: end }) => end },
  { title: 'BACKLOG', value: ({ next_offset: next, high_watermark: end }) => formatCount(end - next), align: 'right' },
  { title: 'PROBLEM', value: ({ problem }) => problem },
]

export const command = defineCommand({
  name: 'upstreams',
  summary: 'show how far each upstream is; pause, resume or rewind one',
  usage: [
    'upstreams [NAME] [--watch]',
    'upstreams NAME pause | resume',
    'upstreams NAME rewind --stream NAME [--partition N] --to-offset N | --to-datetime TIME',
  ],
  description:
    'A rewind goes back only; what is sent again arrives twice at a broker that had it. A pause lasts until resume, also over restarts.',
  options: OPTIONS,
  positionals: { min: 0, max: 2 },
  examples: [
    'sluice upstreams --watch',
    'sluice upstreams cloud',
    'sluice upstreams cloud pause',
    'sluice upstreams cloud rewind --stream telemetry --to-datetime 2026-01-31T06:00:00Z',
  ],
  async run(context) {
    const [name, action] = context.positionals
    if (action !== 'rewind') refuseRewindOptions(context)
    if (action === undefined) return context.values.watch ? watch(context, name) : show(context, name)
    if (context.values.watch) throw new UsageError(`--watch does not go with ${action}`)
    if (action === 'pause' || action === 'resume') return steer(context, name, action)
    if (action === 'rewind') return rewind(context, name)
    throw new UsageError(`unknown action ${JSON.stringify(action)}: there are pause, resume and rewind`)
  },
})

async function show(context: Context, name: string | undefined): Promise<number> {
  const { api, stdout, stderr, values } = context
  const upstreams = await read(api, name)
  if (values.json) {
    for (const upstream of upstreams) await stdout.json(upstream)
    return 0
  }
  if (upstreams.length === 0) {
    await stderr.line('No upstream is configured.')
    return 0
  }
  await stdout.write(screenOf(upstreams, name))
  for (const note of upstreams.flatMap(notesOf)) await stderr.line(note)
  return 0
}

async function watch(context: Context, name: string | undefined): Promise<number> {
  const { api, stdout, values, signal } = context
  // A node that is not there at first is an error; one that goes away meanwhile comes back.
  let upstreams = await read(api, name)
  let failure: string | null = null
  while (!signal.aborted) {
    if (values.json) for (const upstream of upstreams) await stdout.json(upstream)
    else {
      const notes = failure === null ? upstreams.flatMap(notesOf) : [failure]
      const screen = screenOf(upstreams, name) + notes.map((note) => `${note}\n`).join('')
      await stdout.write(stdout.isTty ? CLEAR_SCREEN + screen : `${screen}\n`)
    }
    await pause(REFRESH_MS, signal)
    if (signal.aborted) break
    try {
      upstreams = await read(api, name, signal)
      failure = null
    } catch (error) {
      if (signal.aborted) break
      if (!(error instanceof SluiceError) || error.code !== 'NOT_REACHABLE') throw error
      failure = error.message
      if (values.json) upstreams = []
    }
  }
  return 0
}

async function steer({ api, values, stdout, stderr }: Context, name: string, action: string): Promise<number> {
  const upstream = await api.post<Upstream>(`${pathOf(name)}/${action}`, {})
  if (values.json) await stdout.json(upstream)
  else await stderr.line(`${printable(name)}: ${action === 'pause' ? 'paused' : 'resumed'}.`)
  return 0
}

async function rewind({ api, values, stdout, stderr }: Context, name: string): Promise<number> {
  const { stream, 'to-offset': offset, 'to-datetime': datetime } = values
  if (stream === undefined) throw new UsageError('rewind needs --stream')
  if ((offset === undefined) === (datetime === undefined))
    throw new UsageError('rewind needs either --to-offset or --to-datetime')
  const { rewound } = await api.post<{ rewound: Rewound[] }>(`${pathOf(name)}/rewind`, {
    stream,
    partition: integerOption('partition', values.partition),
    offset: integerOption('to-offset', offset),
    timestamp_ms: datetime === undefined ? undefined : timeOption(datetime),
  })
  if (values.json) {
    for (const one of rewound) await stdout.json(one)
    return 0
  }
  for (const { stream: of, partition, from_offset: from, to_offset: to } of rewound)
    await stderr.line(`${of}/${partition}: sends again from ${to} on (was at ${from}).`)
  if (rewound.length === 0) await stderr.line('Nothing to send again: it has not come that far.')
  return 0
}

async function read(api: ApiClient, name: string | undefined, signal?: AbortSignal): Promise<readonly Upstream[]> {
  if (name !== undefined) return [await api.get<Upstream>(pathOf(name), { signal })]
  return (await api.get<{ upstreams: Upstream[] }>('/v1/upstreams', { signal })).upstreams
}

function pathOf(name: string): string {
  return `/v1/upstreams/${encodeURIComponent(name)}`
}

function screenOf(upstreams: readonly Upstream[], name: string | undefined): string {
  const table = formatTable(COLUMNS, upstreams)
  if (name === undefined || upstreams.length === 0) return table
  return `${table}\n${formatTable(PARTITION_COLUMNS, upstreams[0].partitions)}`
}

function forecast({ drain_forecast_ms: ms }: Upstream): string {
  return ms === null ? '-' : ms === 0 ? 'now' : formatDuration(ms)
}

/** What is wrong, in words. */
function notesOf(upstream: Upstream): string[] {
  const { name, url, last_error: error, next_attempt_in_ms: nextMs, rejected_total: rejected } = upstream
  const notes: string[] = []
  if (error !== undefined) {
    const next = nextMs === undefined ? '' : `; next attempt in ${formatDuration(nextMs)}`
    notes.push(`${name} (${url}): ${error}${next}`)
  }
  if (rejected > 0) notes.push(`${name}: ${formatCount(rejected)} records could not be sent, see sluice ledger`)
  return notes.map(printable)
}

function refuseRewindOptions({ values }: Context): void {
  for (const name of ['stream', 'partition', 'to-offset', 'to-datetime'] as const)
    if (values[name] !== undefined) throw new UsageError(`--${name} goes with rewind only`)
}

function timeOption(text: string): number {
  const timeMs = /^\d{1,15}$/.test(text) ? Number(text) : /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(timeMs))
    throw new UsageError(`--to-datetime takes a time like 2026-01-31T06:00:00Z, not ${JSON.stringify(text)}`)
  return timeMs
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
