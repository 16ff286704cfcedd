// One partition on its way to a broker that wants what is new before what has waited (`order = "live_first"`): two lanes, one from the oldest record
// not acknowledged, one that goes on where the log ended when the link was found to be behind. How far it is: a next offset, and at most eight
// stretches above it that were acknowledged.
//
//   next            acked            acked            live             end
//    │ backlog lane ▶ █████ waits      ██████ waits     █████ live lane ▶ │
//
//   jump     what is new has waited too long: the live lane goes on at the end of the log; what it leaves behind joins the backlog
//   advance  the backlog lane has reached a stretch: it goes on behind it; at the live lane's stretch the two are one again
//
// Knows no connection. Invariants: stretches are ascending, apart and above the backlog lane; what is in one of them is not sent again.

import type { Clock } from '../base/clock.js'
import type { Offset } from '../record/record.js'
import { type AckedRange, type CursorPosition, MAX_ACKED_RANGES } from '../state/cursors.js'
import type { Lane } from './lane.js'
import type { Shipment } from './targets/target.js'

export interface LiveFirstOptions<S extends Shipment> {
  readonly live: Lane<S>
  readonly backlog: Lane<S>
  readonly position: CursorPosition
  /** False: what is left of an earlier order is finished, and nothing new overtakes. */
  readonly jumps: boolean
  /** What has waited longer is backlog. */
  readonly backlogAfterMs: number
  /** More than this, found at start, is backlog at once. */
  readonly maxInFlight: number
  readonly clock: Clock
}

export class LiveFirst<S extends Shipment> {
  /** Acknowledged, between the two lanes. */
  private ranges: AckedRange[] = []
  /** Where the live lane has begun. */
  private liveStart = 0 as Offset
  /** Until the live lane has passed this offset it is behind since then, on the monotonic clock. */
  private mark: { readonly offset: Offset; readonly atMs: number }

  constructor(private readonly options: LiveFirstOptions<S>) {
    const { live, position, maxInFlight, clock } = options
    this.restore(position)
    const found = live.highWatermark - live.cursor > maxInFlight
    this.mark = { offset: live.highWatermark, atMs: found ? Number.NEGATIVE_INFINITY : clock.monotonicMs() }
  }

  get live(): Lane<S> {
    return this.options.live
  }

  /** Whether some of the backlog lane's are left. */
  get isSplit(): boolean {
    return this.options.backlog.until > this.options.backlog.cursor
  }

  /** What is acknowledged, as it is kept. */
  get position(): CursorPosition {
    const { live, backlog } = this.options
    if (!this.isSplit) return { next: live.cursor, acked: [] }
    const newest = live.cursor > this.liveStart ? [{ first: this.liveStart, next: live.cursor }] : []
    return { next: backlog.cursor, acked: [...this.ranges, ...newest] }
  }

  /** Stored and not acknowledged, of the whole partition: also what lies between stretches that neither lane is at. */
  get waiting(): number {
    const { live } = this.options
    const { next, acked } = this.position
    const from = Math.max(next, live.stream.logStartOffset(live.partition))
    const there = acked.reduce((sum, range) => sum + Math.max(0, range.next - Math.max(range.first, from)), 0)
    return Math.max(0, live.highWatermark - from - there)
  }

  /** Call when the cursor of one of the lanes has moved. */
  advance(): void {
    const { backlog, live } = this.options
    while (this.ranges.length > 0 && backlog.cursor >= this.ranges[0].first) {
      const { next } = this.ranges.shift()!
      this.sendBacklog(next, this.ranges[0]?.first ?? this.liveStart)
    }
    // What both have sent is one stretch.
    if (!this.isSplit) this.liveStart = live.cursor
    if (live.halted) this.look(true)
  }

  /** Call now and then, and when a connection has come up. */
  look(linkIsUp: boolean): void {
    const { live, jumps, backlogAfterMs, clock } = this.options
    if (!jumps) return
    const nowMs = clock.monotonicMs()
    if (live.cursor >= this.mark.offset) this.mark = { offset: live.highWatermark, atMs: nowMs }
    const isBehind = live.cursor < this.mark.offset && nowMs - this.mark.atMs >= backlogAfterMs
    // What is under way may be acknowledged still: it shall not be sent twice.
    live.halted = isBehind && this.hasRoomToJump
    if (live.halted && linkIsUp && live.acks.underWay === 0) this.jump(nowMs)
  }

  /** Everything from `to` on is to be sent (again). */
  rewind(to: Offset): void {
    const { next, acked } = this.position
    const kept = acked
      .filter(({ first }) => first < to)
      .map((range) => ({ first: range.first, next: Math.min(range.next, to) as Offset }))
    this.restore({ next: Math.min(next, to) as Offset, acked: kept })
  }

  private get hasRoomToJump(): boolean {
    if (!this.isSplit) return true
    const closed = this.ranges.length + (this.options.live.cursor > this.liveStart ? 1 : 0)
    return closed < MAX_ACKED_RANGES
  }

  private jump(nowMs: number): void {
    const { live, backlog } = this.options
    const end = live.highWatermark
    if (!this.isSplit) this.sendBacklog(live.cursor, end)
    else {
      if (live.cursor > this.liveStart) this.ranges.push({ first: this.liveStart, next: live.cursor })
      // With nothing between them the backlog reaches up to where the live lane begins now.
      if (this.ranges.length === 0) backlog.extend(end)
    }
    this.liveStart = end
    live.halted = false
    live.restart(end)
    this.mark = { offset: end, atMs: nowMs }
  }

  private restore({ next, acked }: CursorPosition): void {
    const { live } = this.options
    const newest = acked.at(-1)
    this.ranges = acked.slice(0, -1)
    this.liveStart = newest?.first ?? next
    live.halted = false
    live.restart(newest?.next ?? next)
    this.sendBacklog(next, newest === undefined ? next : (this.ranges[0]?.first ?? this.liveStart))
    this.advance()
  }

  private sendBacklog(from: Offset, until: Offset): void {
    const { backlog } = this.options
    backlog.extend(until)
    backlog.restart(from)
  }
}
