// Sends the partitions of one upstream: takes shipments from its lanes in turn while the window, the connection and the budget have
// room, hears the acknowledgements, saves the cursors. The same for every kind of target.
//
// Order per partition: a lane is sent in ascending order, and after a connection is lost every lane begins again at its cursor, so that
// what arrives twice arrives again in order. Nothing is sent while a window of messages is sent and not known on disk as acknowledged: so never
// more than one window arrives twice, whether the connection, the node or the machine goes down.

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { StreamReader } from '../log/types.js'
import type { Offset } from '../record/record.js'
import type { Cursors } from '../state/cursors.js'
import { AckDeadline } from './ack-deadline.js'
import type { AckLine, Flight } from './ack-line.js'
import { Budget } from './budget.js'
import { CursorSaver } from './cursor-saver.js'
import type { DeadLetters } from './dead-letters.js'
import { ForgottenWatch } from './forgotten-watch.js'
import type { Lane, LedgerPort } from './lane.js'
import { LinkKeeper } from './link-keeper.js'
import { makeLanes } from './make-lanes.js'
import { PoisonWatch, type Verdict } from './poison-watch.js'
import { RateMeter } from './rate-meter.js'
import { StreamTurns } from './stream-turns.js'
import type { LanePosition, Link, OfferedLane, Shipment, Target } from './targets/target.js'
import type { UpstreamOptions } from './upstream-options.js'
import { Window } from './window.js'

export type CursorsPort = Pick<Cursors, 'get' | 'acked' | 'set' | 'note'>

export interface SenderOptions<S extends Shipment> {
  readonly upstream: UpstreamOptions
  readonly target: Target<S>
  /** Those there are from the start. */
  readonly streams: readonly StreamReader[]
  readonly cursors: CursorsPort
  readonly ledger: LedgerPort
  readonly deadLetters?: Pick<DeadLetters, 'put'>
  /** Default: what `upstream` says of bytes and messages a second. */
  readonly budget?: Budget
  /** An operator has paused it in an earlier life of this node. Default: false. */
  readonly paused?: boolean
  readonly clock: Clock
  readonly logger: Logger
  /** Draws from [0, 1). */
  readonly random: () => number
}

/** How long an orderly end waits for what is in flight: what is acknowledged need not be sent again. */
const SETTLE_MS = 2_000
const DEFAULT_CURSOR_SAVE_DELAY_MS = 1_000
const DEFAULT_MAX_ATTEMPTS = 5
/** Timers for longer ones would overflow; asked again then. */
const MAX_BUDGET_WAIT_MS = 60 * 60 * 1000
/** Partitions one upstream forwards, inclusive. */
export const MAX_LANES = 4096
/** Where the destination knows better, saved cursors only tell retention what is spent. */
const MAX_UNSAVED_HINTS = 1_000_000
/** How often it is looked for what has waited too long to be new. */
const LOOK_EVERY_MS = 1_000
/** Weight of the latest record in the running average of sizes. */
const SIZE_WEIGHT = 1 / 64

export class Sender<S extends Shipment> {
  readonly lanes: Lane<S>[] = []
  /** One of each partition. */
  readonly leading: Lane<S>[] = []
  readonly keeper: LinkKeeper<S>
  readonly deadline: AckDeadline
  readonly delivered: RateMeter
  readonly arrived: RateMeter
  readonly budget: Budget
  deliveredTotal = 0
  /** Running average of bytes per record; null before the first was sent. */
  averageBytes: number | null = null
  paused: boolean
  private readonly poison: PoisonWatch<Lane<S>>
  /** Goes first over the next connection, alone, since something in it may be to blame for the end of the last one. */
  private first: Lane<S> | null = null
  private readonly forgotten: ForgottenWatch<Lane<S>>
  private readonly laneOf = new Map<AckLine, Lane<S>>()
  private readonly window: Window<Flight>
  /** Lanes that may have something to send. */
  private readonly turns = new StreamTurns<Lane<S>>()
  private readonly saver: CursorSaver<Lane<S>>
  /** How to stop listening to each stream. */
  private readonly followed = new Map<StreamReader, () => void>()
  private pumpScheduled = false
  private budgetTimerRuns = false
  private closing = false
  private onSettled = (): void => {}
  private cancelLook = (): void => {}
  /** Pauses, resumptions and the stop take place one after the other. */
  private switching: Promise<void> = Promise.resolve()
  private drain: { readonly startedAtMs: number; readonly deliveredBefore: number } | null = null

