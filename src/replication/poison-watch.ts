// Finds the one record on which a broker hangs up. MQTT 3.1.1 cannot refuse a message: a broker that dislikes one closes the connection,
// with everything else that is in flight. So after a hang-up the window begins at one and grows with each acknowledgement, as TCP's slow
// start does, and the lane whose oldest record was there at the most hang-ups goes first. Each connection then gets at least half way to
// the culprit, and when it is the next, it is sent alone. Only a hang-up on a record that was alone counts against it. An ordinary cut
// costs a few round trips and condemns nobody.
//
//   window of 100, the broker hangs up on D:   A B C D E …   ✗   from here on one at a time
//   acknowledged meanwhile: A                  B             ✓   window 2
//                                              C D           ✗   C was acknowledged
//                                              D             ✗   1 of 5 attempts …
//
// Pure: no clock, no I/O.

import type { Offset } from '../record/record.js'
import type { AckLine, Flight } from './ack-line.js'

export interface WatchedLane {
  readonly acks: AckLine
}

interface Suspect {
  readonly offset: Offset
  /** Hang-ups it was there at. */
  hangUps: number
  /** Of these, those with nothing else in flight. */
  alone: number
}

export interface Verdict<L> {
  readonly lane: L
  readonly flight: Flight
  /** How often it was tried alone. */
  readonly attempts: number
}

export class PoisonWatch<L extends WatchedLane> {
  private readonly suspects = new Map<L, Suspect>()
  private windowNow: number

  /**
   * @param window Most that may be in flight.
   * @param maxAttempts After so many hang-ups on a record that was alone it is condemned.
   */
  constructor(
    private readonly window: number,
    private readonly maxAttempts: number,
  ) {
    this.windowNow = window
  }

  /** What may be in flight now, inclusive. */
  get limit(): number {
    return this.windowNow
  }

  /** Call for what is acknowledged. */
  acked(messages = 1): void {
    this.windowNow = Math.min(this.window, this.windowNow + messages)
  }

  /**
   * The far side has closed the connection.
   * @param inFlight What was not acknowledged.
   * @returns what is condemned, if something is now.
   */
  hungUp(inFlight: readonly Flight[], laneOf: (flight: Flight) => L): Verdict<L> | null {
    if (inFlight.length === 0) return null
    this.windowNow = 1
    const oldest = new Map<L, Flight>()
    for (const flight of inFlight) {
      const lane = laneOf(flight)
      const known = oldest.get(lane)
      if (known === undefined || flight.offset < known.offset) oldest.set(lane, flight)
    }
    for (const [lane, flight] of oldest) {
      const suspect = this.suspectIn(lane, flight)
      suspect.hangUps += 1
      if (inFlight.length === 1) return this.count(lane, flight, suspect)
    }
    return null
  }

  /** Its oldest record was not acknowledged while later ones were: the link works, so this counts as if it had been alone. */
  ignored(lane: L): Verdict<L> | null {
    const flight = lane.acks.oldest
    return flight === undefined ? null : this.count(lane, flight, this.suspectIn(lane, flight))
  }

  /** The lane to go on with, alone, where something is suspected. Forgets what has been cleared. */
  get mostSuspicious(): L | null {
    for (const [lane, { offset }] of this.suspects) if (lane.acks.cursor > offset) this.suspects.delete(lane)
    // What is ignored shows itself only where others follow.
    const [first] = [...this.suspects]
      .filter(([, { hangUps }]) => hangUps > 0)
      .sort(([, a], [, b]) => b.alone - a.alone || b.hangUps - a.hangUps)
    return first?.[0] ?? null
  }

  private suspectIn(lane: L, { offset }: Flight): Suspect {
    const known = this.suspects.get(lane)
    if (known?.offset === offset) return known
    const suspect = { offset, hangUps: 0, alone: 0 }
    this.suspects.set(lane, suspect)
    return suspect
  }

  private count(lane: L, flight: Flight, suspect: Suspect): Verdict<L> | null {
    suspect.alone += 1
    if (suspect.alone < this.maxAttempts) return null
    this.suspects.delete(lane)
    return { lane, flight, attempts: suspect.alone }
  }
}
