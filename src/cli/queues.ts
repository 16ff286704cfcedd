// `sluice queues`: work queues, what they hold, and bringing back or forgetting what lies in them. Working on messages is in queue-work.ts.

import { type CommandContext, defineCommand, integerOption, UsageError } from './command.js'
import { formatCount } from './format.js'
import { QUEUE_ACTIONS, workOn } from './queue-work.js'
import { type Column, formatTable } from './table.js'

interface Queue {
  readonly stream: string
  readonly group: string
  readonly backlog: number
  readonly in_flight: number
  readonly waiting: number
  readonly max_attempts: number | null
  readonly dead_letter: string | null
  readonly received: number
  readonly acknowledged: number
  readonly dead_lettered: number
}

const MAX_REDRIVE_PER_REQUEST = 1_000

const COLUMNS: readonly Column<Queue>[] = [
  { title: 'STREAM', value: ({ stream }) => stream },
  { title: 'GROUP', value: ({ group }) => group },
  { title: 'BACKLOG', value: ({ backlog }) => formatCount(backlog), align: 'right' },
  { title: 'IN FLIGHT', value: (queue) => formatCount(queue.in_flight), align: 'right' },
  { title: 'WAITING', value: ({ waiting }) => formatCount(waiting), align: 'right' },
  { title: 'ATTEMPTS', value: (queue) => queue.max_attempts ?? 'any', align: 'right' },
  { title: 'DEAD LETTERS TO', value: (queue) => queue.dead_letter },
]

const SINCE_START: readonly Column<Queue>[] = [
  { title: 'RECEIVED', value: ({ received }) => received },
  { title: 'ACKNOWLEDGED', value: ({ acknowledged }) => acknowledged },
  { title: 'GIVEN UP', value: (queue) => queue.dead_lettered },
]

export const OPTIONS = {
  count: { type: 'string', short: 'c', value: 'N', description: 'receive: at most N (1); redrive: at most N (all)' },
  wait: { type: 'string', value: 'SECONDS', description: 'receive: wait so long for a message (0)' },
  lease: {
    type: 'string',
    value: 'SECONDS',
    description: 'receive, extend: nobody else gets it for so long (as the node is configured)',
  },
  order: {
    type: 'string',
    value: 'ORDER',
    description: 'receive: none (default), or key: one at a time per MQTT topic',
  },
  from: { type: 'string', value: 'WHERE', description: 'receive: where a queue begins that is new (earliest)' },
  delay: { type: 'string', value: 'SECONDS', description: 'nack: not again before (0)' },
  reason: { type: 'string', value: 'TEXT', description: 'nack: why; a dead letter carries it' },
  'dead-letter': { type: 'boolean', description: 'nack: give the message up' },
  execute: { type: 'boolean', description: 'delete: do it; without this it is only shown' },
} as const

export const command = defineCommand({
  name: 'queues',
  summary: 'list work queues, work on their messages, bring dead letters back',
  usage: [
    'queues [STREAM GROUP]',
    'queues STREAM GROUP receive [--count N] [--wait S] [--lease S] [--order key]',
    'queues STREAM GROUP ack|nack|extend RECEIPT…',
    'queues STREAM GROUP redrive [--count N]',
    'queues STREAM GROUP delete [--execute]',
  ],
  description:
    'A queue gives each message of a stream to one worker; its first receive makes it. BACKLOG was never handed out, IN FLIGHT is with a\n' +
    'worker, WAITING comes again. What is received and not acknowledged within its lease comes again. After as many attempts as\n' +
    '[[queue]] in the configuration allows, a message is a dead letter; redrive hands the originals out again.',
  options: OPTIONS,
  positionals: { min: 0, max: 1_003 },
  examples: [
    'sluice queues',
    'sluice queues mails senders receive --wait 30  # prints RECEIPT, attempt, topic and payload',
    'sluice queues mails senders ack RECEIPT',
    'sluice queues mails senders nack RECEIPT --delay 60 --reason "mail server is away"',
    'sluice queues mails senders redrive',
  ],
  async run(context) {
    const [stream, group, action, ...receipts] = context.positionals
    if (stream === undefined) return list(context)
    if (group === undefined)
      throw new UsageError(`a queue is a stream and a group: sluice queues ${stream} GROUP; sluice queues lists them`)
    const path = `/v1/queues/${encodeURIComponent(stream)}/${encodeURIComponent(group)}`
    const work = QUEUE_ACTIONS.find((each) => each === action)
    if (work !== undefined) return workOn(context, path, work, receipts)
    if (receipts.length > 0) throw new UsageError(`${action} takes no ${JSON.stringify(receipts[0])}`)
    if (action === undefined) return describe(context, path)
    if (action === 'redrive') return redrive(context, path)
    if (action === 'delete') return forget(context, path)
    const known = [...QUEUE_ACTIONS, 'redrive', 'delete'].join(', ')
    throw new UsageError(`unknown action ${JSON.stringify(action)}: there are ${known}`)
  },
})

export type QueueContext = CommandContext<typeof OPTIONS>

async function list({ api, values, stdout, stderr }: QueueContext): Promise<number> {
  const { queues } = await api.get<{ queues: Queue[] }>('/v1/queues')
  if (values.json) for (const queue of queues) await stdout.json(queue)
  else if (queues.length === 0)
    await stderr.line('There are no work queues yet: sluice queues STREAM GROUP receive makes one.')
  else await stdout.write(formatTable(COLUMNS, queues))
  return 0
}

async function describe({ api, values, stdout, stderr }: QueueContext, path: string): Promise<number> {
  const queue = await api.get<Queue>(path)
  if (values.json) {
    await stdout.json(queue)
    return 0
  }
  await stdout.write(formatTable(COLUMNS, [queue]))
  await stderr.line('Since the node was started:')
  await stdout.write(formatTable(SINCE_START, [queue]))
  return 0
}

async function redrive({ api, values, stdout, stderr, signal }: QueueContext, path: string): Promise<number> {
  const most = integerOption('count', values.count, { min: 1 }) ?? Number.POSITIVE_INFINITY
  const { dead_letter: deadLetter } = await api.get<Queue>(path)
  if (deadLetter === null) {
    await stderr.line('This queue has no dead letters: without a [[queue]] in the configuration it tries for ever.')
    return 1
  }
  let [redriven, gone] = [0, 0]
  while (redriven + gone < most && !signal.aborted) {
    const body = { max_messages: Math.min(MAX_REDRIVE_PER_REQUEST, most - redriven - gone) }
    const answer = await api.post<{ redriven: number; gone: number }>(`${path}/redrive`, body)
    if (answer.redriven + answer.gone === 0) break
    redriven += answer.redriven
    gone += answer.gone
  }
  if (values.json) await stdout.json({ redriven, gone })
  else {
    const lost = gone === 0 ? '' : ` The originals of ${formatCount(gone)} are gone: retention has taken them.`
    await stderr.line(`Brought back: ${formatCount(redriven)} from ${deadLetter}.${lost}`)
  }
  return 0
}

async function forget({ api, values, stderr }: QueueContext, path: string): Promise<number> {
  const { stream, group, in_flight, waiting } = await api.get<Queue>(path)
  const what = `queue ${group} of ${stream}, in flight: ${in_flight}, waiting: ${waiting}`
  if (values.execute !== true) {
    await stderr.line(`Would delete ${what}. To do it: sluice queues ${stream} ${group} delete --execute`)
    return 0
  }
  await api.delete(path)
  await stderr.line(`Deleted ${what}. The records stay in the stream.`)
  return 0
}
