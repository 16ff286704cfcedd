// POST /v1/streams/{stream}/records: publishes, by the same path as a device's PUBLISH, and answers once all of it is durable. The body is
// {"records":[{"topic", "value" | "value_base64", "qos"?, "retain"?, "headers"?}]}, one such record, or with ?topic= the payload itself.
// With `producer_id` and `sequence` a request that is sent again is stored once (producer-requests.ts).

import { SluiceError } from '../../base/errors.js'
import { topicNameProblem } from '../../base/topic-filter.js'
import type { Commit, StreamCatalog } from '../../log/types.js'
import type { Qos, RecordHeader } from '../../record/record.js'
import { base64Of, booleanOf, integerOf, listOf, objectOf, textOf } from '../json-body.js'
import { checkParameter, numberOf, quote } from '../parameters.js'
import type { OutgoingMessage, Producer } from '../ports.js'
import { type AppendedRequest, type Place, ProducerRequests, type RequestNumber } from '../producer-requests.js'
import { type HttpReply, type HttpRequest, jsonReply, type Route } from '../route.js'

export const MAX_RECORDS_PER_REQUEST = 10_000
const MAX_HEADERS_PER_RECORD = 64
/** Of a header, on top of its key and value; more than the encoding takes. */
const HEADER_OVERHEAD_BYTES = 16
/** Kafka's producer epochs are int16. */
const MAX_PRODUCER_EPOCH = 32_767
const RECORD_FIELDS = ['topic', 'value', 'value_base64', 'qos', 'retain', 'headers']
const NUMBER_FIELDS = ['producer_id', 'producer_epoch', 'sequence']

export interface ProduceDependencies {
  readonly streams: StreamCatalog
  readonly producer: Producer
  readonly wallMs: () => number
}

interface ProduceRequest {
  readonly messages: readonly OutgoingMessage[]
  readonly number: RequestNumber | null
}

export function produceRoutes({ streams, producer, wallMs }: ProduceDependencies): Route[] {
  const requests = new ProducerRequests(wallMs)
  return [
    {
      method: 'POST',
      pattern: '/v1/streams/{stream}/records',
      scope: 'write',
      query: ['topic', 'qos', 'retain', ...NUMBER_FIELDS],
      async handle(request) {
        const stream = streams.stream(request.params['stream'])
        const { messages, number } = await requestOf(request)
        const clientId = number?.producerId ?? ''
        const partitions = messages.map((message, index) => check(message, index, stream.name, producer, clientId))
        const publish = () => producer.publish(messages, clientId)
        if (number === null) {
          const places = publish()
          return reply(places, new Set(places.map(({ commit }) => commit)))
        }
        const appended = requests.append(stream, number, partitions, publish)
        const commits = new Set([...appended.commits, ...retainedAgain(messages, appended, producer)])
        return reply(appended.places, commits, { duplicate: appended.duplicate })
      },
    },
  ]
}

/** A crash may have come between the records and the retained messages: only the records are known to be there. */
function retainedAgain(messages: readonly OutgoingMessage[], appended: AppendedRequest, producer: Producer): Commit[] {
  if (!appended.duplicate || !appended.isLast) return []
  return messages.filter(({ retain }) => retain).map((message) => producer.retain(message))
}

async function requestOf(request: HttpRequest): Promise<ProduceRequest> {
  const { query } = request
  const inQuery = NUMBER_FIELDS.some((name) => query.has(name)) ? numberInQuery(request) : null
  if (query.has('topic')) return { messages: [await rawMessage(request)], number: inQuery }
  const body = await request.json()
  if (typeof body !== 'object' || body === null || !('records' in body))
    return { messages: [message(body, 'the record')], number: inQuery }
  const fields = objectOf(body, 'the body', ['records', ...NUMBER_FIELDS])
  const number = NUMBER_FIELDS.some((name) => name in fields) ? numberInBody(fields) : inQuery
  if (number !== inQuery && inQuery !== null)
    throw new SluiceError('INVALID_REQUEST', 'producer_id and sequence are in the query and in the body: use one')
  const records = listOf(fields['records'], 'records', MAX_RECORDS_PER_REQUEST)
  return { messages: records.map((record, i) => message(record, `records[${i}]`)), number }
}

