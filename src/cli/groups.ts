// `sluice groups`: who reads what, how far it is, and moving it elsewhere.

import { type CommandContext, defineCommand, UsageError } from './command.js'
import { formatCount, formatTime } from './format.js'
import { type ResetTarget, resetGroup, resetTargetOf } from './group-reset.js'
import { type Column, formatTable } from './table.js'

interface Summary {
  readonly group: string
  readonly state: string
  readonly members: number
  readonly streams: readonly string[]
  readonly lag: number
}

export interface GroupDescription {
  readonly group: string
  readonly state: string
  readonly generation: number
  readonly members: readonly {
    readonly member_id: string
    readonly assignments: readonly { readonly stream: string; readonly partition: number }[]
  }[]
  readonly offsets: readonly {
    readonly stream: string
    readonly partition: number
    readonly committed_offset: number
    readonly log_start_offset: number | null
    readonly high_watermark: number | null
    readonly lag: number | null
    readonly committed_at: string
  }[]
}

interface Row {
  readonly stream: string
  readonly partition: number
  readonly committed?: number
  readonly end?: number | null
  readonly lag?: number | null
  readonly at?: string
  readonly member?: string
}

const SUMMARY_COLUMNS: readonly Column<Summary>[] = [
  { title: 'GROUP', value: ({ group }) => group },
  { title: 'STATE', value: ({ state }) => state },
  { title: 'MEMBERS', value: ({ members }) => members },
  { title: 'LAG', value: ({ lag }) => formatCount(lag), align: 'right' },
  { title: 'STREAMS', value: ({ streams }) => streams.join(' ') },
]

const ROW_COLUMNS: readonly Column<Row>[] = [
  { title: 'STREAM', value: ({ stream }) => stream },
  { title: 'PARTITION', value: ({ partition }) => partition },
  { title: 'COMMITTED', value: ({ committed }) => committed },
  { title: 'END', value: ({ end }) => end },
  { title: 'LAG', value: ({ lag }) => (typeof lag === 'number' ? formatCount(lag) : lag), align: 'right' },
  { title: 'COMMITTED AT', value: ({ at }) => (at === undefined ? undefined : formatTime(Date.parse(at))) },
  { title: 'MEMBER', value: ({ member }) => member },
]

const OPTIONS = {
  'to-earliest': { type: 'boolean', description: 'reset: to the oldest record' },
  'to-latest': { type: 'boolean', description: 'reset: past the newest record' },
  'to-offset': { type: 'string', value: 'N', description: 'reset: to this offset' },
  'shift-by': {
    type: 'string',
    value: 'N',
    description: 'reset: by so many records; back with a minus: --shift-by -10',
  },
  'to-datetime': { type: 'string', value: 'T', description: 'reset: to the first record at or after T (ISO 8601)' },
  stream: { type: 'string', value: 'NAME', description: 'reset: only this stream' },
  partition: { type: 'string', value: 'N', description: 'reset: only this partition, of --stream' },
  execute: { type: 'boolean', description: 'reset, delete: do it; without this it is only shown' },
} as const

export const command = defineCommand({
  name: 'groups',
  summary: 'list consumer groups, describe one, move its offsets, or delete it',
  usage: [
    'groups [NAME]',
    'groups NAME reset --to-… [--stream S [--partition N]] [--execute]',
    'groups NAME delete [--execute]',
  ],
  description:
    'LAG is the number of records the group has not yet committed. With --json, one object per line.\n' +
    'reset shows where the offsets would go; with --execute it moves them. The group must have no members then.',
  options: OPTIONS,
  positionals: { min: 0, max: 2 },
  examples: [
    'sluice groups',
    'sluice groups report',
    'sluice groups report delete --execute',
    'sluice groups report reset --to-earliest  # show what it would do',
    'sluice groups report reset --to-datetime 2026-01-31T06:00 --stream mqtt --execute',
  ],
  async run(context) {
    const { positionals, values } = context
    const [group, action] = positionals
    if (action !== undefined && action !== 'reset' && action !== 'delete')
      throw new UsageError(`unknown action ${JSON.stringify(action)}: there are reset and delete`)
    const target = resetTargetOf(values)
    if (action === 'reset') return reset(context, group, target)
    if (action === 'delete' && target === null) return forget(context, group)
    if (target !== null || values.execute) throw new UsageError('to move offsets: sluice groups NAME reset …')
    return group === undefined ? list(context) : describe(context, group)
  },
})

type Context = CommandContext<typeof OPTIONS>

async function reset(context: Context, group: string, target: ResetTarget | null): Promise<number> {
  if (target === null)
    throw new UsageError('say where to: --to-earliest, --to-latest, --to-offset N, --shift-by N or --to-datetime T')
  return resetGroup(context, group, target)
}

async function forget({ api, values, stderr }: Context, name: string): Promise<number> {
  const path = `/v1/groups/${encodeURIComponent(name)}`
  const { offsets, members } = await api.get<GroupDescription>(path)
  const what = `group ${name}, its members: ${members.length}, committed offsets: ${offsets.length}`
  if (values.execute !== true) {
    await stderr.line(`Would delete ${what}. To do it: sluice groups ${name} delete --execute`)
    return 0
  }
  await api.delete(path)
  await stderr.line(`Deleted ${what}.`)
  return 0
}

async function list({ api, values, stdout, stderr }: Context): Promise<number> {
  const { groups } = await api.get<{ groups: Summary[] }>('/v1/groups')
  if (values.json) for (const group of groups) await stdout.json(group)
  else if (groups.length === 0)
    await stderr.line('There are no consumer groups yet: sluice consume STREAM --group NAME makes one.')
  else await stdout.write(formatTable(SUMMARY_COLUMNS, groups))
  return 0
}

async function describe({ api, values, stdout, stderr }: Context, name: string): Promise<number> {
  const group = await api.get<GroupDescription>(`/v1/groups/${encodeURIComponent(name)}`)
  if (values.json) {
    await stdout.json(group)
    return 0
  }
  await stdout.write(formatTable(ROW_COLUMNS, rowsOf(group)))
  await stderr.line(
    `Group ${group.group}: ${group.state}, generation ${group.generation}, members: ${group.members.length}.`,
  )
  return 0
}

/** Every partition with an offset or an owner. */
function rowsOf({ offsets, members }: GroupDescription): Row[] {
  const rows = new Map<string, Row>()
  for (const { stream, partition, committed_offset: committed, high_watermark: end, lag, committed_at: at } of offsets)
    rows.set(`${stream}/${partition}`, { stream, partition, committed, end, lag, at })
  for (const { member_id: member, assignments } of members) {
    for (const { stream, partition } of assignments) {
      const key = `${stream}/${partition}`
      rows.set(key, { ...(rows.get(key) ?? { stream, partition }), member })
    }
  }
  return [...rows.values()].sort((a, b) =>
    a.stream === b.stream ? a.partition - b.partition : a.stream < b.stream ? -1 : 1,
  )
}
