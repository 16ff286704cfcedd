// Many records in one PUBLISH, for brokers that count messages: a JSON array anyone can read, or CBOR with an eighth of its overhead. The
// format is documented in ../README.md and fixed there; what decodes it must not break.
//
//   json   [ {"id": "NODE/STREAM/PARTITION/OFFSET", "time": ms, "topic": "…", "value": … | "text": "…" | "base64": "…",
//             "retain": true?, "headers": [[name, value]…]?}, … ]
//   cbor   [ 1, node, stream, partition, first offset, first time, [ [offset - first, time - first time, topic, payload,
//             flags?, headers?], … ] ]                          flags: 1 retain

import { isUtf8 } from 'node:buffer'
import { Encoder } from 'cbor-x'
import { type LogRecord, retainOf } from '../../record/record.js'

export type EnvelopeFormat = 'json' | 'cbor'

/** What a record is of, and with its offset its id for ever. */
export interface RecordSource {
  readonly node: string
  readonly stream: string
  readonly partition: number
}

const CBOR_VERSION = 1
const FLAG_RETAIN = 1
const cbor = new Encoder({ useRecords: false })

export interface EncodedRecord {
  readonly record: LogRecord
  /** Of JSON the text as it will stand; null for CBOR, which is encoded as a whole. */
  readonly text: Buffer | null
  /** In the envelope, about. */
  readonly bytes: number
}

export function encodeForEnvelope(format: EnvelopeFormat, source: RecordSource, record: LogRecord): EncodedRecord {
  if (format === 'json') {
    const text = Buffer.from(jsonOf(source, record))
    return { record, text, bytes: text.length + 1 }
  }
  const headers = record.headers.reduce((sum, { key, value }) => sum + key.length * 3 + (value?.length ?? 0) + 8, 0)
  return { record, text: null, bytes: (record.key?.length ?? 0) + (record.value?.length ?? 0) + headers + 24 }
}

/** @param records At least one. */
export function encodeEnvelope(
  format: EnvelopeFormat,
  source: RecordSource,
  records: readonly EncodedRecord[],
): Buffer {
  if (format === 'cbor') return cborOf(source, records)
  const parts: Buffer[] = []
  for (const [i, { text }] of records.entries()) parts.push(i === 0 ? OPEN : COMMA, text as Buffer)
  return Buffer.concat([...parts, CLOSE])
}

const OPEN = Buffer.from('[')
const COMMA = Buffer.from(',')
const CLOSE = Buffer.from(']')

function jsonOf({ node, stream, partition }: RecordSource, record: LogRecord): string {
  const { offset, timestampMs, key, value, headers } = record
  const known: Record<string, unknown> = { id: `${node}/${stream}/${partition}/${offset}`, time: timestampMs }
  known['topic'] = Buffer.from(key ?? EMPTY).toString()
  const extra: Record<string, unknown> = {}
  if (retainOf(record.attributes)) extra['retain'] = true
  if (headers.length > 0)
    extra['headers'] = headers.map(({ key: name, value: of }) => [name, of && Buffer.from(of).toString()])
  const end = JSON.stringify(extra).slice(1)
  return `${JSON.stringify(known).slice(0, -1)},${payloadOf(Buffer.from(value ?? EMPTY))}${end === '}' ? '' : ','}${end}`
}

/** JSON stands in the envelope as it was written, so that no number loses digits; what is none as text, what is no text in base64. */
function payloadOf(payload: Buffer): string {
  if (!isUtf8(payload)) return `"base64":"${payload.toString('base64')}"`
  const text = payload.toString()
  if (isJson(text)) return `"value":${text}`
  return `"text":${JSON.stringify(text)}`
}

function isJson(text: string): boolean {
  if (text === '' || !/^[\s[{"\-\dtfn]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function cborOf({ node, stream, partition }: RecordSource, records: readonly EncodedRecord[]): Buffer {
  const { offset: firstOffset, timestampMs: firstTime } = records[0].record
  const rows = records.map(({ record }) => {
    const { offset, timestampMs, key, value, headers, attributes } = record
    const topic = Buffer.from(key ?? EMPTY).toString()
    const row: unknown[] = [offset - firstOffset, timestampMs - firstTime, topic, Buffer.from(value ?? EMPTY)]
    const flags = retainOf(attributes) ? FLAG_RETAIN : 0
    if (flags !== 0 || headers.length > 0) row.push(flags)
    if (headers.length > 0) row.push(headers.map(({ key: name, value: of }) => [name, of && Buffer.from(of)]))
    return row
  })
  return cbor.encode([CBOR_VERSION, node, stream, partition, firstOffset, firstTime, rows])
}

const EMPTY = new Uint8Array(0)
