// Publishes records by way of a node's HTTP interface. While a request is on its way, what is sent collects and goes with the next: many small
// sends become few requests. Bounded: a send past the bound waits for room.

import { SluiceError } from '../base/errors.js'
import type { HttpTransport } from './http-transport.js'
import { Pauses } from './pauses.js'

const MAX_RECORDS_PER_REQUEST = 1_000
/** Below the node's own limit for bodies, base64 included. */
const MAX_BYTES_PER_REQUEST = 1024 * 1024

export interface ProducerOptions {
  readonly stream: string
  /** Records that wait for their request, inclusive; default 10,000. */
  readonly maxWaiting?: number
  /** How long a failed request is tried again, milliseconds; a record can be stored twice then. Default 0: not at all. */
  readonly retryMs?: number
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
  readonly offset: number
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

  constructor(
    private readonly transport: HttpTransport,
    private readonly options: ProducerOptions,
  ) {}

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
    const deadlineMs = performance.now() + (this.options.retryMs ?? 0)
    const pauses = new Pauses(100, 5_000, this.abort.signal)
    const path = `/v1/streams/${encodeURIComponent(this.options.stream)}/records`
    const body = { records: batch.map(({ json }) => json) }
    for (;;) {
      try {
        const { records } = await this.transport.json<{ records: RecordPosition[] }>(path, { method: 'POST', body })
        batch.forEach((one, i) => {
          one.resolve(records[i])
        })
        return
      } catch (error) {
        const isOver = performance.now() >= deadlineMs || !(error instanceof SluiceError) || !error.retriable
        if (isOver) throw error
        await pauses.next()
      }
    }
  }
}

function jsonOf({ topic, value, qos, retain, headers }: OutgoingRecord): object {
  const said = headers?.map((header) => ({ key: header.key, ...payloadOf(header.value) }))
  return { topic, ...payloadOf(value), qos, retain, headers: said }
}

function payloadOf(value: string | Uint8Array): object {
  if (typeof value === 'string') return { value }
  return { value_base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
}
