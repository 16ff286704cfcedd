// Takes shipments from the lanes in turn and sends them, while the window, the connection and the budget have room. Where something is suspected
// of having ended the last connection, its lane goes first, alone. Used by the sender, who hears the acknowledgements.

import type { Clock } from '../base/clock.js'
import type { Flight } from './ack-line.js'
import type { Budget } from './budget.js'
import type { Lane } from './lane.js'
import { StreamTurns } from './stream-turns.js'
import type { Link, Shipment } from './targets/target.js'
import type { Window } from './window.js'

export interface PumpOptions<S extends Shipment> {
  readonly window: Window<Flight>
  readonly budget: Budget
  readonly clock: Clock
  /** Where to send; null while nothing may be sent. */
  readonly link: () => Link<S> | null
  /** What may be under way and not known on disk as acknowledged, now. */
  readonly hasRoom: () => boolean
  /** So much is under way that more room may gather before it is used. */
  readonly hasTime: () => boolean
  /** Something was sent. */
  readonly onSent: () => void
}

/**
 * A broker that acknowledges a message at a time would be answered a message at a time, and both would spend more on waking up than on messages: mosquitto took
 * 9.4 s of processor time a million of them, and 7.7 from its own bridge.
 */
const GATHER_MS = 1
/** Timers for longer ones would overflow; asked again then. */
const MAX_BUDGET_WAIT_MS = 60 * 60 * 1000
/** Weight of the latest record in the running average of sizes. */
const SIZE_WEIGHT = 1 / 64

export class Pump<S extends Shipment> {
  /** Running average of bytes per record; null before the first was sent. */
  averageBytes: number | null = null
  /** Goes first over the next connection, alone. */
  first: Lane<S> | null = null
  /** Lanes that may have something to send. */
  private readonly turns = new StreamTurns<Lane<S>>()
  private scheduled = false
  private budgetTimerRuns = false

  constructor(private readonly options: PumpOptions<S>) {}

  /** The lane may have something to send. */
  laneReady(lane: Lane<S>): void {
    this.turns.enter(lane)
    this.schedule()
  }

  /** Acks come one by one but in crowds: what they make room for is sent together. */
  schedule(): void {
    if (this.scheduled || this.options.link() === null) return
    this.scheduled = true
    const run = (): void => {
      this.scheduled = false
      this.run()
    }
    if (this.options.hasTime()) this.options.clock.after(GATHER_MS, run)
    else setImmediate(run)
  }

  private run(): void {
    const { window, onSent } = this.options
    const link = this.options.link()
    if (link === null) return
    const before = window.inFlight
    if (this.first !== null && !this.sendFirst(this.first, link)) return
    while (this.maySend(link)) {
      // While half of a window is under way the far side, or the way to it, is what they compete for.
      const lane = this.turns.take(window.inFlight >= window.size / 2)
      if (lane === undefined) break
      this.sendTurn(lane, link)
    }
    if (window.inFlight === before) return
    link.flush()
    onSent()
  }

  /** @returns false while it has to be waited for. */
  private sendFirst(lane: Lane<S>, link: Link<S>): boolean {
    const sent = this.maySend(link) && this.sendOne(lane, link) !== null
    if (!sent && lane.backlog > 0 && lane.problem === null) return false
    this.first = null
    this.turns.enter(lane)
    return true
  }

  private sendTurn(lane: Lane<S>, link: Link<S>): void {
    for (let bytes = this.sendOne(lane, link); bytes !== null; bytes = this.sendOne(lane, link)) {
      if (this.turns.spent(lane, bytes) && this.maySend(link)) continue
      this.turns.enter(lane)
      return
    }
    if (lane.preparing) this.turns.enter(lane)
  }

  /** @returns what it counts for, in bytes; null if the lane has nothing to send now. */
  private sendOne(lane: Lane<S>, link: Link<S>): number | null {
    const shipment = lane.next()
    if (shipment === undefined) return null
    const slot = this.options.window.take(lane.sent(shipment), shipment.messages)
    link.send(shipment, slot)
    this.options.budget.spend(shipment.bytes, shipment.messages)
    const bytes = shipment.bytes / shipment.records
    this.averageBytes =
      this.averageBytes === null ? bytes : this.averageBytes + (bytes - this.averageBytes) * SIZE_WEIGHT
    return shipment.bytes
  }

  private maySend(link: Link<S>): boolean {
    const { hasRoom, budget, clock } = this.options
    if (!hasRoom() || !link.hasRoom) return false
    const waitMs = budget.waitMs()
    if (waitMs === 0) return true
    if (!this.budgetTimerRuns) {
      this.budgetTimerRuns = true
      clock.after(Math.min(waitMs, MAX_BUDGET_WAIT_MS), () => {
        this.budgetTimerRuns = false
        this.schedule()
      })
    }
    return false
  }
}
