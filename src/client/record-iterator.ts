// The records of a consumer's batches, one by one. Written out rather than as an async generator, which makes three turns of the microtask queue out
// of each record: a loop that does little with a record spends most of its time there.

import type { ConsumerBatch } from './consumer-options.js'
import type { ConsumerRecord } from './consumer-record.js'

type Result = IteratorResult<ConsumerRecord, void>

const DONE: Result = { done: true, value: undefined }

export class RecordIterator implements AsyncIterableIterator<ConsumerRecord> {
  private batch: ConsumerBatch | null = null
  private at = 0
  /** Given out, and not finished until the loop asks for the next one. */
  private given: ConsumerRecord | null = null
  /** Calls that could not be answered at once; others have their turn after them. */
  private waiting = 0
  private last: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly batches: AsyncGenerator<ConsumerBatch, void, undefined>,
    private readonly finish: (record: ConsumerRecord) => void,
  ) {}

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<Result> {
    const record = this.waiting === 0 ? this.take() : null
    return record !== null ? Promise.resolve({ done: false, value: record }) : this.inTurn(() => this.fromBatches())
  }

  /** What was given out last is not finished. */
  return(): Promise<Result> {
    return this.inTurn(async () => {
      this.given = null
      this.batch = null
      await this.batches.return()
      return DONE
    })
  }

  private inTurn(call: () => Promise<Result>): Promise<Result> {
    this.waiting += 1
    const run = async (): Promise<Result> => {
      try {
        return await call()
      } finally {
        this.waiting -= 1
      }
    }
    const result = this.waiting === 1 ? run() : this.last.then(run, run)
    this.last = result
    return result
  }

  private async fromBatches(): Promise<Result> {
    for (;;) {
      const record = this.take()
      if (record !== null) return { done: false, value: record }
      const { done, value } = await this.batches.next()
      if (done) return DONE
      this.batch = value
      this.at = 0
    }
  }

  /** The next record of the batch at hand, if it still is this member's. */
  private take(): ConsumerRecord | null {
    if (this.given !== null) this.finish(this.given)
    this.given = null
    const { batch } = this
    if (batch === null) return null
    if (this.at < batch.records.length && batch.isCurrent) return (this.given = batch.records[this.at++])
    this.batch = null
    return null
  }
}
