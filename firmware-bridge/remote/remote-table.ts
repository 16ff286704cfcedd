// A table of small facts kept at a node elsewhere. Writes gather while one is on its way; of a key only the last waits. What cannot be done is done
// later: as with a slow disk, whoever asked waits.

import { decode, encode } from 'cbor-x'
import type { DurableTable } from '../devices/bridge-node.js'
import type { NodeApi } from './node-api.js'
import { pause } from './pause.js'

const MAX_WRITES = 200
const MIN_PAUSE_MS = 200
const MAX_PAUSE_MS = 5000

interface Rows {
  readonly rows: readonly { readonly key: string; readonly value_base64: string }[]
  readonly done: boolean
}

interface Write {
  /** Null: the row is taken out. */
  bytes: Buffer | null
  readonly done: { resolve(): void; reject(error: Error): void }[]
}

export class RemoteTable<V> implements DurableTable<V> {
  private waiting = new Map<string, Write>()
  private writing = false
  private readonly path: string

  /** @param stopped Aborted when nothing is to be tried any more. */
  constructor(
    private readonly api: Pick<NodeApi, 'call'>,
    name: string,
    private readonly stopped: AbortSignal,
  ) {
    this.path = `/tables/${name}`
  }

  async get(key: string): Promise<V | undefined> {
    const { rows } = await this.untilDone(() =>
      this.api.call<Rows>('GET', `${this.path}?key=${encodeURIComponent(key)}`),
    )
    return rows.length === 0 ? undefined : rowValue<V>(rows[0].value_base64)
  }

  async *entries(prefix = ''): AsyncGenerator<readonly [key: string, value: V]> {
    let after = ''
    for (;;) {
      const query = after === '' ? '' : `?after=${encodeURIComponent(after)}`
      const { rows, done } = await this.untilDone(() => this.api.call<Rows>('GET', this.path + query))
      for (const { key, value_base64 } of rows) if (key.startsWith(prefix)) yield [key, rowValue<V>(value_base64)]
      if (done || rows.length === 0) return
      after = rows[rows.length - 1].key
    }
  }

  put(key: string, value: V): Promise<void> {
    return this.write(key, encode(value))
  }

  delete(key: string): Promise<void> {
    return this.write(key, null)
  }

  private write(key: string, bytes: Buffer | null): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = { resolve, reject }
      const waiting = this.waiting.get(key)
      if (waiting === undefined) this.waiting.set(key, { bytes, done: [done] })
      else {
        waiting.bytes = bytes
        waiting.done.push(done)
      }
      if (!this.writing) void this.writeAll()
    })
  }

  private async writeAll(): Promise<void> {
    this.writing = true
    await new Promise((resolve) => setImmediate(resolve))
    while (this.waiting.size > 0) {
      const batch = [...this.waiting].slice(0, MAX_WRITES)
      for (const [key] of batch) this.waiting.delete(key)
      const writes = batch.map(([key, { bytes }]) =>
        bytes === null ? { key, delete: true } : { key, value_base64: bytes.toString('base64') },
      )
      try {
        await this.untilDone(() => this.api.call('POST', this.path, { writes }))
        for (const [, { done }] of batch) for (const { resolve } of done) resolve()
      } catch (error) {
        for (const [, { done }] of batch) for (const { reject } of done) reject(error as Error)
      }
    }
    this.writing = false
  }

  private async untilDone<T>(attempt: () => Promise<T>): Promise<T> {
    let pauseMs = MIN_PAUSE_MS
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        if (this.stopped.aborted) throw error
        await pause(pauseMs, this.stopped)
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)
      }
    }
  }
}

function rowValue<V>(base64: string): V {
  return decode(Buffer.from(base64, 'base64')) as V
}
