// The reading side of a stream: from an offset or a time, across segments, stored bytes as they are. It holds a segment only while LevelDB
// reads, so that a slow owner pins nothing. What it finds damaged is named once and passed over from then on (D5).

import { SluiceError } from '../base/errors.js'
import type { Offset, PartitionId } from '../record/record.js'
import { decodeRecords, lastOffsetOf, maxTimestampOf } from '../record/record-batch.js'
import { storageError } from '../state/level-database.js'
import { damagedRange, readBatches } from './batch-reader.js'
import type { Damage } from './damage-ledger.js'
import type { Segment } from './segment.js'
import { pastGaps, stretchEnd } from './segment-index.js'
import type { OpenSegments } from './segment-list.js'
import type { SegmentStore } from './segment-store.js'
import type { Fetched, FetchLimits } from './types.js'

const TIME_SEARCH_BYTES = 1024 * 1024

export interface FetcherOptions {
  readonly stream: string
  readonly store: SegmentStore
  readonly openSegments: OpenSegments
  /** Opening a segment that could not be sealed writes, which a full disk refuses until the ballast has been given up. */
  readonly giveUpBallast: () => Promise<void>
  /** Enters damage into the ledger; durable when it resolves. */
  readonly onDamage: (damage: readonly Damage[]) => Promise<void>
}

export class Fetcher {
  constructor(private readonly options: FetcherOptions) {}

  /** See StreamReader.fetch. */
  async fetch(partition: PartitionId, from: Offset, limits: FetchLimits): Promise<Fetched> {
    const { segments, ends } = this.options.store
    const logStartOffset = this.options.store.startOf(partition) as Offset
    const highWatermark = ends[partition].offset as Offset
    if (from < logStartOffset || from > highWatermark)
      throw this.outOfRange(partition, from, logStartOffset, highWatermark)
    const held = limits.fromDisk === true ? null : this.options.store.tail.read(partition, from, highWatermark, limits)
    if (held !== null) return { batches: held, nextOffset: endOf(held.at(-1)!), logStartOffset, highWatermark }
    const batches: Buffer[] = []
    const { maxBytes, maxRecords = Number.POSITIVE_INFINITY } = limits
    let bytesLeft = maxBytes
    let next: number = from
    while (next < highWatermark && bytesLeft > 0 && next - from < maxRecords) {
      const segment = segments.holding(partition, next)
      if (segment === undefined) {
        next = highWatermark
        break
      }
      const extent = segment.extents[partition]
      next = pastGaps(extent, Math.max(next, extent.base))
      const end = Math.min(stretchEnd(extent, next), highWatermark)
      if (next >= end) continue
      if (limits.wantsTopic && !(await this.mayHold(segment, limits.wantsTopic))) {
        next = Math.min(extent.end, highWatermark)
        continue
      }
      const read = await this.read(segment, partition, next, end, bytesLeft, maxRecords - (next - from))
      if (batches.length > 0 && read.length > 0 && read[0].length > bytesLeft) break
      for (const batch of read) {
        batches.push(batch)
        bytesLeft -= batch.length
        next = endOf(batch)
      }
      if (read.length > 0 && next < end) break
    }
    return { batches, nextOffset: next as Offset, logStartOffset, highWatermark }
  }

  /** See StreamReader.offsetForTime. */
  async offsetForTime(partition: PartitionId, timestampMs: number): Promise<Offset> {
    const { segments, ends } = this.options.store
    const highWatermark = ends[partition].offset as Offset
    const segment = segments.all.find((one) => (one.extents[partition]?.maxTimestampMs ?? -1) >= timestampMs)
    if (segment === undefined) return highWatermark
    let next = segment.extents[partition].base as Offset
    while (next < highWatermark) {
      const { batches, nextOffset } = await this.fetch(partition, next, { maxBytes: TIME_SEARCH_BYTES })
      for (const batch of batches) {
        if (maxTimestampOf(batch) < timestampMs) continue
        const found = decodeRecords(batch, next).find((record) => record.timestampMs >= timestampMs)
        if (found) return found.offset
      }
      next = nextOffset
    }
    return highWatermark
  }

  /** @returns batches from `from` on; none where the segment was replaced meanwhile, or where damage was found, which is a gap of the segment from then on. */
  private async read(
    segment: Segment,
    partition: PartitionId,
    from: number,
    end: number,
    maxBytes: number,
    maxRecords: number,
  ): Promise<Buffer[]> {
    const range = { partition, from, end, maxBytes, maxRecords }
    const attempt = (): Promise<Buffer[]> => segment.use((source) => readBatches(source, range))
    try {
      const read = await attempt().catch(async (error) => {
        if (!(error instanceof SluiceError) || error.code !== 'STORAGE_FULL') throw error
        await this.options.giveUpBallast()
        return attempt()
      })
      if (segment.state === 'sealed') this.options.openSegments.touch(segment)
      return read
    } catch (error) {
      // The one in its place is asked next.
      if (segment.state === 'replaced') return []
      if (segment.state === 'dropped') {
        const { segments, ends } = this.options.store
        throw this.outOfRange(partition, from, segments.startOf(partition) as Offset, ends[partition].offset as Offset)
      }
      if (!isDamage(error)) throw error
      await this.passOver(segment, partition, from)
      return []
    }
  }

  private async passOver(segment: Segment, partition: PartitionId, offset: number): Promise<void> {
    const extent = segment.extents[partition]
    const [first, last] = await segment
      .use((source) => damagedRange(source, partition, offset, extent))
      .catch((error) => {
        if (!isDamage(error)) throw error
        return [offset, extent.end - 1] as const
      })
    this.options.store.tail.clear()
    await this.options.onDamage([{ partition, first, last }])
    await segment.addGap(partition, first, last)
  }

  /** Whether a segment may hold records of a topic that is wanted. */
  private async mayHold(segment: Segment, wantsTopic: (mqttTopic: string) => boolean): Promise<boolean> {
    const names = await this.options.store.topicsOf(segment)
    return names === null || names.some(wantsTopic)
  }

  private outOfRange(partition: number, offset: number, logStartOffset: Offset, highWatermark: Offset): SluiceError {
    const where = `${this.options.stream}/${partition}`
    const message =
      offset < logStartOffset
        ? `offset ${offset} of ${where} is gone; the oldest stored is ${logStartOffset}`
        : `offset ${offset} of ${where} is beyond the end; the next record will be ${highWatermark}`
    const details = { stream: this.options.stream, partition, offset, logStartOffset, highWatermark }
    return new SluiceError('OFFSET_OUT_OF_RANGE', message, details)
  }
}

function endOf(batch: Buffer): Offset {
  return (lastOffsetOf(batch) + 1) as Offset
}

/** Our own checks, and LevelDB's: a table whose blocks or whose files are not what they were. */
function isDamage(error: unknown): boolean {
  return storageError(error, 'a segment cannot be read').code === 'CORRUPT_MESSAGE'
}
