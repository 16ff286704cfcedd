// `sluice ledger`: everything that will never be delivered, and why.

import { defineCommand } from './command.js'
import { formatCount, formatTime } from './format.js'
import { type Column, formatTable } from './table.js'

/** As in GET /v1/ledger. */
interface Entry {
  readonly destination: string
  readonly stream: string
  readonly partition: number
  readonly first_offset: number
  readonly last_offset: number
  readonly reason: string
  readonly at_ms: number
}

const COLUMNS: readonly Column<Entry>[] = [
  { title: 'DESTINATION', value: (entry) => (entry.destination === '*' ? 'everyone' : entry.destination) },
  { title: 'STREAM', value: (entry) => entry.stream },
  { title: 'PARTITION', value: (entry) => entry.partition },
  { title: 'FIRST', value: (entry) => entry.first_offset },
  { title: 'LAST', value: (entry) => entry.last_offset },
  { title: 'RECORDS', value: (entry) => formatCount(recordsIn(entry)), align: 'right' },
  { title: 'REASON', value: (entry) => entry.reason },
  { title: 'SINCE', value: (entry) => formatTime(entry.at_ms) },
]

export const command = defineCommand({
  name: 'ledger',
  summary: 'list what will never be delivered, and why',
  usage: ['ledger [--stream NAME] [--destination NAME]'],
  description:
    'Each row is a range of records that retention, a full disk, damage or a refusal removed before a destination had them.\n' +
    'An empty list means that nothing has been lost. With --json, one object per line.',
  options: {
    stream: { type: 'string', value: 'NAME', description: 'only rows of this stream' },
    destination: { type: 'string', value: 'NAME', description: 'only rows of this upstream or session' },
  },
  examples: ['sluice ledger', 'sluice ledger --destination cloud --json'],
  async run({ api, values, stdout, stderr }) {
    const { entries } = await api.get<{ entries: Entry[] }>('/v1/ledger')
    const shown = entries.filter(
      (entry) =>
        (values.stream === undefined || entry.stream === values.stream) &&
        (values.destination === undefined || entry.destination === values.destination),
    )
    if (values.json) {
      for (const entry of shown) await stdout.json(entry)
      return 0
    }
    if (shown.length === 0) {
      await stderr.line('The ledger is empty: nothing has been lost.')
      return 0
    }
    await stdout.write(formatTable(COLUMNS, shown))
    const total = shown.reduce((sum, entry) => sum + recordsIn(entry), 0)
    await stderr.line(`${formatCount(total)} records in ${shown.length} rows.`)
    return 0
  },
})

/** Both ends are inclusive. */
function recordsIn(entry: Entry): number {
  return entry.last_offset - entry.first_offset + 1
}
