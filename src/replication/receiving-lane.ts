// One partition of a mirror as one connection brings it. A frame is taken by the mirror's position and nothing else:
//
//   begins there      appended; acknowledged once durable
//   lies below        had already: acknowledged again. Under a higher epoch than the log's it is not the same: the mirror has diverged
//   begins beyond     what lies between is told in the frame, and entered in the ledger first, or the sender hears what lacks
//   reaches across    the sender hears where to cut; only it decodes
//
// The position is the end of the log, or where a gap ends that was told with nothing behind it yet (MirrorStream.position).

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { MirrorStream } from '../log/mirror-stream.js'
import type { Commit } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import { baseOffsetOf, lastOffsetOf, leaderEpochOf, recordBatchProblem } from '../record/record-batch.js'
import { type Ledger, type LedgerReason, toldReason } from '../state/ledger.js'
import type { Frame, ToldGap } from './node-protocol.js'

export interface ReceivingLaneOptions {
  readonly mirror: MirrorStream
  readonly partition: PartitionId
  readonly ledger: Pick<Ledger, 'add'>
  readonly clock: Clock
  /** Once the commit is durable, the mirror ends at `next`. */
  readonly onAppended: (commit: Commit, epoch: number, next: number) => void
  /** It is durable up to there, as it was before. */
  readonly onKnown: (epoch: number, next: number) => void
  /** It lacks what lies there. */
  readonly onLacks: (next: number) => void
  /** Called before FENCED_EPOCH is thrown for it. */
  readonly onDiverged: () => void
}

export class ReceivingLane {
  /** It lacks something: what comes is not looked at until it is opened anew. */
  private stuck = false

  constructor(private readonly options: ReceivingLaneOptions) {}

  get mirror(): MirrorStream {
    return this.options.mirror
  }

  get partition(): PartitionId {
    return this.options.partition
  }

  /**
   * @returns null where it could be appended at once, else when the next frame may come.
   * @throws SluiceError CORRUPT_MESSAGE, FENCED_EPOCH, as Stream.append; also by rejection.
   */
  take(frame: Frame): Promise<void> | null {
    if (this.stuck) return null
    checkFrame(frame)
    return this.append(frame)
  }

  private append(frame: Frame): Promise<void> | null {
    const { log } = this.options.mirror
    // Of a hundred that wait here each looks again: what waits in memory stays within the limit, and one frame.
    if (!log.hasRoom) return log.whenRoom().then(() => this.append(frame) ?? undefined)
    return frame.gaps.length === 0 ? this.appendBatches(frame, 0) : this.takeGaps(frame)
  }

  private async takeGaps(frame: Frame): Promise<void> {
    const { mirror, partition, ledger, clock, onKnown } = this.options
    const position = mirror.position(partition)
    await ledger.add(entriesOf(frame.gaps, position, mirror.name, partition, clock.wallMs()))
    const reach = frame.gaps.reduce((end, { first, last }) => (first <= end ? Math.max(end, last + 1) : end), position)
    if (frame.batches.length > 0) return this.appendBatches(frame, reach) ?? undefined
    if (reach > mirror.position(partition)) await mirror.passTo(partition, reach).durable()
    onKnown(mirror.epoch(partition), await this.durablePosition())
  }

  /** @param reach Up to there nothing will come. */
  private appendBatches(frame: Frame, reach: number): Promise<void> | null {
    const { mirror, partition, onAppended, onKnown } = this.options
    let appended = false
    for (const batch of frame.batches) {
      const position = mirror.position(partition)
      const base = baseOffsetOf(batch)
      if (base < position) {
        if (leaderEpochOf(batch) > mirror.epoch(partition)) {
          // What another connection has just brought may be of that epoch as well.
          if (!isDurable(mirror, partition))
            return durable(mirror, partition).then(() => this.append(frame) ?? undefined)
          throw this.diverged()
        }
        if (lastOffsetOf(batch) < position) continue
        return this.lacks(position)
      }
      if (base > Math.max(position, reach)) return this.lacks(position)
      onAppended(mirror.appendBatch(partition, batch), leaderEpochOf(batch), lastOffsetOf(batch) + 1)
      appended = true
    }
    if (appended) return null
    // Nothing was new: the sender waits for word all the same.
    return this.durablePosition().then((next) => onKnown(mirror.epoch(partition), next))
  }

  /** Once what has been appended to it so far is durable. */
  async durablePosition(): Promise<number> {
    const { mirror, partition } = this.options
    await durable(mirror, partition)
    return Math.max(mirror.highWatermark(partition), mirror.passedTo(partition))
  }

  private lacks(next: number): null {
    this.stuck = true
    this.options.onLacks(next)
    return null
  }

  private diverged(): SluiceError {
    const { mirror, partition, onDiverged } = this.options
    onDiverged()
    const what = `partition ${partition} of ${mirror.name} has other records at offsets it had before`
    return new SluiceError('FENCED_EPOCH', `${what}; the next connection begins a new mirror`)
  }
}

function entriesOf(gaps: readonly ToldGap[], from: number, stream: string, partition: PartitionId, atMs: number) {
  return gaps
    .filter(({ last }) => last >= from)
    .map(({ first, last, reason }) => ({
      destination: '*',
      stream,
      partition,
      firstOffset: Math.max(first, from) as Offset,
      lastOffset: last as Offset,
      reason: toldReason(reason) satisfies LedgerReason,
      atMs,
    }))
}

function isDurable(mirror: MirrorStream, partition: PartitionId): boolean {
  return mirror.highWatermark(partition) >= mirror.nextOffset(partition)
}

/** Resolves when what has been appended to the partition so far is durable. @throws SluiceError STORAGE_FULL and others while nothing can be written. */
async function durable(mirror: MirrorStream, partition: PartitionId): Promise<void> {
  const end = mirror.nextOffset(partition)
  for (;;) {
    // Before the offsets, which mean nothing until it has been read back what is on disk.
    if (mirror.log.refused) throw mirror.log.refused
    if (mirror.highWatermark(partition) >= end || mirror.nextOffset(partition) < end) return
    await new Promise<void>((resolve) => {
      const stop = mirror.onChange(() => {
        stop()
        resolve()
      })
    })
  }
}

/** @throws SluiceError CORRUPT_MESSAGE */
function checkFrame({ gaps, batches }: Frame): void {
  let next = 0
  for (const { first, last } of gaps) {
    if (first < next || last < first || !Number.isSafeInteger(last + 1))
      throw new SluiceError('CORRUPT_MESSAGE', 'the gaps of a frame are not in ascending order')
    next = last + 1
  }
  let exact = false
  for (const batch of batches) {
    const problem = recordBatchProblem(batch)
    if (problem !== null) throw new SluiceError('CORRUPT_MESSAGE', `a record batch in a frame ${problem}`)
    const base = baseOffsetOf(batch)
    const end = lastOffsetOf(batch) + 1
    if (!Number.isSafeInteger(base) || base < 0 || !Number.isSafeInteger(end) || leaderEpochOf(batch) < 0)
      throw new SluiceError('CORRUPT_MESSAGE', 'a record batch in a frame has no sound offsets')
    if (base < next || (exact && base !== next))
      throw new SluiceError('CORRUPT_MESSAGE', 'what is in a frame does not follow each other')
    next = end
    exact = true
  }
}