  constructor(private readonly options: SenderOptions<S>) {
    const { upstream, target, clock, logger, random } = options
    this.paused = options.paused ?? false
    this.window = new Window(Math.min(upstream.maxInFlight, target.maxSlots))
    this.poison = new PoisonWatch(this.window.size, upstream.maxAttempts ?? DEFAULT_MAX_ATTEMPTS)
    this.delivered = new RateMeter(clock)
    this.arrived = new RateMeter(clock)
    this.deadline = new AckDeadline(clock, upstream.ackTimeoutMs, (silentMs) => this.giveUp(silentMs))
    this.budget = options.budget ?? new Budget(clock, upstream)
    const { reconnectMinMs, reconnectMaxMs } = upstream
    this.keeper = new LinkKeeper<S>({
      ...{ target, clock, logger, random, reconnectMinMs, reconnectMaxMs },
      lanes: () => this.offeredLanes(),
      onPositions: (positions) => this.goOnAt(positions),
      onUp: () => this.linkUp(),
      onAck: (slot) => this.acked(slot),
      onRoom: () => this.schedulePump(),
      onLost: (hungUp) => this.linkLost(hungUp),
    })
    this.forgotten = new ForgottenWatch(clock, upstream.ackTimeoutMs, this.lanes, (lane) => this.resendForgotten(lane))
    this.saver = new CursorSaver<Lane<S>>(
      {
        lanes: this.leading,
        save: (lane, { next, acked }) =>
          options.cursors.set(upstream.name, lane.stream.name, lane.partition, next, acked),
        ...{ clock, logger },
        maxUnsaved: target.tellsPositions ? MAX_UNSAVED_HINTS : Math.ceil(this.window.size / 4),
        onSaved: () => this.schedulePump(),
        delayMs: upstream.cursorSaveDelayMs ?? DEFAULT_CURSOR_SAVE_DELAY_MS,
      },
      new Map(),
    )
    for (const stream of options.streams) this.enter(stream)
  }

  get inFlight(): number {
    return this.window.inFlight
  }

  /** Why what is acknowledged cannot be kept, for people; null if it can. */
  get problem(): string | null {
    return this.options.target.tellsPositions ? null : this.saver.problem
  }

  start(): void {
    const { logger } = this.options
    for (const stream of new Set(this.lanes.map((lane) => lane.stream))) this.follow(stream)
    for (const lane of this.lanes) lane.open()
    // Retention asks the cursors what is still needed: a new upstream shall be among them from the start.
    this.saver.flush().catch((error) => logger.warn('cursors cannot be saved yet', { reason: messageOf(error) }))
    if (this.options.upstream.order === 'live_first') this.lookLater()
    if (!this.paused) this.keeper.start()
  }

  /** Sends one more stream, or what has been added to it. Call after `start`. */
  add(stream: StreamReader): void {
    if (this.closing) return
    const known = this.lanes.some((lane) => lane.stream === stream)
    const lanes = this.enter(stream)
    if (lanes.length === 0) return
    if (!known) this.follow(stream)
    for (const lane of lanes) lane.open()
    this.saver.moved(1)
    this.keeper.link?.lanesAdded?.()
  }

  /**
   * A stream is no longer what it was: sends no more of it.
   * @param formerName What its cursors are kept under: they show what was acknowledged, also what is not saved yet.
   */
  remove(stream: StreamReader, formerName: string): void {
    const { cursors, upstream } = this.options
    this.keeper.reset(new SluiceError('NOT_REACHABLE', `${stream.name} has been replaced: connecting anew`))
    this.followed.get(stream)?.()
    this.followed.delete(stream)
    for (const lane of this.lanes.filter((one) => one.stream === stream)) {
      cursors.note(upstream.name, formerName, lane.partition, lane.cursor)
      lane.close()
      this.lanes.splice(this.lanes.indexOf(lane), 1)
      if (lane.leads) this.leading.splice(this.leading.indexOf(lane), 1)
      this.laneOf.delete(lane.acks)
      if (this.first === lane) this.first = null
    }
  }

  /** Ends the connection, once what is in flight is acknowledged. Lasts until `resume`. */
  pause(): void {
    if (this.paused) return
    this.paused = true
    this.options.logger.info('paused')
    this.switching = this.switching.then(async () => {
      if (this.paused) await this.windDown()
    })
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.options.logger.info('resumed')
    this.switching = this.switching.then(() => {
      if (!this.paused && !this.closing) this.keeper.start()
      this.schedulePump()
    })
  }

  /** Sends a lane again from an earlier offset. Durable when it resolves. */
  async rewind(moves: readonly { readonly lane: Lane<S>; readonly to: Offset }[]): Promise<void> {
    for (const { lane, to } of moves) {
      if (lane.course === null) lane.restart(to)
      else lane.course.rewind(to)
    }
    await this.saver.flush()
  }

