// What of one partition is under way, in order, and how far it has been acknowledged without a gap. Pure: no clock, no I/O.
//
//   cursor = 5        5 ─ 6 ─ 7 ─ 8        5, 6, 7, 8 are under way
//   ack 6, ack 7      5   ✓   ✓   8        cursor stays 5: 5 is not acknowledged
//   ack 5             ✓   ✓   ✓   8        cursor = 8
//   restart           (nothing)            the connection is gone: all from 8 is sent again; an ack that still comes is void
//
// Invariants: the cursor never passes what is not acknowledged; what is under way is in ascending order without overlap.

import { assert } from '../base/assert.js'
import { BoundedQueue } from '../base/bounded-queue.js'
import type { Offset } from '../record/record.js'

/** A stretch of offsets under way. */
export interface Flight {
  readonly line: AckLine
  readonly offset: Offset
  /** One past its last offset. */
  readonly nextOffset: Offset
  readonly timestampMs: number
  /** It is sent as. */
  readonly messages: number
  /** Of which life of the line; acks for an earlier one are void. */
  readonly round: number
  acked: boolean
}

export class AckLine {
  private readonly flights: BoundedQueue<Flight>
  /** Messages under way, with those that wait for one before them. */
  underWay = 0
  private round = 0
  private ackedBehind = 0
  /** One past the last offset under way, or the cursor. */
  end: Offset

  /**
   * @param cursor The next offset that is not acknowledged.
   * @param maximum Messages under way at once, inclusive; counts those that wait for one before them.
   * @param atOnce Most messages in one stretch.
   */
  constructor(
    public cursor: Offset,
    private readonly maximum: number,
    private readonly atOnce = 1,
  ) {
    this.end = cursor
    // One more for a stretch that is passed over instead of being sent.
    this.flights = new BoundedQueue(maximum + 1)
  }

  /** True while nothing more may be sent, however many later ones have been acknowledged: it would all be sent again. */
  get isFull(): boolean {
    return this.underWay + this.atOnce > this.maximum
  }

  /** The oldest stretch, if later ones were acknowledged before it. */
  get overtaken(): Flight | undefined {
    return this.ackedBehind > 0 ? this.flights.peek() : undefined
  }

  /** The first stretch that is not acknowledged. */
  get oldest(): Flight | undefined {
    return this.flights.peek()
  }

  /** Call when [offset, nextOffset) is sent. */
  sent(offset: Offset, nextOffset: Offset, timestampMs: number, messages = 1): Flight {
    assert(offset >= this.end && nextOffset > offset, 'a partition is sent in ascending order')
    const { round } = this
    const flight: Flight = { line: this, offset, nextOffset, timestampMs, messages, round, acked: false }
    assert(this.flights.push(flight), 'no more is under way than the window holds')
    this.end = nextOffset
    this.underWay += messages
    return flight
  }

  /** @returns how far the cursor has moved, in offsets; 0 for an ack out of order, repeated or void. */
  acked(flight: Flight): number {
    if (flight.round !== this.round || flight.acked) return 0
    flight.acked = true
    this.ackedBehind += 1
    const before = this.cursor
    for (let head = this.flights.peek(); head?.acked; head = this.flights.peek()) {
      this.cursor = head.nextOffset
      this.ackedBehind -= 1
      this.underWay -= head.messages
      this.flights.shift()
    }
    return this.cursor - before
  }

  /** Forgets what is under way; the next to be sent is `from`. */
  restart(from: Offset = this.cursor): void {
    while (this.flights.shift() !== undefined);
    this.round += 1
    this.underWay = 0
    this.ackedBehind = 0
    this.cursor = from
    this.end = from
  }
}
