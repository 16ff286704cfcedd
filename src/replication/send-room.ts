// How much may be under way to an upstream: what is in flight, and what is acknowledged and not known on disk as such, since both would arrive twice after
// a power cut.
//
//   window   ├──────────── in flight ────────────┤── acknowledged, not saved ──┤        full: wait for a cursor to be saved
//            ├──────────────────── level ────────────────────┤ set aside       │
//
// A quarter is set aside, so that acknowledgements make room while a cursor is being saved. Of a target that keeps positions itself only what is in
// flight counts. Pure: no clock, no I/O.

import type { Flight } from './ack-line.js'
import type { Shipment, Target } from './targets/target.js'
import { Window } from './window.js'

/** Smaller windows have nothing to set aside. */
const SMALL_WINDOW = 4
const SET_ASIDE = 1 / 4
/** Keep a broker busy for longer than a millisecond. */
const MANY_MESSAGES = 200

export class SendRoom {
  readonly window: Window<Flight>
  /** So much that was acknowledged is saved at once. */
  readonly maxUnsaved: number
  private readonly messagesAtOnce: number
  private readonly countsUnsaved: boolean
  private readonly usualLevel: number
  /** What may be in flight now, in messages. */
  private level: number

  /** @param maxInFlight Messages under way, inclusive. */
  constructor(maxInFlight: number, target: Pick<Target<Shipment>, 'maxSlots' | 'messagesAtOnce' | 'tellsPositions'>) {
    this.window = new Window(Math.min(maxInFlight, target.maxSlots))
    this.messagesAtOnce = target.messagesAtOnce
    this.countsUnsaved = !target.tellsPositions
    const { size } = this.window
    const setAside = this.countsUnsaved && size >= SMALL_WINDOW ? Math.ceil(size * SET_ASIDE) : 0
    this.maxUnsaved = Math.max(1, setAside - this.messagesAtOnce + 1)
    this.usualLevel = size - setAside
    this.level = this.usualLevel
  }

  /** The far side has enough to do for a while. */
  get isWellFilled(): boolean {
    return this.countsUnsaved && this.window.inFlight >= Math.max(MANY_MESSAGES, this.usualLevel / 2)
  }

  /**
   * Whether a shipment more may be sent.
   * @param limit Of messages in flight, for other reasons; one shipment alone passes it.
   * @param unsaved Acknowledgements that are not known on disk.
   */
  has(limit: number, unsaved: number): boolean {
    const { inFlight, size } = this.window
    const after = inFlight + this.messagesAtOnce
    if (inFlight > 0 && after > Math.min(this.level, limit)) return false
    return !this.countsUnsaved || after + unsaved <= size
  }

  /**
   * Acknowledgements have come: they are answered with something to send, even if they are too few to make room for it. A broker that writes each with a
   * call of its own, as mosquitto does, sends the first and holds the others back until TCP has acknowledged it (RFC 896), which happens with the next bytes that
   * go there, or after 40 ms: a window of 1,000 was 25 k records a second.
   */
  answer(): void {
    this.level = Math.max(this.usualLevel, this.window.inFlight + this.messagesAtOnce)
  }

  /** The connection is lost. */
  clear(): void {
    this.window.clear()
    this.level = this.usualLevel
  }
}
