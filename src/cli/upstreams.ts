// `sluice upstreams`: how far each upstream is and how long the rest will take, once or live, and what an operator may do to one.

import { SluiceError } from '../base/errors.js'
import { sleep } from '../base/sleep.js'
import type { ApiClient } from './api-client.js'
import { type CommandContext, defineCommand, integerOption, UsageError } from './command.js'
import { formatTime } from './format.js'
import { LiveScreen } from './live-screen.js'
import { printable } from './table.js'
import { drainLine, notesOf, type Upstream, upstreamDetails, upstreamTable } from './upstream-view.js'

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
  'dry-run': { type: 'boolean', description: 'rewind: only say what would be sent again' },
} as const

type Context = CommandContext<typeof OPTIONS>

const REFRESH_MS = 1_000
export const command = defineCommand({
  name: 'upstreams',
  summary: 'show how far each upstream is; pause, resume or rewind one',
  usage: [
    'upstreams [NAME] [--watch]',
    'upstreams NAME pause | resume',
    'upstreams NAME rewind --stream NAME [--partition N] --to-offset N | --to-datetime TIME [--dry-run]',
  ],
  description:
    'A rewind goes back only; what is sent again arrives twice at a broker that had it. A pause lasts until resume, also over restarts.',
  options: OPTIONS,
  positionals: { min: 0, max: 2 },
  examples: [
    'sluice upstreams --watch',
    'sluice upstreams cloud',
    'sluice upstreams cloud pause',
    'sluice upstreams cloud rewind --stream telemetry --to-datetime 2026-01-31T06:00:00Z --dry-run',
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
  /** Of each upstream the largest backlog since it was last empty. */
  const most = new Map<string, number>()
  const screen = new LiveScreen(stdout)
  try {
    while (!signal.aborted) {
      if (values.json) for (const upstream of upstreams) await stdout.json(upstream)
      else await screen.draw(pictureOf(screen, upstreams, name, failure, most))
      await sleep(REFRESH_MS, signal)
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
  } finally {
    await screen.leave()
  }
  return 0
}

function pictureOf(
  screen: LiveScreen,
  upstreams: readonly Upstream[],
  name: string | undefined,
  failure: string | null,
  most: Map<string, number>,
): string[] {
  for (const { name: one, backlog_records: left } of upstreams)
    most.set(one, left === 0 ? 0 : Math.max(left, most.get(one) ?? 0))
  const bars = upstreams.flatMap((one) => drainLine(one, most.get(one.name) ?? 0) ?? [])
  const notes = failure === null ? upstreams.flatMap(notesOf) : [`${printable(failure)}; this is how it was before`]
  const body = upstreams.length === 0 ? 'No upstream is configured.\n' : screenOf(upstreams, name, screen.width)
  const parts = [
    [`sluice upstreams  ${formatTime(Date.now())}  every second, Ctrl-C ends`],
    body.trimEnd().split('\n'),
    bars.flatMap((bar) => screen.wrap(bar)),
    notes.flatMap((note) => screen.wrap(note)),
  ]
  return parts.filter((part) => part.length > 0).flatMap((part, i) => (i === 0 ? part : ['', ...part]))
}

async function steer({ api, values, stdout, stderr }: Context, name: string, action: string): Promise<number> {
  const upstream = await api.post<Upstream>(`${pathOf(name)}/${action}`, {})
  if (values.json) await stdout.json(upstream)
  else await stderr.line(`${printable(name)}: ${action === 'pause' ? 'paused' : 'resumed'}.`)
  return 0
}

async function rewind({ api, values, stdout, stderr }: Context, name: string): Promise<number> {
  const { stream, 'to-offset': offset, 'to-datetime': datetime, 'dry-run': dryRun } = values
  if (stream === undefined) throw new UsageError('rewind needs --stream')
  if ((offset === undefined) === (datetime === undefined))
    throw new UsageError('rewind needs either --to-offset or --to-datetime')
  const { rewound } = await api.post<{ rewound: Rewound[] }>(`${pathOf(name)}/rewind`, {
    stream,
    partition: integerOption('partition', values.partition),
    offset: integerOption('to-offset', offset),
    timestamp_ms: datetime === undefined ? undefined : timeOption(datetime),
    dry_run: dryRun,
  })
  if (values.json) {
    for (const one of rewound) await stdout.json(one)
    return 0
  }
  for (const { stream: of, partition, from_offset: from, to_offset: to } of rewound)
    await stderr.line(
      `${of}/${partition}: ${dryRun ? 'would send' : 'sends'} again from ${to} on (${dryRun ? 'is' : 'was'} at ${from}).`,
    )
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

function screenOf(upstreams: readonly Upstream[], name: string | undefined, maxWidth?: number): string {
  return name === undefined || upstreams.length === 0
    ? upstreamTable(upstreams, maxWidth)
    : upstreamDetails(upstreams[0], maxWidth)
}

function refuseRewindOptions({ values }: Context): void {
  for (const name of ['stream', 'partition', 'to-offset', 'to-datetime', 'dry-run'] as const)
    if (values[name] !== undefined) throw new UsageError(`--${name} goes with rewind only`)
}

function timeOption(text: string): number {
  const timeMs = /^\d{1,15}$/.test(text) ? Number(text) : /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(timeMs))
    throw new UsageError(`--to-datetime takes a time like 2026-01-31T06:00:00Z, not ${JSON.stringify(text)}`)
  return timeMs
}
