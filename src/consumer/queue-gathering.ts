// What one receive gathers from the partitions of a work queue, and hands out: first what is due again, then what is new. Used by WorkQueue
// alone, which lets no two of these run at once.

import { type LogRecord, toOffset, toPartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import { readOffsets } from './queue-reading.js'
import type { QueueReceipts } from './queue-receipts.js'
import { hashOf, type LostRange, type QueueMessage, type QueueReceive, type WorkQueueOptions } from './queue-words.js'

const READ_BYTES = 256 * 1024

export class QueueGathering {
  readonly messages: QueueMessage[] = []
  readonly lost: LostRange[] = []
  private bytes = 0

  constructor(
    private readonly options: Pick<WorkQueueOptions, 'stream' | 'partitions' | 'clock' | 'settings'>,
    private readonly receipts: QueueReceipts,
    private readonly request: QueueReceive,
  ) {}

  async gather(index: number): Promise<void> {
    const taken = this.request.orderedByKey ? new Set<number>() : null
    await this.gatherDue(index, taken)
    await this.gatherNew(index, taken)
  }

  /** Messages that retention has taken. */
  dropLost(index: number): void {
    const logStart = this.options.stream.logStartOffset(toPartitionId(index))
    for (const [firstOffset, lastOffset] of this.options.partitions[index].dropBelow(logStart))
      this.lost.push({ partition: index, firstOffset, lastOffset })
  }

  private async gatherDue(index: number, taken: Set<number> | null): Promise<void> {
    const { stream, partitions, clock } = this.options
    const left = this.request.maxMessages - this.messages.length
    const partition = partitions[index]
    const due = partition.due(clock.monotonicMs(), left, taken)
    if (due.length === 0) return
    const offsets = due.map(({ offset }) => offset)
    const records = await readOffsets(stream, toPartitionId(index), offsets)
    for (const offset of offsets) {
      const record = records.get(offset)
      // Its worker may have been heard of meanwhile.
      if (!partition.isDue(offset, clock.monotonicMs())) continue
      if (record !== undefined) {
        if (!this.hand(index, record)) return
        continue
      }
      partition.done(offset)
      this.lost.push({ partition: index, firstOffset: offset, lastOffset: offset })
    }
  }

  private async gatherNew(index: number, taken: Set<number> | null): Promise<void> {
    const { stream, partitions } = this.options
    const { maxMessages } = this.request
    const id = toPartitionId(index)
    const partition = partitions[index]
    while (this.messages.length < maxMessages && partition.hasRoom) {
      const from = toOffset(partition.next)
      if (from >= stream.highWatermark(id)) return
      const maxRecords = maxMessages - this.messages.length
      const { batches, nextOffset } = await stream.fetch(id, from, { maxBytes: READ_BYTES, maxRecords })
      for (const record of batches.flatMap((batch) => decodeRecords(batch, from))) {
        if (this.messages.length >= maxMessages || !partition.hasRoom) return
        const keyHash = hashOf(record)
        const mustWait = taken?.has(keyHash) === true
        if (!mustWait && this.isFull(record)) return
        partition.add(record.offset, keyHash)
        taken?.add(keyHash)
        if (!mustWait) this.hand(index, record)
      }
      // Over whatever is missing from the log.
      partition.advance(nextOffset)
    }
  }

  /** @returns false when the answer has no room for it. */
  private hand(index: number, record: LogRecord): boolean {
    if (this.isFull(record)) return false
    const { clock, settings, partitions } = this.options
    const lease = this.receipts.newLease()
    const untilMs = clock.monotonicMs() + (this.request.visibilityTimeoutMs ?? settings.visibilityTimeoutMs)
    const attempt = partitions[index].lease(record.offset, lease, untilMs)
    this.bytes += sizeOf(record)
    const receipt = this.receipts.format({ partition: index, offset: record.offset, lease })
    this.messages.push({ partition: index, record, attempt, receipt })
    return true
  }

  private isFull(record: LogRecord): boolean {
    return this.messages.length > 0 && this.bytes + sizeOf(record) > this.request.maxBytes
  }
}

function sizeOf({ key, value }: LogRecord): number {
  return (key?.length ?? 0) + (value?.length ?? 0)
}
