// A record as a program gets it, from stored batches or from JSON.

import { attributesOf, qosOf, retainOf, toOffset } from '../record/record.js'
import { RecordCursor } from '../record/record-batch.js'

export interface ConsumerHeader {
  readonly key: string
  readonly value: Buffer | null
}

const EMPTY = Buffer.alloc(0)

/** The parts of a record are made when they are asked for: most programs look at two or three. */
export class ConsumerRecord {
  private view: Buffer | null = null

  constructor(
    readonly stream: string,
    readonly partition: number,
    readonly offset: number,
    /** Milliseconds since 1970-01-01 UTC, by the clock of the node that acknowledged it. */
    readonly timestampMs: number,
    private readonly key: Key,
    private readonly attributes: number,
    readonly headers: readonly ConsumerHeader[],
    /** The payload is bytes[start, end). */
    private readonly bytes: Buffer,
    private readonly start: number,
    private readonly end: number,
  ) {}

  /** The MQTT topic. */
  get topic(): string {
    return this.key.text
  }

  /** The payload: a view into the answer it came with; copy it to keep it for long. */
  get value(): Buffer {
    return (this.view ??= this.bytes.subarray(this.start, this.end))
  }

  get qos(): 0 | 1 | 2 {
    return qosOf(this.attributes)
  }

  get retain(): boolean {
    return retainOf(this.attributes)
  }

  /** The payload as text. */
  text(): string {
    return this.bytes.toString('utf8', this.start, this.end)
  }

  /** The payload, parsed. @throws SyntaxError. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T
  }
}

/** The key of records that lie together, which often is the same: they share its text. */
class Key {
  private decoded: string | null = null

  constructor(private readonly bytes: Buffer) {}

  get text(): string {
    return (this.decoded ??= this.bytes.toString('utf8'))
  }

  is(bytes: Buffer, start: number, end: number): boolean {
    const own = this.bytes
    if (own.length !== end - start) return false
    // From the end: the topics of one plant begin alike.
    for (let i = own.length - 1; i >= 0; i--) if (own[i] !== bytes[start + i]) return false
    return true
  }
}

/** Splits concatenated batches. @throws SluiceError CORRUPT_MESSAGE for what this program cannot read. */
export function recordsOfBatches(stream: string, partition: number, bytes: Buffer, from: number): ConsumerRecord[] {
  const records: ConsumerRecord[] = []
  let key = new Key(EMPTY)
  for (let at = 0; at + 12 <= bytes.length; ) {
    const end = at + 12 + bytes.readInt32BE(at + 8)
    const record = new RecordCursor(bytes.subarray(at, end), toOffset(from))
    while (record.next()) {
      const { offset, timestampMs, attributes, headers, keyStart, keyEnd, valueStart, valueEnd } = record
      const keyLength = keyStart < 0 ? 0 : keyEnd - keyStart
      if (!key.is(record.bytes, keyStart, keyStart + keyLength)) key = new Key(record.key ?? EMPTY)
      records.push(
        new ConsumerRecord(
          stream,
          partition,
          offset,
          timestampMs,
          key,
          attributes,
          headers as readonly ConsumerHeader[],
          record.bytes,
          Math.max(valueStart, 0),
          valueStart < 0 ? 0 : valueEnd,
        ),
      )
    }
    at = end
  }
  return records
}

/** As in the answers of the HTTP interface. */
export interface JsonRecord {
  readonly stream: string
  readonly partition: number
  readonly offset: number
  readonly timestamp_ms: number
  readonly topic?: string | null
  readonly key_base64?: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly value?: string | null
  readonly value_base64?: string
  readonly headers: readonly { readonly key: string; readonly value?: string | null; readonly value_base64?: string }[]
}

export function recordOfJson(json: JsonRecord): ConsumerRecord {
  const value = bytesOf(json.value, json.value_base64) ?? EMPTY
  return new ConsumerRecord(
    json.stream,
    json.partition,
    json.offset,
    json.timestamp_ms,
    new Key(bytesOf(json.topic, json.key_base64) ?? EMPTY),
    attributesOf(json.qos, json.retain),
    json.headers.map((header) => ({ key: header.key, value: bytesOf(header.value, header.value_base64) })),
    value,
    0,
    value.length,
  )
}

function bytesOf(text: string | null | undefined, base64: string | undefined): Buffer | null {
  if (base64 !== undefined) return Buffer.from(base64, 'base64')
  return text === null || text === undefined ? null : Buffer.from(text)
}
