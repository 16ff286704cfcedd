// POST /v1/streams/{stream}/records: publishes, by the same path as a device's PUBLISH, and answers once all of it is durable. The body is
// {"records":[{"topic", "value" | "value_base64", "qos"?, "retain"?, "headers"?}]}, one such record, or with ?topic= the payload itself.

import { SluiceError } from '../../base/errors.js'
import { topicNameProblem } from '../../base/topic-filter.js'
import type { StreamCatalog } from '../../log/types.js'
import type { Qos, RecordHeader } from '../../record/record.js'
import { base64Of, booleanOf, integerOf, listOf, objectOf, textOf } from '../json-body.js'
import { quote } from '../parameters.js'
import type { OutgoingMessage, Producer, RecordPosition } from '../ports.js'
import { type HttpReply, type HttpRequest, jsonReply, type Route } from '../route.js'

export const MAX_RECORDS_PER_REQUEST = 10_000
const MAX_HEADERS_PER_RECORD = 64
const RECORD_FIELDS = ['topic', 'value', 'value_base64', 'qos', 'retain', 'headers']

export interface ProduceDependencies {
  readonly streams: StreamCatalog
  readonly producer: Producer
}

export function produceRoutes({ streams, producer }: ProduceDependencies): Route[] {
  return [
    {
      method: 'POST',
      pattern: '/v1/streams/{stream}/records',
      scope: 'write',
      query: ['topic', 'qos', 'retain'],
      async handle(request) {
        const { name } = streams.stream(request.params['stream'])
        const messages = request.query.has('topic') ? [await rawMessage(request)] : jsonMessages(await request.json())
        for (const [index, message] of messages.entries()) check(message, index, name, producer)
        return reply(await Promise.allSettled(messages.map(async (message) => producer.publish(message))))
      },
    },
  ]
}

async function rawMessage(request: HttpRequest): Promise<OutgoingMessage> {
  const { query } = request
  const qos = query.get('qos') ?? '1'
  const retain = query.get('retain') ?? 'false'
  if (!/^[012]$/.test(qos)) throw new SluiceError('INVALID_REQUEST', `qos=${quote(qos)} is not valid: use 0, 1 or 2`)
  if (!/^(true|false)$/.test(retain))
    throw new SluiceError('INVALID_REQUEST', `retain=${quote(retain)} is not valid: use true or false`)
  return {
    mqttTopic: query.get('topic') ?? '',
    payload: await request.body(),
    qos: Number(qos) as Qos,
    retain: retain === 'true',
    headers: [],
  }
}

function jsonMessages(body: unknown): OutgoingMessage[] {
  if (typeof body === 'object' && body !== null && 'records' in body) {
    const { records } = objectOf(body, 'the body', ['records'])
    return listOf(records, 'records', MAX_RECORDS_PER_REQUEST).map((record, i) => message(record, `records[${i}]`))
  }
  return [message(body, 'the record')]
}

function message(value: unknown, where: string): OutgoingMessage {
  const record = objectOf(value, where, RECORD_FIELDS)
  return {
    mqttTopic: textOf(record['topic'], `${where}.topic`),
    payload: bytesOf(record, where),
    qos: integerOf(record['qos'] ?? 1, `${where}.qos`, 0, 2) as Qos,
    retain: booleanOf(record['retain'], `${where}.retain`, false),
    headers: record['headers'] === undefined ? [] : headersOf(record['headers'], `${where}.headers`),
  }
}

function headersOf(value: unknown, where: string): RecordHeader[] {
  if (Array.isArray(value) && value.length === 0) return []
  return listOf(value, where, MAX_HEADERS_PER_RECORD).map((each, i) => {
    const header = objectOf(each, `${where}[${i}]`, ['key', 'value', 'value_base64'])
    return { key: textOf(header['key'], `${where}[${i}].key`), value: bytesOf(header, `${where}[${i}]`) }
  })
}

function bytesOf(from: Readonly<Record<string, unknown>>, where: string): Buffer {
  const { value, value_base64: base64 } = from
  if ((value === undefined) === (base64 === undefined))
    throw new SluiceError('INVALID_REQUEST', `${where} needs either value or value_base64`, { field: where })
  return base64 === undefined ? Buffer.from(textOf(value, `${where}.value`)) : base64Of(base64, `${where}.value_base64`)
}

/** Before any record is published: a request is refused whole for what it can be refused for. */
function check({ mqttTopic, payload }: OutgoingMessage, index: number, stream: string, producer: Producer): void {
  const problem = topicNameProblem(mqttTopic)
  if (problem !== null)
    throw new SluiceError('INVALID_TOPIC', `topic ${quote(mqttTopic)} ${problem}`, { topic: mqttTopic, index })
  const route = producer.routeOf(mqttTopic)
  if (route?.stream !== stream) {
    const goes = route === null ? 'no stream takes it' : `it goes to stream ${route.stream}`
    throw new SluiceError('INVALID_TOPIC', `topic ${quote(mqttTopic)} does not belong to stream ${stream}: ${goes}`, {
      topic: mqttTopic,
      stream: route?.stream ?? null,
      index,
    })
  }
  if (payload.length > producer.maxPayloadBytes)
    throw new SluiceError(
      'RECORD_TOO_LARGE',
      `the payload for ${quote(mqttTopic)} has ${payload.length} bytes, the most is ${producer.maxPayloadBytes}`,
      { index, bytes: payload.length, max_bytes: producer.maxPayloadBytes },
    )
}

/** One that failed makes the answer an error; the details say of each record where it is, or why it is nowhere. */
function reply(outcomes: readonly PromiseSettledResult<RecordPosition>[]): HttpReply {
  const positions = outcomes.map((outcome) =>
    outcome.status === 'fulfilled'
      ? { partition: outcome.value.partition, offset: outcome.value.offset }
      : { error: outcome.reason instanceof SluiceError ? outcome.reason.code : 'INTERNAL' },
  )
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed === undefined) return jsonReply({ records: positions })
  if (!(failed.reason instanceof SluiceError)) throw failed.reason
  const { code, message: text, details } = failed.reason
  throw new SluiceError(code, text, { ...details, records: positions }, failed.reason)
}
