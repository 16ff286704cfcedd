// What a record is, in memory. The encoded form is in record-batch.ts.

/** The position of a record in its partition: 0, 1, 2 …, never reused. A safe integer. */
export type Offset = number & { readonly brand: 'Offset' }
/** The index of a partition in its stream, from 0. */
export type PartitionId = number & { readonly brand: 'PartitionId' }

/** @throws RangeError unless `value` is an integer from 0 to 2^53 - 1. */
export function toOffset(value: number): Offset {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`not an offset: ${value}`)
  return value as Offset
}

/** @throws RangeError unless `value` is an integer from 0 to 2^31 - 1. */
export function toPartitionId(value: number): PartitionId {
  if (!Number.isInteger(value) || value < 0 || value > 0x7fffffff) throw new RangeError(`not a partition: ${value}`)
  return value as PartitionId
}

export interface RecordHeader {
  readonly key: string
  readonly value: Uint8Array | null
}

/** A record as it is read. `key` and `value` are views into the batch they came from: copy them to keep them. */
export interface LogRecord {
  readonly offset: Offset
  /** Milliseconds since 1970-01-01 UTC, by the clock of the node that acknowledged it. */
  readonly timestampMs: number
  /** The MQTT topic name, UTF-8. */
  readonly key: Buffer | null
  /** The payload, as it was published. */
  readonly value: Buffer | null
  readonly headers: readonly RecordHeader[]
  /** See `attributesOf`. */
  readonly attributes: number
}

/**
 * A record to be appended: value[valueStart, valueEnd) is the payload. Everything is copied before append returns, so that one
 * object and one socket buffer can serve many appends; only the bytes of `key` must stay as they are.
 */
export interface RecordInput {
  timestampMs: number
  key: Uint8Array | null
  value: Uint8Array | null
  valueStart: number
  valueEnd: number
  headers: readonly RecordHeader[]
  attributes: number
}

export type Qos = 0 | 1 | 2

/**
 * The record attributes byte: MQTT QoS XOR 1 in bits 0-1, so that 0, what any other producer writes, means QoS 1; retain in bit 2.
 */
export function attributesOf(qos: Qos, retain: boolean): number {
  return (qos ^ 1) | (retain ? 4 : 0)
}

export function qosOf(attributes: number): Qos {
  const qos = (attributes & 3) ^ 1
  return qos === 3 ? 1 : (qos as Qos)
}

export function retainOf(attributes: number): boolean {
  return (attributes & 4) !== 0
}
