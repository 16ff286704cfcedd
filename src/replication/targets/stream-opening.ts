// What a link and its upstream settle about each stream before anything of it is sent: where each partition goes on, and whether what is there
// is the beginning of what is here. Both compare one record (record-tip.ts).
//
//   open ─▶ opened ─▶ next ≤ our end, and its tip is ours           the partition goes on there
//                     next ≤ our end, and its tip is another        opened again, as fresh: the upstream begins a new mirror
//                     next > our end: another way was faster        it waits until we have come as far, then as above

import { SluiceError } from '../../base/errors.js'
import type { StreamReader } from '../../log/types.js'
import type { Offset } from '../../record/record.js'
import type { LaneOffer, Open, Opened } from '../node-protocol.js'
import { recordTip } from '../record-tip.js'
import type { OfferedLane } from './target.js'

export interface StreamOrigin {
  readonly origin: string
  readonly stream: string
  /** The node it was forwarded from; null for the own streams. */
  readonly via: string | null
}

export interface StreamOpeningOptions {
  /** Of the stream's first partition. */
  readonly lane: number
  /** Of one stream: all its partitions, in order. */
  readonly lanes: readonly OfferedLane[]
  readonly origin: StreamOrigin
  /** Names of streams that are known to be other than what the upstream has; kept over connections. */
  readonly diverged: Set<string>
  readonly say: (message: Open) => void
  /** Where a partition goes on; null: the upstream does not want it. */
  readonly onPosition: (index: number, next: Offset | null) => void
  readonly onProblem: (error: SluiceError) => void
  /** The connection is over. */
  readonly isOver: () => boolean
}

export class StreamOpening {
  private fresh: boolean

  constructor(private readonly options: StreamOpeningOptions) {
    this.fresh = options.diverged.delete(this.name)
  }

  async open(): Promise<void> {
    const { lane, lanes, origin, say, isOver } = this.options
    const partitions = await Promise.all(lanes.map(offerOf))
    if (!isOver())
      say({ type: 'open', lane, origin: origin.origin, stream: origin.stream, fresh: this.fresh, partitions })
  }

  /** @returns false if it was opened once more, and is to be answered again. */
  async opened({ positions }: Opened): Promise<boolean> {
    const { lanes, onPosition, isOver } = this.options
    if (positions === null) {
      for (const index of lanes.keys()) onPosition(index, null)
      return true
    }
    if (positions.length !== lanes.length)
      throw new SluiceError('CORRUPT_MESSAGE', 'the upstream answers for other partitions than it was asked for')
    for (const [index, { next, tip }] of positions.entries()) {
      if (this.fresh || next > endOf(lanes[index]) || (await isOurs(lanes[index], next, tip))) continue
      if (isOver()) return true
      this.fresh = true
      await this.open()
      return false
    }
    if (isOver()) return true
    for (const [index, { next, tip }] of positions.entries()) {
      if (next <= endOf(lanes[index])) onPosition(index, next as Offset)
      else void this.catchUp(index, next, tip)
    }
    return true
  }

  private get name(): string {
    return this.options.lanes[0].stream
  }

  private async catchUp(index: number, next: number, tip: number | null): Promise<void> {
    const { lanes, diverged, onPosition, onProblem, isOver } = this.options
    const lane = lanes[index]
    try {
      while (!isOver() && endOf(lane) < next) await changed(lane.reader)
      if (isOver()) return
      const ours = await isOurs(lane, next, tip)
      if (isOver()) return
      if (ours) return onPosition(index, next as Offset)
      diverged.add(this.name)
      onProblem(new SluiceError('NOT_REACHABLE', `the upstream has another ${this.name}: connecting anew`))
    } catch (error) {
      if (!isOver()) onProblem(error as SluiceError)
    }
  }
}

async function offerOf({ reader, partition, cursor }: OfferedLane): Promise<LaneOffer> {
  const end = reader.highWatermark(partition)
  const tip = await recordTip(reader, partition, end - 1)
  return { start: reader.logStartOffset(partition), cursor: Math.min(cursor, end), end, epoch: 0, tip }
}

function endOf({ reader, partition }: OfferedLane): number {
  return reader.highWatermark(partition)
}

/** What cannot be compared, because it is not stored on both sides, is taken for the same. */
async function isOurs({ reader, partition }: OfferedLane, next: number, tip: number | null): Promise<boolean> {
  return tip === null || ((await recordTip(reader, partition, next - 1)) ?? tip) === tip
}

function changed(reader: StreamReader): Promise<void> {
  return new Promise((resolve) => {
    const stop = reader.onChange(() => {
      stop()
      resolve()
    })
  })
}
