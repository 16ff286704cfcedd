// A record as a program gets it, from stored batches or from JSON.

import { attributesOf, type LogRecord, qosOf, retainOf, toOffset } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'

export interface ConsumerHeader {
  readonly key: string
  readonly value: Buffer | null
}

export class ConsumerRecord {
  constructor(
    readonly stream: string,
    readonly partition: number,
    private readonly record: LogRecord,
  ) {}

  get offset(): number {
    return this.record.offset
  }

  /** Milliseconds since 1970-01-01 UTC, by the clock of the node that acknowledged it. */
  get timestampMs(): number {
    return this.record.timestampMs
  }

  /** The MQTT topic. */
  get topic(): string {
    return this.record.key === null ? '' : this.record.key.toString('utf8')
  }

  /** The payload: a view into the answer it came with; copy it to keep it for long. */
  get value(): Buffer {
    return this.record.value ?? EMPTY
  }

  get qos(): 0 | 1 | 2 {
    return qosOf(this.record.attributes)
  }

  get retain(): boolean {
    return retainOf(this.record.attributes)
  }

  get headers(): readonly ConsumerHeader[] {
    return this.record.headers as readonly ConsumerHeader[]
  }

  /** The payload as text. */
  text(): string {
    return this.value.toString('utf8')
  }

  /** The payload, parsed. @throws SyntaxError. */
  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T
  }
}

const EMPTY = Buffer.alloc(0)

/** Splits concatenated batches. @throws SluiceError CORRUPT_MESSAGE for what this program cannot read. */
export function recordsOfBatches(stream: string, partition: number, bytes: Buffer, from: number): ConsumerRecord[] {
  const records: ConsumerRecord[] = []
  for (let at = 0; at + 12 <= bytes.length; ) {
    const end = at + 12 + bytes.readInt32BE(at + 8)
    for (const record of decodeRecords(bytes.subarray(at, end), toOffset(from)))
      records.push(new ConsumerRecord(stream, partition, record))
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
  return new ConsumerRecord(json.stream, json.partition, {
    offset: toOffset(json.offset),
    timestampMs: json.timestamp_ms,
    key: bytesOf(json.topic, json.key_base64),
    value: bytesOf(json.value, json.value_base64),
    headers: json.headers.map(({ key, value, value_base64: base64 }) => ({ key, value: bytesOf(value, base64) })),
    attributes: attributesOf(json.qos, json.retain),
  })
}

function bytesOf(text: string | null | undefined, base64: string | undefined): Buffer | null {
  if (base64 !== undefined) return Buffer.from(base64, 'base64')
  return text === null || text === undefined ? null : Buffer.from(text)
}
