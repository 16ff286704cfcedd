// Works on the messages of a work queue: takes as many as there are free hands, keeps those that take long, acknowledges what is done and gives
// back what has failed. Goes on by itself after a lost connection or a restart of the node.

import { messageOf, SluiceError } from '../base/errors.js'
import { sleep } from '../base/sleep.js'
import { type ConsumerRecord, type JsonRecord, recordOfJson } from './consumer-record.js'
import type { HttpTransport } from './http-transport.js'
import { Pauses } from './pauses.js'

const MAX_REASON_LENGTH = 256
const MAX_RECEIPTS = 1_000

export interface WorkerOptions {
  readonly stream: string
  readonly group: string
  /** Messages at work at once. Default 1. */
  readonly concurrency?: number
  /** A worker that is not heard of for so long loses its message. Default 30,000. */
  readonly visibilityTimeoutMs?: number
  /** `key`: messages of one topic one at a time, in order. Default `none`. */
  readonly order?: 'none' | 'key'
  /** Where a queue that is not there yet begins. Default `earliest`. */
  readonly start?: string
  /** How long a message that has failed rests, milliseconds. Default 1 s, doubled with each attempt, up to 5 minutes. */
  readonly retryDelayMs?: (attempt: number) => number
  readonly waitMs?: number
  /** Something failed and is tried again; also what a handler threw. */
  readonly onTrouble?: (error: Error) => void
}

export interface WorkMessage {
  readonly record: ConsumerRecord
  /** Counted from 1. */
  readonly attempt: number
  /** Aborted when the message is somebody else's, or the worker closes. */
  readonly signal: AbortSignal
}

/** Thrown by a handler: this message will never work, do not try it again. Needs a dead letter stream. */
export class GiveUp extends Error {
  override readonly name = 'GiveUp'
}

interface ReceivedMessage extends JsonRecord {
  readonly attempt: number
  readonly receipt: string
}

export class Worker {
  /** Resolves when the worker has ended; rejects with what cannot be tried again (UNAUTHORIZED, UNKNOWN_STREAM_OR_PARTITION …). */
  readonly ended: Promise<void>
  private readonly abort = new AbortController()
  private readonly atWork = new Set<Promise<void>>()
  private readonly path: string
  private acks: { readonly receipt: string; readonly settle: () => void }[] = []
  private acking = false

  constructor(
    private readonly transport: HttpTransport,
    private readonly options: WorkerOptions,
    private readonly handler: (message: WorkMessage) => unknown,
  ) {
    this.path = `/v1/queues/${encodeURIComponent(options.stream)}/${encodeURIComponent(options.group)}`
    this.ended = this.run()
    // It is for whoever asks; nobody has to.
    this.ended.catch(() => {})
  }

  /** Takes no more, waits for the handlers at work. */
  async close(): Promise<void> {
    this.abort.abort()
    await this.ended.catch(() => {})
  }

  private async run(): Promise<void> {
    const { concurrency = 1 } = this.options
    const { signal } = this.abort
    const pauses = new Pauses(100, 10_000, signal)
    try {
      while (!signal.aborted) {
        if (this.atWork.size >= concurrency) {
          await Promise.race(this.atWork)
          continue
        }
        try {
          for (const message of await this.receive(concurrency - this.atWork.size)) this.begin(message)
          pauses.reset()
        } catch (error) {
          if (signal.aborted) break
          if (!(error instanceof SluiceError) || !error.retriable) throw error
          this.options.onTrouble?.(error)
          await pauses.next()
        }
      }
    } finally {
      await Promise.all(this.atWork)
    }
  }

  private async receive(free: number): Promise<readonly ReceivedMessage[]> {
    const { order, start, waitMs = 30_000 } = this.options
    const { messages } = await this.transport.json<{ messages: ReceivedMessage[] }>(`${this.path}/receive`, {
      method: 'POST',
      body: {
        max_messages: Math.min(free, 1_000),
        visibility_timeout_ms: this.visibilityMs,
        // With hands at work the wait is short: one may become free.
        wait_ms: this.atWork.size > 0 ? Math.min(waitMs, 1_000) : waitMs,
        order,
        start,
      },
      waitMs,
      signal: this.abort.signal,
    })
    return messages
  }

  private get visibilityMs(): number {
    return this.options.visibilityTimeoutMs ?? 30_000
  }

  private begin(message: ReceivedMessage): void {
    const work = this.work(message).finally(() => this.atWork.delete(work))
    this.atWork.add(work)
  }

  private async work({ attempt, receipt, ...json }: ReceivedMessage): Promise<void> {
    const lost = new AbortController()
    const signal = AbortSignal.any([lost.signal, this.abort.signal])
    const extending = setInterval(() => {
      const body = { receipts: [receipt], visibility_timeout_ms: this.visibilityMs }
      this.transport
        .json<{ stale: string[] }>(`${this.path}/extend`, { method: 'POST', body })
        .then(({ stale }) => stale.length > 0 && lost.abort())
        .catch((error) => this.options.onTrouble?.(error))
    }, this.visibilityMs / 3)
    try {
      await this.handler({ record: recordOfJson(json), attempt, signal })
      clearInterval(extending)
      await this.ack(receipt)
    } catch (error) {
      clearInterval(extending)
      if (!lost.signal.aborted) await this.giveBack(receipt, attempt, error)
    }
  }

  /** Acks that come while one is on its way go together in the next. */
  private ack(receipt: string): Promise<void> {
    return new Promise((resolve) => {
      this.acks.push({ receipt, settle: resolve })
      if (!this.acking) void this.sendAcks()
    })
  }

  private async sendAcks(): Promise<void> {
    this.acking = true
    while (this.acks.length > 0) {
      const batch = this.acks.splice(0, MAX_RECEIPTS)
      await this.insist('ack', { receipts: batch.map(({ receipt }) => receipt) })
      for (const { settle } of batch) settle()
    }
    this.acking = false
  }

  private async giveBack(receipt: string, attempt: number, error: unknown): Promise<void> {
    this.options.onTrouble?.(error instanceof Error ? error : new Error(String(error)))
    const { retryDelayMs = (n: number) => Math.min(300_000, 1_000 * 2 ** (n - 1)) } = this.options
    const reason = messageOf(error).slice(0, MAX_REASON_LENGTH)
    const delay = Math.round(retryDelayMs(attempt))
    await this.insist('nack', {
      receipts: [receipt],
      delay_ms: delay,
      reason,
      dead_letter: error instanceof GiveUp || undefined,
    })
  }

  /** As long as the message is ours; then the node hands it out again by itself. */
  private async insist(action: 'ack' | 'nack', body: object): Promise<void> {
    const deadlineMs = performance.now() + this.visibilityMs
    for (;;) {
      try {
        await this.transport.json(`${this.path}/${action}`, { method: 'POST', body })
        return
      } catch (error) {
        this.options.onTrouble?.(error as Error)
        if (!(error instanceof SluiceError) || !error.retriable || performance.now() > deadlineMs) return
        await sleep(200)
      }
    }
  }
}