function numberInBody(fields: Readonly<Record<string, unknown>>): RequestNumber {
  return {
    producerId: checkParameter('producer_id', textOf(fields['producer_id'], 'producer_id')),
    epoch: integerOf(fields['producer_epoch'] ?? 0, 'producer_epoch', 0, MAX_PRODUCER_EPOCH),
    sequence: integerOf(fields['sequence'], 'sequence'),
  }
}

function numberInQuery(request: HttpRequest): RequestNumber {
  for (const name of ['producer_id', 'sequence'])
    if (!request.query.has(name))
      throw new SluiceError('INVALID_REQUEST', `${name} is missing: producer_id and sequence go together`)
  return {
    producerId: checkParameter('producer_id', request.query.get('producer_id') ?? ''),
    epoch: numberOf(request, 'producer_epoch', { minimum: 0, maximum: MAX_PRODUCER_EPOCH, otherwise: 0 }),
    sequence: numberOf(request, 'sequence', { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, otherwise: 0 }),
  }
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

/** Before any record is published: a request is refused whole for what it can be refused for. @returns the record's partition. */
function check(
  { mqttTopic, payload, headers }: OutgoingMessage,
  index: number,
  stream: string,
  producer: Producer,
  clientId: string,
): number {
  const problem = topicNameProblem(mqttTopic)
  if (problem !== null)
    throw new SluiceError('INVALID_TOPIC', `topic ${quote(mqttTopic)} ${problem}`, { topic: mqttTopic, index })
  const route = producer.routeOf(mqttTopic, clientId)
  if (route?.stream !== stream) {
    const goes = route === null ? 'no stream takes it' : `it goes to stream ${route.stream}`
    throw new SluiceError('INVALID_TOPIC', `topic ${quote(mqttTopic)} does not belong to stream ${stream}: ${goes}`, {
      topic: mqttTopic,
      stream: route?.stream ?? null,
      index,
    })
  }
  const inHeaders = headers.reduce((sum, { key, value }) => sum + headerBytes(key, value), 0)
  for (const [what, bytes] of [
    ['the payload', payload.length],
    ['topic and headers', inHeaders && inHeaders + mqttTopic.length],
  ] as const)
    if (bytes > producer.maxPayloadBytes)
      throw new SluiceError(
        'RECORD_TOO_LARGE',
        `${what} for ${quote(mqttTopic)} have ${bytes} bytes, the most is ${producer.maxPayloadBytes}`,
        { index, bytes, max_bytes: producer.maxPayloadBytes },
      )
  return route.partition
}

function headerBytes(key: string, value: Uint8Array | null): number {
  return HEADER_OVERHEAD_BYTES + Buffer.byteLength(key) + (value?.length ?? 0)
}

/** One that failed makes the answer an error; the details say of each record where it is, or why it is nowhere. */
async function reply(
  places: readonly (Place & { readonly commit?: Commit })[],
  commits: ReadonlySet<Commit>,
  more: { readonly duplicate?: boolean } = {},
): Promise<HttpReply> {
  const outcomes = await Promise.allSettled([...commits].map((commit) => commit.durable()))
  const records = places.map(({ partition, offset, commit }) =>
    commit?.error ? { error: commit.error.code } : { partition, offset },
  )
  const failed = outcomes.find((outcome) => outcome.status === 'rejected')
  if (failed === undefined) return jsonReply({ records, ...more })
  if (!(failed.reason instanceof SluiceError)) throw failed.reason
  const { code, message: text, details } = failed.reason
  throw new SluiceError(code, text, { ...details, records }, failed.reason)
}