  async stop(): Promise<void> {
    this.closing = true
    this.switching = this.switching.then(() => this.windDown())
    await this.switching
    for (const unfollow of this.followed.values()) unfollow()
    this.followed.clear()
    for (const lane of this.lanes) lane.close()
    this.cancelLook()
    this.deadline.linkDown()
    this.budget.daily?.settle()
    this.saver.stop()
    await this.saver.flush().catch((error) => {
      this.options.logger.warn('cursors could not be saved; what was acknowledged since will be sent again', {
        reason: messageOf(error),
      })
    })
  }

  /** Makes the lanes of a stream that it has none for yet. */
  private enter(stream: StreamReader): Lane<S>[] {
    const before = this.leading.filter((lane) => lane.stream === stream).length
    const { lanes, onDisk } = makeLanes<S>({
      ...this.options,
      stream,
      from: before,
      maxLanes: MAX_LANES - this.lanes.length,
      onReady: (lane) => this.laneReady(lane),
      onPassed: (lane) => this.passed(lane),
    })
    for (const lane of lanes) {
      this.lanes.push(lane)
      if (lane.leads) this.leading.push(lane)
      this.laneOf.set(lane.acks, lane)
    }
    for (const [lane, position] of onDisk) this.saver.onDisk(lane, position)
    return lanes
  }

  private follow(stream: StreamReader): void {
    const watermarks = new Map<Lane<S>, number>()
    const changed = () => {
      for (const lane of this.lanes) {
        if (lane.stream !== stream) continue
        const { highWatermark } = lane
        if (lane.leads) this.arrived.add(highWatermark - (watermarks.get(lane) ?? highWatermark))
        watermarks.set(lane, highWatermark)
        lane.wake()
      }
    }
    changed()
    this.followed.set(stream, stream.onChange(changed))
  }

  /** Where new records go first, what has waited too long becomes backlog. */
  private lookForBacklog(): void {
    for (const lane of this.leading) lane.course?.look(this.keeper.link !== null)
  }

  private lookLater(): void {
    this.cancelLook = this.options.clock.after(LOOK_EVERY_MS, () => {
      this.lookForBacklog()
      this.lookLater()
    })
  }

  private offeredLanes(): OfferedLane[] {
    return this.lanes.map((lane) => {
      const { stream: reader, partition, cursor } = lane
      return { stream: reader.name, partition, reader, cursor }
    })
  }

  private goOnAt(positions: readonly LanePosition[]): void {
    for (const { stream, partition, next } of positions) {
      const lane = this.lanes.find((one) => one.stream.name === stream && one.partition === partition)
      if (lane === undefined) continue
      lane.unwanted = next === null
      lane.held = next === null
      if (next === null) continue
      const moved = Math.abs(next - lane.cursor)
      lane.restart(next)
      this.hasMoved(lane, moved)
      this.laneReady(lane)
    }
  }

  private laneReady(lane: Lane<S>): void {
    this.turns.enter(lane)
    this.schedulePump()
  }

  /** Acks come one by one but in crowds: what they make room for is sent together. */
  private schedulePump(): void {
    if (this.pumpScheduled || this.keeper.link === null) return
    this.pumpScheduled = true
    setImmediate(() => {
      this.pumpScheduled = false
      this.pump()
    })
  }

  private pump(): void {
    const { link } = this.keeper
    if (link === null || this.paused || this.closing) return
    const before = this.window.inFlight
    if (this.first !== null && !this.sendFirst(this.first, link)) return
    while (this.maySend(link)) {
      const lane = this.turns.take()
      if (lane === undefined) break
      this.sendTurn(lane, link)
    }
    if (this.window.inFlight === before) return
    link.flush()
    this.deadline.sent()
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
  }

  /** @returns what it counts for, in bytes; null if the lane has nothing to send now. */
  private sendOne(lane: Lane<S>, link: Link<S>): number | null {
    const shipment = lane.next()
    if (shipment === undefined) return null
    const slot = this.window.take(lane.sent(shipment))
    link.send(shipment, slot)
    this.budget.spend(shipment.bytes)
    const bytes = shipment.bytes / shipment.records
    this.averageBytes =
      this.averageBytes === null ? bytes : this.averageBytes + (bytes - this.averageBytes) * SIZE_WEIGHT
    return shipment.bytes
  }

  private maySend(link: Link<S>): boolean {
    if (this.window.inFlight >= this.poison.limit || !link.hasRoom) return false
    if (!this.options.target.tellsPositions && this.window.inFlight + this.saver.unsaved >= this.window.size)
      return false
    const waitMs = this.budget.waitMs()
    if (waitMs === 0) return true
    if (!this.budgetTimerRuns) {
      this.budgetTimerRuns = true
      this.options.clock.after(Math.min(waitMs, MAX_BUDGET_WAIT_MS), () => {
        this.budgetTimerRuns = false
        this.schedulePump()
      })
    }
    return false
  }

