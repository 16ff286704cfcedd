// `sluice origins`: the nodes that forward to this one, and letting one in that was refused.

import { defineCommand, UsageError } from './command.js'
import { formatTime } from './format.js'
import { type Column, formatTable, printable } from './table.js'

/** As in GET /v1/origins. */
interface Origin {
  readonly node_id: string
  readonly connected: boolean
  readonly last_hello_ms: number | null
  readonly alarm: string | null
}

const COLUMNS: readonly Column<Origin>[] = [
  { title: 'ORIGIN', value: ({ node_id: id }) => id },
  { title: 'CONNECTED', value: ({ connected }) => (connected ? 'yes' : 'no') },
  { title: 'LAST CONNECTED', value: ({ last_hello_ms: last }) => formatTime(last) },
  { title: 'ALARM', value: ({ alarm }) => alarm ?? undefined },
]

export const command = defineCommand({
  name: 'origins',
  summary: 'list the nodes that forward to this one; accept one that was refused',
  usage: ['origins', 'origins NAME accept'],
  description:
    'A node that comes with the name of another one, or as a copy of its data directory, is refused, so that two do not write into one mirror. After accept, the next one of that name is let in, and the other refused.',
  options: {},
  positionals: { min: 0, max: 2 },
  examples: ['sluice origins', 'sluice origins gw-17 accept'],
  async run({ api, positionals, values, stdout, stderr }) {
    const [name, action] = positionals
    if (name !== undefined) {
      if (action !== 'accept') throw new UsageError('to let a node in: sluice origins NAME accept')
      const origin = await api.post<Origin>(`/v1/origins/${encodeURIComponent(name)}/accept`, {})
      if (values.json) await stdout.json(origin)
      else await stderr.line(`${printable(name)}: the next node of this name is let in.`)
      return 0
    }
    const { origins } = await api.get<{ origins: Origin[] }>('/v1/origins')
    if (values.json) for (const origin of origins) await stdout.json(origin)
    else if (origins.length === 0) await stderr.line('No node has forwarded to this one.')
    else await stdout.write(formatTable(COLUMNS, origins))
    return 0
  },
})
