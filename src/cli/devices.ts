// `sluice devices`: how the devices behind the firmware bridge are, and the lines they come over.

import { type CommandContext, defineCommand } from './command.js'
import { formatBytes, formatCount, formatTime } from './format.js'
import { type Column, formatTable } from './table.js'

/** As in GET /v1/devices. */
interface Device {
  readonly id: string
  readonly line: string
  readonly kind: string
  readonly address: string | null
  readonly connected: boolean
  readonly first_seen_ms: number
  readonly last_seen_ms: number
  readonly battery_percent: number | null
  readonly battery_millivolts: number | null
  readonly signal_dbm: number | null
  readonly published: number
  readonly resends: number
  readonly gaps: number
  readonly crc_errors: number
  readonly delivered: number
  readonly rejected: Readonly<Record<string, number>>
}

interface Line {
  readonly line: string
  readonly kind: string
  readonly address: string
  readonly open: boolean
  readonly received_bytes: number
  readonly sent_bytes: number
  readonly damaged_frames: number
  readonly dropped_answers: number
  readonly rejected: Readonly<Record<string, number>>
}

interface Rejection {
  readonly who: string
  readonly reason: string
  readonly count: number
}

const count = <Row>(title: string, value: (row: Row) => number): Column<Row> => ({
  title,
  value: (row) => formatCount(value(row)),
  align: 'right',
})

const COLUMNS: readonly Column<Device>[] = [
  { title: 'DEVICE', value: ({ id }) => id },
  { title: 'LINE', value: ({ line }) => line },
  { title: 'STATE', value: ({ connected }) => (connected ? 'connected' : 'away') },
  { title: 'LAST SEEN', value: ({ last_seen_ms: last }) => formatTime(last) },
  count('PUBLISHED', ({ published }) => published),
  count('RESENDS', ({ resends }) => resends),
  count('GAPS', ({ gaps }) => gaps),
  count('CRC ERRORS', ({ crc_errors: errors }) => errors),
  count('REJECTED', ({ rejected }) => sum(rejected)),
  count('DELIVERED', ({ delivered }) => delivered),
  { title: 'BATTERY', value: (device) => batteryOf(device), align: 'right' },
  { title: 'SIGNAL', value: ({ signal_dbm: dbm }) => (dbm === null ? '-' : `${dbm} dBm`), align: 'right' },
]

const LINE_COLUMNS: readonly Column<Line>[] = [
  { title: 'LINE', value: ({ line }) => line },
  { title: 'KIND', value: ({ kind }) => kind },
  { title: 'ADDRESS', value: ({ address }) => address },
  { title: 'STATE', value: ({ open }) => (open ? 'open' : 'not there') },
  { title: 'RECEIVED', value: ({ received_bytes: bytes }) => formatBytes(bytes), align: 'right' },
  { title: 'SENT', value: ({ sent_bytes: bytes }) => formatBytes(bytes), align: 'right' },
  count('DAMAGED', ({ damaged_frames: frames }) => frames),
  count('REJECTED', ({ rejected }) => sum(rejected)),
  count('DROPPED ANSWERS', ({ dropped_answers: dropped }) => dropped),
]

const REJECTION_COLUMNS: readonly Column<Rejection>[] = [
  { title: 'FROM', value: ({ who }) => who },
  { title: 'REJECTED FOR', value: ({ reason }) => reason },
  count('TIMES', ({ count: times }) => times),
]

const OPTIONS = {} as const

export const command = defineCommand({
  name: 'devices',
  summary: 'show the devices behind the firmware bridge, and how well they get through',
  usage: ['devices [NAME]'],
  description:
    'A gap is a message that came before the one before it; a resend one that came again. GAPS, RESENDS and CRC ERRORS tell of a bad line, REJECTED of\n' +
    'devices that may not do what they try; with a NAME it is said what. Counters go on across restarts; those of lines begin with the node.',
  options: OPTIONS,
  positionals: { min: 0, max: 1 },
  examples: ['sluice devices', 'sluice devices pump-7', 'sluice devices --json'],
  async run(context) {
    const [name] = context.positionals
    return name === undefined ? showAll(context) : showOne(context, name)
  },
})

async function showAll({ api, values, stdout, stderr }: CommandContext<typeof OPTIONS>): Promise<number> {
  const { devices, lines } = await api.get<{ devices: Device[]; lines: Line[] }>('/v1/devices')
  if (values.json) {
    for (const device of devices) await stdout.json(device)
    return 0
  }
  if (lines.length === 0 && devices.length === 0) {
    await stderr.line('No [[firmware]] line is configured.')
    return 0
  }
  if (devices.length === 0) await stderr.line('No device has been heard of yet.')
  else await stdout.write(formatTable(COLUMNS, devices))
  if (lines.length > 0) await stdout.write(`${devices.length > 0 ? '\n' : ''}${formatTable(LINE_COLUMNS, lines)}`)
  const rejections = lines.flatMap(({ address, rejected }) => rejectionsOf(address, rejected))
  if (rejections.length > 0) await stdout.write(`\n${formatTable(REJECTION_COLUMNS, rejections)}`)
  return 0
}

async function showOne({ api, values, stdout }: CommandContext<typeof OPTIONS>, name: string): Promise<number> {
  const { devices } = await api.get<{ devices: Device[] }>(`/v1/devices/${encodeURIComponent(name)}`)
  if (values.json) {
    for (const device of devices) await stdout.json(device)
    return 0
  }
  const facts = devices.flatMap((device) => [
    { name: 'line', value: `${device.line} (${device.kind})` },
    { name: 'address', value: device.address },
    { name: 'first seen', value: formatTime(device.first_seen_ms) },
  ])
  const factColumns = [
    { title: 'FACT', value: ({ name: fact }: (typeof facts)[0]) => fact },
    { title: 'VALUE', value: ({ value }: (typeof facts)[0]) => value },
  ]
  await stdout.write(`${formatTable(COLUMNS, devices)}\n${formatTable(factColumns, facts)}`)
  const rejections = devices.flatMap(({ line, rejected }) => rejectionsOf(line, rejected))
  if (rejections.length > 0) await stdout.write(`\n${formatTable(REJECTION_COLUMNS, rejections)}`)
  return 0
}

function rejectionsOf(who: string, rejected: Readonly<Record<string, number>>): Rejection[] {
  return Object.entries(rejected).map(([reason, times]) => ({ who, reason: reason.replaceAll('_', ' '), count: times }))
}

function batteryOf({ battery_percent: percent, battery_millivolts: millivolts }: Device): string {
  if (percent === null && millivolts === null) return '-'
  const volts = millivolts === null ? '' : `${(millivolts / 1000).toFixed(2)} V`
  return percent === null ? volts : `${percent}%${volts === '' ? '' : ` ${volts}`}`
}

function sum(rejected: Readonly<Record<string, number>>): number {
  return Object.values(rejected).reduce((total, times) => total + times, 0)
}
