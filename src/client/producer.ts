// Publishes records by way of a node's HTTP interface. While a request is on its way, what is sent collects and goes with the next: many small
// sends become few requests. Bounded: a send past the bound waits for room. Requests are numbered, so that one that is tried again because its
// answer was lost, or the node killed, is stored once.

import { randomUUID } from 'node:crypto'
import { SluiceError } from '../base/errors.js'
import type { HttpTransport } from './http-transport.js'
import { Pauses } from './pauses.js'

const MAX_RECORDS_PER_REQUEST = 1_000
const DEFAULT_RETRY_MS = 120_000
/** Below the node's own limit for bodies, base64 included. */
const MAX_BYTES_PER_REQUEST = 1024 * 1024

export interface ProducerOptions {
  readonly stream: string
  /** Records that wait for their request, inclusive; default 10,000. */
  readonly maxWaiting?: number
  /** How long a failed request is tried again, milliseconds; it is stored once all the same. Default 120,000. */
  readonly retryMs?: number
  /**
   * Who numbers, for a program that goes on with its numbers after a restart: it keeps `nextSequence` with what it has sent. One producer at a
   * time may use it. Default: an id that nobody else has.
   */
  readonly producerId?: string
  /** Raised by a program that begins anew under its `producerId`; default 0. */
  readonly producerEpoch?: number
  /** Number of the first record; default 0. */
  readonly sequence?: number
}

export interface OutgoingRecord {
  /** An MQTT topic that routes to the stream. */
  readonly topic: string
  readonly value: string | Uint8Array
  readonly qos?: 0 | 1 | 2
  readonly retain?: boolean
  readonly headers?: readonly { readonly key: string; readonly value: string | Uint8Array }[]
}

export interface RecordPosition {
  readonly partition: number
  /** Null for a record that was stored by an earlier attempt, if the stream got partitions since. */
  readonly offset: number | null
}

interface Waiting {
  readonly json: object
  readonly bytes: number
  resolve(position: RecordPosition): void
  reject(error: unknown): void
}

export class Producer {
  private waiting: Waiting[] = []
  private sending: Promise<void> | null = null
  private readonly abort = new AbortController()
  private readonly forRoom: (() => void)[] = []
  private readonly producerId: string
  private epoch: number
  private sequence: number

  constructor(
    private readonly transport: HttpTransport,
    private readonly options: ProducerOptions,
  ) {
    this.producerId = options.producerId ?? randomUUID()
    this.epoch = options.producerEpoch ?? 0
    this.sequence = options.sequence ?? 0
  }

  /** The number that the next record gets: all below are on the node's disk, but for those whose `send` has failed. */
  get nextSequence(): number {
    return this.sequence
  }

  /** See ProducerOptions; raised when a request has failed and may have been stored all the same. */
  get producerEpoch(): number {
    return this.epoch
  }

  /** Resolves once the record is on the node's disk. @throws SluiceError INVALID_TOPIC, RECORD_TOO_LARGE, STORAGE_FULL, NOT_REACHABLE … */
  async send(record: OutgoingRecord): Promise<RecordPosition> {
    const { maxWaiting = 10_000 } = this.options
    while (this.waiting.length >= maxWaiting) await new Promise<void>((resolve) => this.forRoom.push(resolve))
    if (this.abort.signal.aborted) throw new SluiceError('SHUTTING_DOWN', 'this producer is closed')
    const json = jsonOf(record)
    const bytes = record.topic.length + record.value.length + 64
    return new Promise((resolve, reject) => {
      this.waiting.push({ json, bytes, resolve, reject })
      this.sending ??= this.sendAll()
    })
  }

  /** All of them, in order. */
  sendAllOf(records: readonly OutgoingRecord[]): Promise<RecordPosition[]> {
    return Promise.all(records.map((record) => this.send(record)))
  }

  /** Resolves once everything that was sent is stored, or has failed. */
  async close(): Promise<void> {
    while (this.sending !== null) await this.sending
    this.abort.abort()
  }

  private async sendAll(): Promise<void> {
    // What is sent in one go goes in one request.
    await null
    while (this.waiting.length > 0) {
      const batch = this.take()
      for (const resolve of this.forRoom.splice(0)) resolve()
      try {
        await this.request(batch)
      } catch (error) {
        for (const one of batch) one.reject(error)
      }
    }
    this.sending = null
  }

  private take(): Waiting[] {
    let bytes = 0
    let count = 0
    for (const one of this.waiting) {
      bytes += one.bytes
      if (count > 0 && (bytes > MAX_BYTES_PER_REQUEST || count >= MAX_RECORDS_PER_REQUEST)) break
      count += 1
    }
    return this.waiting.splice(0, count)
  }

  private async request(batch: readonly Waiting[]): Promise<void> {
    const deadlineMs = performance.now() + (this.options.retryMs ?? DEFAULT_RETRY_MS)
    const pauses = new Pauses(100, 5_000, this.abort.signal)
    const path = `/v1/streams/${encodeURIComponent(this.options.stream)}/records`
    const records = batch.map(({ json }) => json)
    const numbers = { producer_id: this.producerId, producer_epoch: this.epoch, sequence: this.sequence }
    let mayBeStored = false
    for (;;) {
      try {
        const body = { ...numbers, records }
        const answer = await this.transport.json<{ records: RecordPosition[] }>(path, { method: 'POST', body })
        this.sequence += batch.length
        batch.forEach((one, i) => {
          one.resolve(answer.records[i])
        })
        return
      } catch (error) {
        mayBeStored ||= !isRefusal(error)
        const isOver = performance.now() >= deadlineMs || !(error instanceof SluiceError) || !error.retriable
        if (isOver) {
          if (mayBeStored) this.beginAnew()
          throw error
        }
        await pauses.next()
      }
    }
  }

  /** Whether the last numbers are used up is not known. */
  private beginAnew(): void {
    this.epoch += 1
    this.sequence = 0
  }
}

/** The node has looked at the request and stored nothing of it. */
function isRefusal(error: unknown): boolean {
  const status = error instanceof SluiceError ? error.details['http_status'] : undefined
  return typeof status === 'number' && status >= 400 && status < 500 && !isOutOfStep(error)
}

/** It has stored something else than this producer believes. */
function isOutOfStep(error: unknown): boolean {
  return error instanceof SluiceError && error.code === 'OUT_OF_ORDER_SEQUENCE'
}

function jsonOf({ topic, value, qos, retain, headers }: OutgoingRecord): object {
  const said = headers?.map((header) => ({ key: header.key, ...payloadOf(header.value) }))
  return { topic, ...payloadOf(value), qos, retain, headers: said }
}

function payloadOf(value: string | Uint8Array): object {
  if (typeof value === 'string') return { value }
  return { value_base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
}
