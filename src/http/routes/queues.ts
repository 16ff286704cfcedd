// Work queues: receive, ack, nack, extend, redrive, describe, remove. A queue is a stream read by a group of workers, each message by one of
// them; it begins with its first receive. A receipt names one handing out of one message.

import { SluiceError } from '../../base/errors.js'
import { snakeCased } from '../../base/snake-case.js'
import { booleanOf, integerOf, listOf, objectOf, optionalText, textOf } from '../json-body.js'
import { MAX_WAIT_MS } from '../long-polls.js'
import { startPositionOf } from '../parameters.js'
import type { Queues } from '../ports.js'
import { recordsAsJson } from '../record-json.js'
import { type HttpReply, type HttpRequest, jsonReply, type Route } from '../route.js'

const MAX_MESSAGES = 1_000
const MAX_BYTES = 8 * 1024 * 1024
const MAX_RECEIPTS = 1_000
const MIN_VISIBILITY_MS = 100
/** Both of leases and of delays. */
const MAX_VISIBILITY_MS = 12 * 60 * 60_000
const MAX_REASON_LENGTH = 256
const MAX_REDRIVE = 10_000

const RECEIVE_FIELDS = ['max_messages', 'max_bytes', 'visibility_timeout_ms', 'wait_ms', 'order', 'start']

export function queueRoutes({ queues }: { readonly queues: Queues }): Route[] {
  const at = '/v1/queues/{stream}/{group}'
  return [
    { method: 'GET', pattern: '/v1/queues', handle: () => jsonReply({ queues: queues.list().map(snakeCased) }) },
    {
      method: 'GET',
      pattern: at,
      handle: ({ params }) => jsonReply(snakeCased(queues.describe(params['stream'], params['group']))),
    },
    {
      method: 'DELETE',
      pattern: at,
      async handle({ params }) {
        await queues.remove(params['stream'], params['group'])
        return jsonReply({})
      },
    },
    { method: 'POST', pattern: `${at}/receive`, scope: 'read', handle: (request) => receive(queues, request) },
    {
      method: 'POST',
      pattern: `${at}/ack`,
      scope: 'read',
      async handle(request) {
        const body = objectOf(await request.json(), 'the body', ['receipts'])
        const { stream, group } = request.params
        const { done, stale } = await queues.ack(stream, group, receiptsOf(body))
        return jsonReply({ acked: done, stale })
      },
    },
    { method: 'POST', pattern: `${at}/nack`, scope: 'read', handle: (request) => nack(queues, request) },
    {
      method: 'POST',
      pattern: `${at}/extend`,
      scope: 'read',
      async handle(request) {
        const body = objectOf(await request.json(), 'the body', ['receipts', 'visibility_timeout_ms'])
        const { stream, group } = request.params
        const timeoutMs = visibilityOf(body['visibility_timeout_ms'])
        const { done, stale } = queues.extend(stream, group, receiptsOf(body), timeoutMs)
        return jsonReply({ extended: done, stale })
      },
    },
    {
      method: 'POST',
      pattern: `${at}/redrive`,
      async handle(request) {
        const body = objectOf(await request.json(), 'the body', ['max_messages'])
        const maximum = integerOf(body['max_messages'] ?? MAX_REDRIVE, 'max_messages', 1, MAX_REDRIVE)
        return jsonReply(await queues.redrive(request.params['stream'], request.params['group'], maximum))
      },
    },
  ]
}

async function receive(queues: Queues, request: HttpRequest): Promise<HttpReply> {
  const { stream, group } = request.params
  const body = objectOf(await request.json(), 'the body', RECEIVE_FIELDS)
  const { visibility_timeout_ms: timeout, order = 'none' } = body
  if (order !== 'none' && order !== 'key') throw new SluiceError('INVALID_REQUEST', 'order has to be "none" or "key"')
  const { messages, lost } = await queues.receive(
    stream,
    group,
    {
      maxMessages: integerOf(body['max_messages'] ?? 10, 'max_messages', 1, MAX_MESSAGES),
      maxBytes: integerOf(body['max_bytes'] ?? 1024 * 1024, 'max_bytes', 1, MAX_BYTES),
      visibilityTimeoutMs: timeout === undefined ? undefined : visibilityOf(timeout),
      waitMs: integerOf(body['wait_ms'] ?? 0, 'wait_ms', 0, MAX_WAIT_MS),
      orderedByKey: order === 'key',
      start: startPositionOf('start', optionalText(body['start'], 'start') ?? 'earliest'),
    },
    async (work, waitMs) => {
      await request.wait({ ...work, waitMs })
      return !request.gone
    },
  )
  if (request.gone && messages.length > 0) {
    // Nobody will see them, so nobody should have to wait for their leases to end.
    const receipts = messages.map(({ receipt }) => receipt)
    await queues.nack(stream, group, receipts, { delayMs: 0, reason: 'the worker hung up', deadLetter: false })
  }
  const texts = messages.map(({ partition, record, attempt, receipt }) => {
    const text = recordsAsJson(stream, partition, [record], ',').toString()
    return `${text.slice(0, -1)},"attempt":${attempt},"receipt":"${receipt}"}`
  })
  const answer = `{"messages":[${texts.join(',')}],"lost":${JSON.stringify(lost.map(snakeCased))}}\n`
  return { headers: { 'content-type': 'application/json' }, body: answer }
}

async function nack(queues: Queues, request: HttpRequest): Promise<HttpReply> {
  const { stream, group } = request.params
  const body = objectOf(await request.json(), 'the body', ['receipts', 'delay_ms', 'reason', 'dead_letter'])
  const reason = optionalText(body['reason'], 'reason') ?? ''
  if (reason.length > MAX_REASON_LENGTH)
    throw new SluiceError('INVALID_REQUEST', `reason is longer than ${MAX_REASON_LENGTH} characters`)
  const { done, stale } = await queues.nack(stream, group, receiptsOf(body), {
    delayMs: integerOf(body['delay_ms'] ?? 0, 'delay_ms', 0, MAX_VISIBILITY_MS),
    reason,
    deadLetter: booleanOf(body['dead_letter'], 'dead_letter', false),
  })
  return jsonReply({ nacked: done, stale })
}

function receiptsOf(body: Readonly<Record<string, unknown>>): string[] {
  return listOf(body['receipts'], 'receipts', MAX_RECEIPTS).map((receipt, i) => textOf(receipt, `receipts[${i}]`))
}

function visibilityOf(value: unknown): number {
  return integerOf(value, 'visibility_timeout_ms', MIN_VISIBILITY_MS, MAX_VISIBILITY_MS)
}
