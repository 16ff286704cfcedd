// Which segment of a stream is written: it begins one when there is none, prepares the next ahead of need, and rolls before a segment would
// exceed its size. Used by the segment store only.

import { join } from 'node:path'
import type { Clock } from '../base/clock.js'
import type { PoweredOnClock } from '../state/powered-on-clock.js'
import type { SealQueue } from './seal-queue.js'
import { Segment } from './segment.js'
import { segmentName } from './segment-directory.js'
import { emptyExtent, type PartitionEnd, SEGMENT_FORMAT } from './segment-index.js'
import type { SegmentList } from './segment-list.js'
import { discardPrepared, type PreparedSegment, prepareSegment } from './segment-writer.js'
import { LARGE_WRITE_BYTES } from './wal-layout.js'

export interface SegmentRollerOptions {
  readonly stream: string
  readonly directory: string
  /** A segment rolls before it would exceed this. */
  readonly segmentBytes: number
  readonly poweredOn: PoweredOnClock
  readonly clock: Clock
}

export class SegmentRoller {
  private current: Segment | null = null
  private standby: Promise<PreparedSegment> | null = null
  private nextSequence: number
  /** Writes since the active segment was begun. */
  private writes = 0

  /** @param ends Of each partition, @param facts of the stream, as durable: what the next segment begins with. */
  constructor(
    private readonly options: SegmentRollerOptions,
    private readonly segments: SegmentList,
    private readonly seals: SealQueue,
    private readonly ends: readonly PartitionEnd[],
    private readonly facts: ReadonlyMap<string, Uint8Array>,
  ) {
    this.nextSequence = (segments.newest?.header.sequence ?? 0) + 1
  }

  /** The segment that is written; null: the next write begins one. */
  get active(): Segment | null {
    return this.current
  }

  /** Milliseconds of powered-on time since the active segment was begun; 0 if there is none. */
  get activeAgeMs(): number {
    return this.current === null ? 0 : this.options.poweredOn.nowMs() - this.current.header.poweredOnMs
  }

  /** Where to write so many bytes. */
  async segmentFor(bytes: number): Promise<Segment> {
    const segment = await this.withRoomFor(bytes)
    this.writes += 1
    return segment
  }

  /** Seals the active segment, so that the next write begins another. Resolves when the seal is complete. */
  async roll(): Promise<void> {
    const segment = this.current
    if (segment === null) return
    this.current = null
    await this.seals.add(segment)
  }

  /** Begins a segment, which takes the place of none: there is no active one, or it is being rolled. */
  async begin(): Promise<Segment> {
    const prepared = await (this.standby ?? this.prepare())
    this.standby = null
    const segment = await Segment.birth(
      prepared,
      {
        format: SEGMENT_FORMAT,
        stream: this.options.stream,
        sequence: this.nextSequence,
        createdAtMs: this.options.clock.wallMs(),
        poweredOnMs: this.options.poweredOn.nowMs(),
        bases: this.ends.map((end) => end.offset),
        epochs: this.ends.map((end) => end.epoch),
      },
      this.facts,
    )
    try {
      // From here on a start misses the segment if it is gone.
      await this.segments.newest?.succeeded()
    } catch (error) {
      await segment.close()
      throw error
    }
    this.nextSequence += 1
    this.writes = 0
    // Partitions may have been added since its header was made; a fact says so of each.
    for (const { offset, epoch } of this.ends.slice(segment.extents.length))
      segment.extents.push(emptyExtent(offset, epoch))
    this.segments.add(segment)
    this.current = segment
    return segment
  }

  /** The active segment is written no more, and not sealed as it is: it must be read back first. */
  giveUpActive(): void {
    this.current = null
  }

  /** Has the next segment ready before it is needed. */
  prepareEarly(): void {
    this.standby ??= this.prepare()
  }

  async discardStandby(): Promise<void> {
    const standby = await this.standby?.catch(() => null)
    this.standby = null
    if (standby) await discardPrepared(standby)
  }

  private async withRoomFor(bytes: number): Promise<Segment> {
    const { segmentBytes } = this.options
    const active = this.current
    if (active !== null && active.bytes + bytes > segmentBytes && active.bytes > 0) {
      await this.seals.settled
      // Not awaited: the next segment takes the writes while this one is flushed.
      this.roll().catch(() => {})
    } else if (active !== null) {
      if (active.bytes + bytes > segmentBytes / 2) this.prepareEarly()
      return active
    }
    return this.begin()
  }

  private prepare(): Promise<PreparedSegment> {
    const { directory, segmentBytes } = this.options
    const prepared = prepareSegment(join(directory, segmentName(this.nextSequence)), {
      writeBufferBytes: segmentBytes * 2,
      // Large commits gain nothing by it, and would pay for the zeros.
      laidOutBytes: this.current !== null && this.current.bytes > this.writes * LARGE_WRITE_BYTES ? 0 : segmentBytes,
    })
    // Whoever needs it will see the failure; until then it is nobody's.
    prepared.catch(() => {
      this.standby = null
    })
    return prepared
  }
}
