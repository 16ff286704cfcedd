// Where a record goes that an upstream will never take: to a dead letter stream, as it was, with headers that say where it lay and why.
// Written, and durable, before the ledger row that lets the cursor pass; a crash in between can write it twice.

import type { Clock } from '../base/clock.js'
import { appendDeadLetter } from '../log/dead-letter.js'
import type { Commit, Stream, StreamReader } from '../log/types.js'
import type { LogRecord, Offset, PartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'

export interface Undeliverable {
  readonly offset: Offset
  /** One past the last of its records. */
  readonly nextOffset: Offset
  /** As a phrase that follows "the record". */
  readonly reason: string
  /** How often it was tried alone; 0 for what was never sent. */
  readonly attempts: number
}

export interface DeadLettersOptions {
  readonly upstream: string
  readonly to: Stream
  readonly clock: Clock
}

const FETCH_BYTES = 64 * 1024

export class DeadLetters {
  constructor(private readonly options: DeadLettersOptions) {}

  /**
   * Durable when it resolves. Dead letters of a dead letter stream are not written again, nor is what has gone from the log.
   * @param letters Consecutive.
   * @throws SluiceError as Stream.append and StreamReader.fetch.
   */
  async put(from: StreamReader, partition: PartitionId, letters: readonly Undeliverable[]): Promise<void> {
    const { to, clock } = this.options
    if (from.name === to.name || letters.length === 0) return
    let last: Commit | null = null
    let index = 0
    for (let offset = letters[0].offset; index < letters.length; ) {
      const { batches, nextOffset } = await from.fetch(partition, offset, { maxBytes: FETCH_BYTES })
      for (const record of batches.flatMap((batch) => decodeRecords(batch, offset))) {
        while (index < letters.length && letters[index].nextOffset <= record.offset) index += 1
        if (index === letters.length) break
        await to.whenRoom()
        last = appendDeadLetter(to, record, this.factsOf(from, partition, record, letters[index]), clock.wallMs())
      }
      if (nextOffset === offset || nextOffset >= letters.at(-1)!.nextOffset) break
      offset = nextOffset
    }
    await last?.durable()
  }

  private factsOf(from: StreamReader, partition: PartitionId, record: LogRecord, { attempts, reason }: Undeliverable) {
    return {
      upstream: this.options.upstream,
      stream: from.name,
      partition,
      offset: record.offset,
      attempts,
      reason,
      timestamp_ms: record.timestampMs,
    }
  }
}
