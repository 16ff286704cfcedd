// Records as JSON. One record is
//   {"stream","partition","offset","timestamp","timestamp_ms","topic","qos","retain","value","headers"}
// A payload that is valid UTF-8 is the string `value`, be it text or JSON (it stays a string: what was published comes back byte for
// byte); any other payload is `value_base64`. A record without a payload has `"value":null`. `topic` is the key; a key that is not
// UTF-8, which only another producer can write, is `key_base64`. Headers are a list, because their keys may repeat.
//
// Written by hand, into bytes: the parts that are the same for every record are made once, those that repeat from one record to the next are kept,
// and there is no object and no string per record.

import { type LogRecord, type Offset, qosOf, retainOf } from '../record/record.js'
import { RecordCursor, recordCountOf } from '../record/record-batch.js'
import { JsonWriter } from './json-writer.js'

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
const NEW_LINE = 0x0a
const ZERO = 0x30
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
  let expected = 0
  for (const { key, value } of records) expected += EXPECTED_BYTES + (key?.length ?? 0) + (value?.length ?? 0)
  const json = new RecordJson(stream, partition, separator, expected)
  for (const { offset, timestampMs, attributes, key, value, headers } of records) {
    json.begin(offset, timestampMs, attributes, key, 0, key?.length ?? 0)
    json.end(value, 0, value?.length ?? 0, headers)
  }
  return json.finish()
}

export interface BatchesAsJson {
  readonly json: Buffer
  /** Behind the last record that was written; `from` if there was none. */
  readonly nextOffset: Offset
}

/** The same for the records of stored batches, at and after `from`, up to `maxRecords` of them. @throws SluiceError CORRUPT_MESSAGE. */
export function batchesAsJson(
  stream: string,
  partition: number,
  batches: readonly Buffer[],
  from: Offset,
  separator: Separator,
  maxRecords = Number.POSITIVE_INFINITY,
): BatchesAsJson {
  let expected = 0
  for (const batch of batches) expected += batch.length + EXPECTED_BYTES * Math.min(recordCountOf(batch), maxRecords)
  const json = new RecordJson(stream, partition, separator, expected)
  let nextOffset = from
  let left = maxRecords
  for (const batch of batches) {
    if (left === 0) break
    const record = new RecordCursor(batch, from)
    const { bytes } = record
    for (; left > 0 && record.next(); left--) {
      const { keyStart, keyEnd, valueStart, valueEnd } = record
      json.begin(record.offset, record.timestampMs, record.attributes, keyStart < 0 ? null : bytes, keyStart, keyEnd)
      json.end(valueStart < 0 ? null : bytes, valueStart, valueEnd, record.headers)
      nextOffset = (record.offset + 1) as Offset
    }
  }
  return { json: json.finish(), nextOffset }
}

/** Writes a record in two steps, because key and payload may lie in one memory or in two: each is bytes[start, end), or null. */
class RecordJson {
  private readonly writer: JsonWriter
  /** What stands between two payloads: the end of one record without headers, and the beginning of the next. */
  private readonly between: Buffer
  private readonly start: Buffer
  private readonly separator: number
  private readonly middle = new Middle()
  private isFirst = true
  private isOpen = false

  constructor(stream: string, partition: number, separator: Separator, expectedBytes: number) {
    this.writer = new JsonWriter(expectedBytes)
    this.start = Buffer.from(`{"stream":${JSON.stringify(stream)},"partition":${partition},"offset":`)
    this.separator = separator.charCodeAt(0)
    this.between = Buffer.concat([NO_HEADERS, Buffer.from(separator), this.start])
  }

  begin(
    offset: number,
    timestampMs: number,
    attributes: number,
    key: Uint8Array | null,
    keyStart: number,
    keyEnd: number,
  ): void {
    const { writer } = this
    if (this.isOpen) writer.raw(this.between)
    else {
      if (!this.isFirst) writer.byte(this.separator)
      writer.raw(this.start)
    }
    this.isFirst = false
    writer.integer(offset)
    writer.raw(this.middle.of(timestampMs, attributes, key, keyStart, keyEnd))
  }

  end(value: Uint8Array | null, start: number, end: number, headers: LogRecord['headers']): void {
    this.writer.field(VALUE, VALUE_BASE64, value, start, end)
    this.isOpen = headers.length === 0
    if (!this.isOpen) writeHeaders(this.writer, headers)
  }

  finish(): Buffer {
    if (this.isOpen) this.writer.raw(NO_HEADERS)
    if (this.separator === NEW_LINE && !this.isFirst) this.writer.byte(NEW_LINE)
    return this.writer.finish()
  }
}

/**
 * What stands between offset and payload: time, as ISO 8601 and as a number, topic and flags. Neighbours often have one topic and come in the same
 * second: then only the milliseconds are written anew.
 */
class Middle {
  private bytes: Buffer = Buffer.alloc(0)
  private timestampMs = Number.NaN
  /** NaN for a time whose milliseconds cannot be written alone. */
  private second = Number.NaN
  private isoAt = 0
  private numberAt = 0
  private flags = -1
  private key: Buffer | null = null

  of(timestampMs: number, attributes: number, key: Uint8Array | null, keyStart: number, keyEnd: number): Buffer {
    const flags = attributes & 7
    const isSame = flags === this.flags && this.isKey(key, keyStart, keyEnd)
    if (isSame && timestampMs === this.timestampMs) return this.bytes
    const milliseconds = timestampMs - this.second * 1000
    if (isSame && milliseconds >= 0 && milliseconds < 1000) {
      writeThousandth(this.bytes, this.isoAt, milliseconds)
      writeThousandth(this.bytes, this.numberAt, milliseconds)
    } else this.make(timestampMs, flags, key === null ? null : Buffer.from(key.subarray(keyStart, keyEnd)))
    this.timestampMs = timestampMs
    return this.bytes
  }

  private isKey(key: Uint8Array | null, start: number, end: number): boolean {
    const known = this.key
    if (key === null || known === null) return key === known
    if (known.length !== end - start) return false
    // From the end: the topics of one plant begin alike.
    for (let i = known.length - 1; i >= 0; i--) if (known[i] !== key[start + i]) return false
    return true
  }

  private make(timestampMs: number, flags: number, key: Buffer | null): void {
    this.key = key
    this.flags = flags
    const date = new Date(timestampMs)
    const hasDate = !Number.isNaN(date.getTime())
    const iso = hasDate ? `"${date.toISOString()}"` : 'null'
    const time = `,"timestamp":${iso},"timestamp_ms":${timestampMs},`
    // Before 1970, in its first second and outside the calendar the last digits of the number are something else.
    const second = Math.floor(timestampMs / 1000)
    this.second = hasDate && second > 0 ? second : Number.NaN
    this.isoAt = time.indexOf('Z') - 3
    this.numberAt = time.length - 4
    const writer = new JsonWriter(EXPECTED_BYTES + (key?.length ?? 0))
    writer.raw(Buffer.from(time))
    writer.field(TOPIC, KEY_BASE64, key)
    writer.raw(FLAGS[flags])
    this.bytes = writer.finish()
  }
}

function writeThousandth(bytes: Buffer, at: number, value: number): void {
  bytes[at] = ZERO + ((value / 100) | 0)
  bytes[at + 1] = ZERO + (((value / 10) | 0) % 10)
  bytes[at + 2] = ZERO + (value % 10)
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
