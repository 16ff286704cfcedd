// What a queue gives up: messages that were tried too often go to its dead letter stream, and come back from there when somebody asks. Used by
// WorkQueue alone, which lets no two of these run at once.

import { messageOf } from '../base/errors.js'
import { type LogRecord, toOffset, toPartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import { appendDeadLetter, originOf } from './dead-letter.js'
import { readOffsets } from './queue-reading.js'
import { hashOf, type WorkQueueOptions } from './queue-words.js'
import { identityOf } from './stream-identity.js'

/** When a dead letter is tried again that could not be stored. */
export const DEAD_LETTER_RETRY_MS = 1_000
const READ_BYTES = 256 * 1024
/** They are read, and written, together. */
const BURIED_AT_ONCE = 32
const TIMED_OUT = 'visibility time-out'

interface Letter {
  readonly offset: number
  readonly reason: string
}

export class DeadLetters {
  /** Since the queue was opened. */
  count = 0

  constructor(private readonly options: WorkQueueOptions) {}

  /** Messages whose last worker has let the time pass, once too often. */
  async buryWornOut(index: number): Promise<void> {
    const { clock, settings, logger, stream, group } = this.options
    if (settings.deadLetters === null) return
    const partition = this.options.partitions[index]
    const nowMs = clock.monotonicMs()
    const wornOut = partition
      .due(nowMs, Number.POSITIVE_INFINITY, null)
      .filter(({ attempts }) => attempts >= settings.maxAttempts)
    if (wornOut.length === 0) return
    try {
      await this.bury(index, wornOut)
    } catch (error) {
      // Neither lost nor handed out again: it is tried once more in a while.
      logger.warn('dead letters cannot be stored', { stream: stream.name, group, reason: messageOf(error) })
      for (const { offset, reason } of wornOut) partition.release(offset, nowMs + DEAD_LETTER_RETRY_MS, reason)
    }
  }

  /** Stores them, durably, and is done with them. @throws SluiceError when one cannot be stored; it is done with the others. */
  async bury(index: number, letters: readonly Letter[]): Promise<void> {
    for (let i = 0; i < letters.length; i += BURIED_AT_ONCE)
      await this.buryFew(index, letters.slice(i, i + BURIED_AT_ONCE))
  }

  private async buryFew(index: number, letters: readonly Letter[]): Promise<void> {
    const { stream, group, settings, clock } = this.options
    const { deadLetters } = settings
    if (deadLetters === null) return
    const partition = this.options.partitions[index]
    const offsets = letters.map(({ offset }) => offset)
    const records = await readOffsets(stream, toPartitionId(index), offsets)
    const buried = letters.map(async ({ offset, reason }) => {
      const record = records.get(offset)
      if (record !== undefined) {
        const attempts = partition.attemptsOf(offset)
        const letter = { stream, group, partition: index, record, attempts, reason: reason || TIMED_OUT }
        await appendDeadLetter(deadLetters, letter, clock.wallMs()).durable()
      }
      // Only now: a crash in between makes a second dead letter of it, which names the same position.
      partition.done(offset)
      this.count += 1
    })
    for (const result of await Promise.allSettled(buried)) if (result.status === 'rejected') throw result.reason
  }

  /**
   * As messages that were never tried.
   * @param from Where to go on, per partition of the dead letter stream; moved. @returns how many, and how many are gone from the stream.
   */
  async bringBack(from: number[], maximum: number): Promise<{ readonly redriven: number; readonly gone: number }> {
    const { deadLetters } = this.options.settings
    let redriven = 0
    let gone = 0
    for (let dead = 0; deadLetters !== null && dead < deadLetters.partitions; dead++) {
      const id = toPartitionId(dead)
      from[dead] = Math.max(from[dead] ?? 0, deadLetters.logStartOffset(id))
      while (from[dead] < deadLetters.highWatermark(id) && redriven < maximum) {
        const { batches, nextOffset } = await deadLetters.fetch(id, toOffset(from[dead]), { maxBytes: READ_BYTES })
        let end: number = nextOffset
        for (const record of batches.flatMap((batch) => decodeRecords(batch, toOffset(from[dead])))) {
          const back = redriven < maximum ? this.takeBack(record) : 'full'
          if (back === 'full') {
            end = record.offset
            break
          }
          if (back === 'back') redriven += 1
          if (back === 'gone') gone += 1
        }
        const isStuck = end === from[dead]
        from[dead] = end
        if (isStuck) break
      }
    }
    return { redriven, gone }
  }

  private takeBack(letter: LogRecord): 'back' | 'gone' | 'other' | 'full' {
    const { group, stream } = this.options
    const origin = originOf(letter.headers)
    const { stream: name, incarnation } = identityOf(stream)
    if (origin?.group !== group || origin.stream !== name || origin.incarnation !== incarnation) return 'other'
    const partition = this.options.partitions[origin.partition]
    if (partition === undefined || origin.offset < stream.logStartOffset(toPartitionId(origin.partition))) return 'gone'
    if (!partition.hasRoom) return 'full'
    return partition.bringBack(origin.offset, hashOf(letter)) ? 'back' : 'other'
  }
}
