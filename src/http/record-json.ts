// Records as JSON. One record is
//   {"stream","partition","offset","timestamp","timestamp_ms","topic","qos","retain","value","headers"}
// A payload that is valid UTF-8 is the string `value`, be it text or JSON (it stays a string: what was published comes back byte for
// byte); any other payload is `value_base64`. A record without a payload has `"value":null`. `topic` is the key; a key that is not
// UTF-8, which only another producer can write, is `key_base64`. Headers are a list, because their keys may repeat.
//
// Built by hand: the parts that are the same for every record are made once, and no object per record is.

import { isUtf8 } from 'node:buffer'
import { type LogRecord, qosOf, retainOf } from '../record/record.js'

/** One JSON text per record, without line ends. */
export function recordsAsJson(stream: string, partition: number, records: readonly LogRecord[]): string[] {
  const start = `{"stream":${JSON.stringify(stream)},"partition":${partition},"offset":`
  let timestampMs = Number.NaN
  let timestamp = ''
  return records.map((record) => {
    if (record.timestampMs !== timestampMs) {
      timestampMs = record.timestampMs
      timestamp = `,"timestamp":"${isoOf(timestampMs)}","timestamp_ms":${timestampMs},`
    }
    const { offset, key, value, headers, attributes } = record
    const flags = `,"qos":${qosOf(attributes)},"retain":${retainOf(attributes)},`
    return `${start}${offset}${timestamp}${field('topic', 'key_base64', key)}${flags}${field(
      'value',
      'value_base64',
      value,
    )},"headers":${headers.length === 0 ? '[]' : headersAsJson(headers)}}`
  })
}

function headersAsJson(headers: LogRecord['headers']): string {
  return `[${headers
    .map(({ key, value }) => {
      const bytes = value === null ? null : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      return `{"key":${JSON.stringify(key)},${field('value', 'value_base64', bytes)}}`
    })
    .join(',')}]`
}

function field(textName: string, base64Name: string, bytes: Buffer | null): string {
  if (bytes === null) return `"${textName}":null`
  if (!isUtf8(bytes)) return `"${base64Name}":"${bytes.toString('base64')}"`
  return `"${textName}":${JSON.stringify(bytes.toString('utf8'))}`
}

function isoOf(timestampMs: number): string {
  const date = new Date(timestampMs)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString()
}
