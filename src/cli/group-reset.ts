// `sluice groups NAME reset`: works out where each offset of a group would go, shows it, and moves it when told to.

import { SluiceError } from '../base/errors.js'
import { parseTime } from '../base/start-position.js'
import { type CommandContext, integerOption, UsageError } from './command.js'
import type { StreamInfo } from './consume-partitions.js'
import type { GroupDescription } from './groups.js'
import { type Column, formatTable } from './table.js'

export type ResetTarget =
  | { readonly to: 'earliest' }
  | { readonly to: 'latest' }
  | { readonly to: 'offset'; readonly offset: number }
  | { readonly to: 'shift'; readonly by: number }
  | { readonly to: 'time'; readonly timestampMs: number }

type Values = Readonly<Record<string, unknown>>

interface Place {
  readonly stream: string
  readonly partition: number
  readonly committed: number | null
  readonly start: number
  readonly end: number
}

interface Move extends Place {
  readonly target: number
}

const COLUMNS: readonly Column<Move>[] = [
  { title: 'STREAM', value: ({ stream }) => stream },
  { title: 'PARTITION', value: ({ partition }) => partition },
  { title: 'COMMITTED', value: ({ committed }) => committed },
  { title: 'NEW', value: ({ target }) => target },
  { title: 'START', value: ({ start }) => start },
  { title: 'END', value: ({ end }) => end },
]

/** @returns null when the command line names no target. @throws UsageError when it names several, or one that is not valid. */
export function resetTargetOf(values: Values): ResetTarget | null {
  const offset = integerOption('to-offset', values['to-offset'] as string | undefined)
  const min = Number.MIN_SAFE_INTEGER
  const by = integerOption('shift-by', values['shift-by'] as string | undefined, { min })
  const time = values['to-datetime'] as string | undefined
  const timestampMs = time === undefined ? undefined : parseTime(time.replace(/^@/, ''))
  if (timestampMs === null)
    throw new UsageError(`--to-datetime takes an ISO 8601 time such as 2026-01-31T06:00, not ${JSON.stringify(time)}`)
  const targets: ResetTarget[] = []
  if (values['to-earliest']) targets.push({ to: 'earliest' })
  if (values['to-latest']) targets.push({ to: 'latest' })
  if (offset !== undefined) targets.push({ to: 'offset', offset })
  if (by !== undefined) targets.push({ to: 'shift', by })
  if (timestampMs !== undefined) targets.push({ to: 'time', timestampMs })
  if (targets.length > 1) throw new UsageError('reset takes one target, not several')
  return targets[0] ?? null
}

export async function resetGroup(
  { api, values, stdout, stderr }: Pick<CommandContext, 'api' | 'stdout' | 'stderr'> & { readonly values: Values },
  group: string,
  target: ResetTarget,
): Promise<number> {
  const stream = values['stream'] as string | undefined
  const partition = integerOption('partition', values['partition'] as string | undefined)
  if (partition !== undefined && stream === undefined) throw new UsageError('--partition needs --stream')
  const places = await placesOf(api, group, stream, partition)
  const moves: Move[] = []
  for (const place of places) moves.push({ ...place, target: await targetIn(api, place, target) })
  if (values['json']) for (const move of moves) await stdout.json(move)
  else await stdout.write(formatTable(COLUMNS, moves))
  if (!values['execute']) {
    await stderr.line('Nothing was changed. Add --execute to do it.')
    return 0
  }
  const offsets = moves.map((move) => ({ stream: move.stream, partition: move.partition, offset: move.target }))
  await api.post(`/v1/groups/${encodeURIComponent(group)}/offsets`, { offsets })
  await stderr.line(`Moved ${offsets.length === 1 ? 'one offset' : `${offsets.length} offsets`} of group ${group}.`)
  return 0
}

/** The partitions that are meant: those named, or those the group has offsets in. */
async function placesOf(
  api: CommandContext['api'],
  group: string,
  only: string | undefined,
  partition: number | undefined,
): Promise<Place[]> {
  const offsets = await offsetsOf(api, group, only !== undefined)
  const names = only === undefined ? [...new Set(offsets.map(({ stream }) => stream))] : [only]
  const places: Place[] = []
  for (const name of names) {
    const info = await api.get<StreamInfo>(`/v1/streams/${encodeURIComponent(name)}`)
    for (const { partition: id, log_start_offset: start, high_watermark: end } of info.partitions) {
      if (partition !== undefined && partition !== id) continue
      const committed = offsets.find((each) => each.stream === name && each.partition === id)?.committed_offset
      if (only === undefined && committed === undefined) continue
      places.push({ stream: name, partition: id, committed: committed ?? null, start, end })
    }
  }
  if (places.length > 0) return places
  throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `stream ${only} has no partition ${partition}`)
}

async function offsetsOf(
  api: CommandContext['api'],
  group: string,
  mayBeNew: boolean,
): Promise<GroupDescription['offsets']> {
  try {
    const { offsets } = await api.get<GroupDescription>(`/v1/groups/${encodeURIComponent(group)}`)
    if (offsets.length > 0 || mayBeNew) return offsets
  } catch (error) {
    if (!mayBeNew || !(error instanceof SluiceError) || error.code !== 'GROUP_ID_NOT_FOUND') throw error
    return []
  }
  throw new SluiceError('INVALID_REQUEST', `group ${group} has no offsets yet: name the stream with --stream`)
}

/** Kept inside what the partition holds, as an offset outside it could not be read. */
async function targetIn(api: CommandContext['api'], place: Place, target: ResetTarget): Promise<number> {
  const { stream, partition, committed, start, end } = place
  const wanted =
    target.to === 'earliest'
      ? start
      : target.to === 'latest'
        ? end
        : target.to === 'offset'
          ? target.offset
          : target.to === 'shift'
            ? (committed ?? start) + target.by
            : await offsetAt(api, stream, partition, target.timestampMs)
  return Math.min(end, Math.max(start, wanted))
}

async function offsetAt(
  api: CommandContext['api'],
  stream: string,
  partition: number,
  timestampMs: number,
): Promise<number> {
  const page = await api.get<{ records: { offset: number }[]; next_offset: number }>(
    `/v1/streams/${stream}/partitions/${partition}/records`,
    { query: { offset: `@${timestampMs}`, max_records: 1 } },
  )
  return page.records[0]?.offset ?? page.next_offset
}
