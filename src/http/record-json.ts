// Records as JSON. One record is
//   {"stream","partition","offset","timestamp","timestamp_ms","topic","qos","retain","value","headers"}
// A payload that is valid UTF-8 is the string `value`, be it text or JSON (it stays a string: what was published comes back byte for
// byte); any other payload is `value_base64`. A record without a payload has `"value":null`. `topic` is the key; a key that is not
// UTF-8, which only another producer can write, is `key_base64`. Headers are a list, because their keys may repeat.
//
// Built by hand: the parts that are the same for every record are made once, those that repeat from one record to the next are kept,
// and there is no object per record.

import { isAscii, isUtf8 } from 'node:buffer'
import { type LogRecord, qosOf, retainOf } from '../record/record.js'

/** One JSON text per record, without line ends. */
export function recordsAsJson(stream: string, partition: number, records: readonly LogRecord[]): string[] {
  const start = `{"stream":${JSON.stringify(stream)},"partition":${partition},"offset":`
  const timeOf = timeFields()
  const topicOf = topicField()
  return records.map((record) => {
    const { offset, timestampMs, key, value, headers, attributes } = record
    const flags = FLAGS[attributes & 7]
    const payload = field('value', 'value_base64', value)
    const end = headers.length === 0 ? ',"headers":[]}' : `,"headers":${headersAsJson(headers)}}`
    return start + offset + timeOf(timestampMs) + topicOf(key) + flags + payload + end
  })
}

/** By the bits of the attributes that say something of MQTT. */
const FLAGS = Array.from({ length: 8 }, (_, bits) => `,"qos":${qosOf(bits)},"retain":${retainOf(bits)},`)

/** Formats a time as ISO 8601 and as a number; the calendar is asked once per second of record time. */
function timeFields(): (timestampMs: number) => string {
  let second = Number.NaN
  let upToSecond = ''
  return (timestampMs) => {
    const nextSecond = Math.floor(timestampMs / 1000)
    if (nextSecond !== second) {
      second = nextSecond
      const date = new Date(nextSecond * 1000)
      upToSecond = Number.isNaN(date.getTime()) ? '' : date.toISOString().slice(0, -4)
    }
    if (upToSecond === '') return `,"timestamp":null,"timestamp_ms":${timestampMs},`
    const milliseconds = timestampMs - second * 1000
    const padding = milliseconds < 10 ? '00' : milliseconds < 100 ? '0' : ''
    return `,"timestamp":"${upToSecond}${padding}${milliseconds}Z","timestamp_ms":${timestampMs},`
  }
}

/** Neighbours often have one topic: the text of the last is kept. */
function topicField(): (key: Buffer | null) => string {
  let last: Buffer | null = null
  let text = field('topic', 'key_base64', null)
  return (key) => {
    if (key === last || (key !== null && last !== null && key.equals(last))) return text
    last = key
    text = field('topic', 'key_base64', key)
    return text
  }
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
  if (isAscii(bytes)) return `"${textName}":${JSON.stringify(bytes.toString('latin1'))}`
  if (!isUtf8(bytes)) return `"${base64Name}":"${bytes.toString('base64')}"`
  return `"${textName}":${JSON.stringify(bytes.toString('utf8'))}`
}
