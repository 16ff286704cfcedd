// Working on the messages of a queue from a shell: receive, then ack, nack or extend by receipt.

import { integerOption, UsageError } from './command.js'
import type { QueueContext } from './queues.js'
import type { ApiRecord } from './record-format.js'
import { type Column, formatTable } from './table.js'

export const QUEUE_ACTIONS = ['receive', 'ack', 'nack', 'extend'] as const
export type QueueAction = (typeof QUEUE_ACTIONS)[number]

interface Message extends ApiRecord {
  readonly attempt: number
  readonly receipt: string
}

interface Lost {
  readonly partition: number
  readonly first_offset: number
  readonly last_offset: number
}

const MAX_MESSAGES = 1_000
const MAX_WAIT_SECONDS = 60
const MAX_LEASE_SECONDS = 12 * 60 * 60

const COLUMNS: readonly Column<Message>[] = [
  { title: 'RECEIPT', value: ({ receipt }) => receipt },
  { title: 'ATTEMPT', value: ({ attempt }) => attempt },
  { title: 'TOPIC', value: ({ topic }) => topic },
  { title: 'PAYLOAD', value: ({ value, value_base64: base64 }) => value ?? (base64 && `base64 ${base64}`) },
]

/** @returns the exit code: 1 when a receipt is stale, or when nothing was there to be received. */
export async function workOn(
  context: QueueContext,
  path: string,
  action: QueueAction,
  receipts: readonly string[],
): Promise<number> {
  if (action === 'receive') {
    if (receipts.length > 0) throw new UsageError(`receive takes no ${JSON.stringify(receipts[0])}`)
    return receive(context, path)
  }
  if (receipts.length === 0) throw new UsageError(`name the receipts: sluice queues STREAM GROUP ${action} RECEIPT…`)
  const answer = await context.api.post<{ stale: string[] }>(`${path}/${action}`, bodyOf(context, action, receipts))
  return settled(context, action, receipts, answer)
}

function bodyOf({ values }: QueueContext, action: QueueAction, receipts: readonly string[]): unknown {
  const leaseMs = secondsOption('lease', values.lease, 1, MAX_LEASE_SECONDS)
  if (action === 'ack') return { receipts }
  if (action === 'extend') {
    if (leaseMs === undefined) throw new UsageError('say for how long: --lease SECONDS')
    return { receipts, visibility_timeout_ms: leaseMs }
  }
  return {
    receipts,
    delay_ms: secondsOption('delay', values.delay, 0, MAX_LEASE_SECONDS),
    reason: values.reason,
    dead_letter: values['dead-letter'],
  }
}

async function settled(
  { values, stdout, stderr }: QueueContext,
  action: QueueAction,
  receipts: readonly string[],
  answer: { readonly stale: readonly string[] },
): Promise<number> {
  const { stale } = answer
  const past = { ack: 'Acknowledged', nack: 'Given back', extend: 'Extended', receive: '' }[action]
  if (values.json) await stdout.json(answer)
  else await stderr.line(`${past}: ${receipts.length - stale.length}.`)
  if (stale.length === 0) return 0
  await stderr.line(`Stale, somebody else has got the message or it is done: ${stale.join(' ')}`)
  return 1
}

async function receive({ api, values, stdout, stderr, signal }: QueueContext, path: string): Promise<number> {
  const waitMs = secondsOption('wait', values.wait, 0, MAX_WAIT_SECONDS) ?? 0
  const body = {
    max_messages: integerOption('count', values.count, { min: 1, max: MAX_MESSAGES }) ?? 1,
    wait_ms: waitMs,
    visibility_timeout_ms: secondsOption('lease', values.lease, 1, MAX_LEASE_SECONDS),
    order: values.order,
    start: values.from,
  }
  let received: { readonly messages: readonly Message[]; readonly lost: readonly Lost[] }
  try {
    received = await api.post(`${path}/receive`, body, { waitMs, signal })
  } catch (error) {
    if (signal.aborted) return 1
    throw error
  }
  const { messages, lost } = received
  for (const { partition, first_offset: first, last_offset: last } of lost)
    await stderr.line(
      `Retention has taken messages before they were done: partition ${partition}, ${first} to ${last}.`,
    )
  if (values.json) for (const message of messages) await stdout.json(message)
  else if (messages.length > 0) await stdout.write(formatTable(COLUMNS, messages))
  if (messages.length > 0) return 0
  await stderr.line('Nothing to be received.')
  return 1
}

/** @returns milliseconds. */
function secondsOption(name: string, text: string | undefined, min: number, max: number): number | undefined {
  const seconds = integerOption(name, text, { min, max })
  return seconds === undefined ? undefined : seconds * 1000
}
