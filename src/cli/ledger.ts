// `sluice ledger`: everything that will never be delivered, and why.

import { defineCommand } from './command.js'
import { formatCount, formatRecords, formatTime } from './format.js'
import { type Column, formatTable } from './table.js'

/** As in GET /v1/ledger. */
interface Entry {
  readonly destination: string
  readonly stream: string
  readonly partition: number
  readonly first_offset: number
  readonly last_offset: number
  readonly records: number
  readonly reason: string
  readonly at_ms: number
}

interface Answer {
  readonly entries: readonly Entry[]
  readonly total_entries: number
  readonly total_records: number
}

const COLUMNS: readonly Column<Entry>[] = [
  { title: 'DESTINATION', value: (entry) => (entry.destination === '*' ? 'everyone' : entry.destination) },
  { title: 'STREAM', value: (entry) => entry.stream },
  { title: 'PARTITION', value: (entry) => entry.partition },
  { title: 'FIRST', value: (entry) => entry.first_offset },
  { title: 'LAST', value: (entry) => entry.last_offset },
  { title: 'RECORDS', value: (entry) => formatCount(entry.records), align: 'right' },
  { title: 'REASON', value: (entry) => entry.reason },
  { title: 'SINCE', value: (entry) => formatTime(entry.at_ms) },
]

export const command = defineCommand({
  name: 'ledger',
  summary: 'list what will never be delivered, and why',
  usage: ['ledger [--stream NAME] [--destination NAME]'],
  description:
    'Each row is a range of records that retention, a full disk, damage or a refusal removed before a destination had them.\n' +
    'An empty list means that nothing has been lost. With --json, one object per line.\n\n' +
    'A destination is an upstream by its name; session:CLIENT, an MQTT client whose session is kept; session:$share/GROUP/FILTER, a shared\n' +
    'group; subscribers, those of QoS 0; or everyone, with --destination "*".\n\n' +
    'Reasons: retention (max_bytes, max_age), disk_full, corruption (damaged on disk), end_unknown (damage hid where a partition\n' +
    'ended: at most so many records, perhaps none; writing went on behind the range), rejected (by the upstream), qos0_dropped\n' +
    '(a subscriber was too slow), session_overtaken (retention was faster than a session), replaced (a mirror that began anew),\n' +
    'several (rows that were joined; so is the destination session:*).',
  options: {
    stream: { type: 'string', value: 'NAME', description: 'only rows of this stream' },
    destination: { type: 'string', value: 'NAME', description: 'only rows of this upstream, or of session:CLIENT' },
  },
  examples: [
    'sluice ledger',
    'sluice ledger --destination session:sensor-7',
    'sluice ledger --destination cloud --json',
  ],
  async run({ api, values, stdout, stderr }) {
    const { stream, destination } = values
    const answer = await api.get<Answer>('/v1/ledger', { query: { stream, destination } })
    if (values.json) {
      for (const entry of answer.entries) await stdout.json(entry)
      return 0
    }
    if (answer.entries.length === 0) {
      const whole = stream === undefined && destination === undefined
      await stderr.line(whole ? 'The ledger is empty: nothing has been lost.' : 'The ledger has nothing about that.')
      return 0
    }
    await stdout.write(formatTable(COLUMNS, answer.entries))
    const rows = `${formatCount(answer.total_entries)} ${answer.total_entries === 1 ? 'row' : 'rows'}`
    const shown = answer.entries.length < answer.total_entries ? `, the latest ${answer.entries.length} shown` : ''
    await stderr.line(`${formatRecords(answer.total_records)} in ${rows}${shown}.`)
    return 0
  },
})