  private linkUp(): void {
    this.deadline.linkUp()
    this.lookForBacklog()
    this.forgotten.start()
    this.drain = { startedAtMs: this.options.clock.monotonicMs(), deliveredBefore: this.deliveredTotal }
    this.schedulePump()
  }

  private acked(slot: number): void {
    const flight = this.window.release(slot)
    if (flight === undefined) return
    const records = flight.nextOffset - flight.offset
    this.deliveredTotal += records
    this.delivered.add(records)
    if (!this.deadline.proven) this.keeper.proven()
    this.deadline.acked(this.window.inFlight)
    this.poison.acked()
    const lane = this.laneOf.get(flight.line)
    if (lane !== undefined) this.ackedOn(lane, flight)
    if (this.window.inFlight === 0) {
      this.onSettled()
      if (this.drain !== null) this.reportDrained(this.drain)
    }
    this.schedulePump()
  }

  private ackedOn(lane: Lane<S>, flight: Flight): void {
    const wasFull = lane.acks.isFull
    const { underWay } = lane.acks
    const moved = lane.acks.acked(flight)
    if (moved > 0 || lane.halted) lane.course?.advance()
    if (moved > 0) this.hasMoved(lane, this.options.target.tellsPositions ? moved : underWay - lane.acks.underWay)
    if (moved > 0 && wasFull) this.laneReady(lane)
    // It may have let records gather meanwhile.
    if (this.options.target.packBatches > 1) lane.wake()
  }

  private passed(lane: Lane<S>): void {
    lane.course?.advance()
    this.saver.moved(1)
    const { stream, partition, cursor } = lane
    this.keeper.link?.passed?.({ stream: stream.name, partition }, cursor)
  }

  /** What an upstream keeps durably itself counts as delivered at once; the disk learns of it when it suits. */
  private hasMoved(lane: Lane<S>, acknowledgements: number): void {
    const { target, cursors, upstream } = this.options
    if (target.tellsPositions) cursors.note(upstream.name, lane.stream.name, lane.partition, lane.cursor)
    this.saver.moved(acknowledgements)
  }

  private reportDrained({ startedAtMs, deliveredBefore }: { startedAtMs: number; deliveredBefore: number }): void {
    if (this.lanes.some((lane) => lane.backlog > 0)) return
    this.drain = null
    const records = this.deliveredTotal - deliveredBefore
    const seconds = (this.options.clock.monotonicMs() - startedAtMs) / 1000
    if (records > this.window.size)
      this.options.logger.info('backlog drained', { records, seconds: seconds.toFixed(1) })
  }

  private linkLost(hungUp: boolean): void {
    if (hungUp)
      this.condemn(
        this.poison.hungUp(this.window.items(), ({ line }) => this.laneOf.get(line)!),
        'makes the far side close the connection',
      )
    this.window.clear()
    this.deadline.linkDown()
    this.forgotten.stop()
    for (const lane of this.lanes) {
      lane.held = this.options.target.tellsPositions
      lane.restart()
    }
    this.first = this.poison.mostSuspicious
    this.onSettled()
  }

  private condemn(verdict: Verdict<Lane<S>> | null, reason: string): void {
    if (verdict !== null && this.options.target.refusesBySilence)
      verdict.lane.condemn(verdict.flight, verdict.attempts, reason)
  }

  private ignored(lane: Lane<S>): void {
    this.condemn(this.poison.ignored(lane), 'is never acknowledged, although later ones are')
  }

  private giveUp(silentMs: number): void {
    for (const lane of this.lanes) if (lane.acks.overtaken !== undefined) this.ignored(lane)
    const seconds = (silentMs / 1000).toFixed(1)
    const message = `connected, but nothing was acknowledged for ${seconds} s with ${this.window.inFlight} in flight`
    this.keeper.reset(new SluiceError('NOT_REACHABLE', message))
  }

  private resendForgotten(lane: Lane<S>): void {
    const { stream, partition, cursor } = lane
    const message = `offset ${cursor} of ${stream.name}/${partition} was not acknowledged, later ones were`
    this.ignored(lane)
    this.keeper.reset(new SluiceError('NOT_REACHABLE', message))
  }

  private async windDown(): Promise<void> {
    if (this.keeper.link !== null && this.window.inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.onSettled = resolve
        this.options.clock.after(SETTLE_MS, resolve)
      })
      this.onSettled = () => {}
    }
    await this.keeper.stop()
  }
}
