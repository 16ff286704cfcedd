// Records as JSON. One record is
//   {"stream","partition","offset","timestamp","timestamp_ms","topic","qos","retain","value","headers"}
// A payload that is valid UTF-8 is the string `value`, be it text or JSON (it stays a string: what was published comes back byte for
// byte); any other payload is `value_base64`. A record without a payload has `"value":null`. `topic` is the key; a key that is not
// UTF-8, which only another producer can write, is `key_base64`. Headers are a list, because their keys may repeat.
//
// Written by hand, into bytes: the parts that are the same for every record are made once, those that repeat from one record to the next are kept,
// and there is no object and no string per record.

import { type LogRecord, qosOf, retainOf } from '../record/record.js'
import { JsonWriter, MAX_ESCAPED } from './json-writer.js'

/** What a record takes besides its key and payload, about. */
const EXPECTED_BYTES = 240

const TOPIC = Buffer.from('"topic":')
const KEY_BASE64 = Buffer.from('"key_base64":')
const VALUE = Buffer.from('"value":')
const VALUE_BASE64 = Buffer.from('"value_base64":')
const NO_HEADERS = Buffer.from(',"headers":[]}')
const HEADERS = Buffer.from(',"headers":[')
const HEADERS_END = Buffer.from(']}')
const RECORDS = Buffer.from('{"records":[')
const LIST_COMMA = Buffer.from(',')
const COMMA = 0x2c
const OBJECT_END = 0x7d
/** By the bits of the attributes that say something of MQTT. */
const FLAGS = Array.from({ length: 8 }, (_, bits) => Buffer.from(`,"qos":${qosOf(bits)},"retain":${retainOf(bits)},`))

/** An object whose first field is the list of records; `tail` is the rest of it, as JSON, with its end. */
export function recordsBody(lists: readonly Buffer[], tail: string): Buffer[] {
  const parts: Buffer[] = [RECORDS]
  lists.forEach((list, i) => {
    if (i > 0) parts.push(LIST_COMMA)
    parts.push(list)
  })
  return [...parts, Buffer.from(`],${tail}`)]
}

/** `,` puts them between the brackets of a list; with `\n` each is a line of its own, with its end. */
export type Separator = ',' | '\n'

/** The records, one behind the other. */
export function recordsAsJson(
  stream: string,
  partition: number,
  records: readonly LogRecord[],
  separator: Separator,
): Buffer {
  let [expected, largest] = [0, 0]
  for (const { key, value } of records) {
    const length = value?.length ?? 0
    expected += EXPECTED_BYTES + (key?.length ?? 0) + length
    if (length > largest) largest = length
  }
  const writer = new JsonWriter(expected + largest * MAX_ESCAPED)
  const start = Buffer.from(`{"stream":${JSON.stringify(stream)},"partition":${partition},"offset":`)
  const between = separator.charCodeAt(0)
  const time = new TimeFields()
  const topic = new TopicField()
  for (let i = 0; i < records.length; i++) {
    const { offset, timestampMs, key, value, headers, attributes } = records[i]
    if (i > 0) writer.byte(between)
    writer.raw(start)
    writer.integer(offset)
    time.write(writer, timestampMs)
    writer.raw(topic.of(key))
    writer.raw(FLAGS[attributes & 7])
    writer.field(VALUE, VALUE_BASE64, value)
    if (headers.length === 0) writer.raw(NO_HEADERS)
    else writeHeaders(writer, headers)
  }
  if (separator === '\n' && records.length > 0) writer.byte(between)
  return writer.finish()
}

/** A time as ISO 8601 and as a number; the calendar is asked once per second of record time. */
class TimeFields {
  private second = Number.NaN
  private hasDate = false
  private upToSecond = Buffer.alloc(0)
  private fromSecond = Buffer.alloc(0)

  write(writer: JsonWriter, timestampMs: number): void {
    const second = Math.floor(timestampMs / 1000)
    if (second !== this.second) this.ask(second)
    if (!this.hasDate || second <= 0) return void writer.raw(Buffer.from(this.spelled(timestampMs)))
    const milliseconds = timestampMs - second * 1000
    writer.raw(this.upToSecond)
    writer.thousandth(milliseconds)
    writer.raw(this.fromSecond)
    writer.thousandth(milliseconds)
    writer.byte(COMMA)
  }

  private ask(second: number): void {
    this.second = second
    const date = new Date(second * 1000)
    this.hasDate = !Number.isNaN(date.getTime())
    if (!this.hasDate) return
    this.upToSecond = Buffer.from(`,"timestamp":"${date.toISOString().slice(0, -4)}`)
    this.fromSecond = Buffer.from(`Z","timestamp_ms":${second}`)
  }

  /** Before 1970, in its first second, and outside the calendar. */
  private spelled(timestampMs: number): string {
    const date = new Date(timestampMs)
    const iso = Number.isNaN(date.getTime()) ? 'null' : `"${date.toISOString()}"`
    return `,"timestamp":${iso},"timestamp_ms":${timestampMs},`
  }
}

/** Neighbours often have one topic: the field of the last is kept. */
class TopicField {
  private key: Buffer | null = null
  private field = fieldOf(null)

  of(key: Buffer | null): Buffer {
    if (key === this.key || (key !== null && this.key !== null && key.equals(this.key))) return this.field
    this.key = key
    this.field = fieldOf(key)
    return this.field
  }
}

function fieldOf(key: Buffer | null): Buffer {
  const writer = new JsonWriter(EXPECTED_BYTES)
  writer.field(TOPIC, KEY_BASE64, key)
  return writer.finish()
}

function writeHeaders(writer: JsonWriter, headers: LogRecord['headers']): void {
  writer.raw(HEADERS)
  headers.forEach(({ key, value }, i) => {
    if (i > 0) writer.byte(COMMA)
    writer.raw(Buffer.from(`{"key":${JSON.stringify(key)},`))
    writer.field(VALUE, VALUE_BASE64, value)
    writer.byte(OBJECT_END)
  })
  writer.raw(HEADERS_END)
}
