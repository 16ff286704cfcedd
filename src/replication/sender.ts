// Sends the partitions of one upstream: keeps the connection, hears the acknowledgements, saves the cursors, and decides what a lost connection
// means. Its lanes are in forwarded-lanes.ts, what goes next in pump.ts. The same for every kind of target.
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
import type { Flight } from './ack-line.js'
import { Budget } from './budget.js'
import { CursorSaver } from './cursor-saver.js'
import type { DeadLetters } from './dead-letters.js'
import { ForgottenWatch } from './forgotten-watch.js'
import { ForwardedLanes, MAX_LANES } from './forwarded-lanes.js'
import type { Lane } from './lane.js'
import { LinkKeeper } from './link-keeper.js'
import { makeLanes } from './make-lanes.js'
import type { LedgerPort } from './passed-over.js'
import { PoisonWatch, type Verdict } from './poison-watch.js'
import { Pump } from './pump.js'
import { RateMeter } from './rate-meter.js'
import { SendRoom } from './send-room.js'
import type { LanePosition, Shipment, Target } from './targets/target.js'
import type { UpstreamOptions } from './upstream-options.js'

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
/** Where the destination knows better, saved cursors only tell retention what is spent. */
const MAX_UNSAVED_HINTS = 1_000_000
/** How often it is looked for what has waited too long to be new. */
const LOOK_EVERY_MS = 1_000
export class Sender<S extends Shipment> {
  readonly keeper: LinkKeeper<S>
  readonly deadline: AckDeadline
  readonly delivered: RateMeter
  readonly arrived: RateMeter
  readonly budget: Budget
  deliveredTotal = 0
  paused: boolean
  private readonly poison: PoisonWatch<Lane<S>>
  private readonly forgotten: ForgottenWatch<Lane<S>>
  private readonly room: SendRoom
  private readonly forwarded: ForwardedLanes<S>
  private readonly pump: Pump<S>
  private readonly saver: CursorSaver<Lane<S>>
  private closing = false
  private onSettled = (): void => {}
  private cancelLook = (): void => {}
  /** Pauses, resumptions and the stop take place one after the other. */
  private switching: Promise<void> = Promise.resolve()
  private drain: { readonly startedAtMs: number; readonly deliveredBefore: number } | null = null

  constructor(private readonly options: SenderOptions<S>) {
    const { upstream, target, clock, logger, random } = options
    this.paused = options.paused ?? false
    this.room = new SendRoom(upstream.maxInFlight, target)
    this.poison = new PoisonWatch(this.room.window.size, upstream.maxAttempts ?? DEFAULT_MAX_ATTEMPTS)
    this.delivered = new RateMeter(clock)
    this.arrived = new RateMeter(clock)
    this.forwarded = new ForwardedLanes(this.arrived)
    this.deadline = new AckDeadline(clock, upstream.ackTimeoutMs, (silentMs) => this.giveUp(silentMs))
    this.budget = options.budget ?? new Budget(clock, upstream)
    this.pump = new Pump({
      ...{ window: this.room.window, budget: this.budget, clock },
      link: () => (this.paused || this.closing ? null : this.keeper.link),
      hasRoom: () => this.room.has(this.poison.limit, this.saver.unsaved),
      hasTime: () => this.room.isWellFilled,
      onSent: () => this.deadline.sent(),
    })
    const { reconnectMinMs, reconnectMaxMs } = upstream
    this.keeper = new LinkKeeper<S>({
      ...{ target, clock, logger, random, reconnectMinMs, reconnectMaxMs },
      lanes: () => this.forwarded.offered(),
      onPositions: (positions) => this.goOnAt(positions),
      onUp: () => this.linkUp(),
      onAck: (slot) => this.acked(slot),
      onProgress: () => {
        this.room.answer()
        this.deadline.progress()
        this.pump.schedule()
      },
      onRoom: () => this.pump.schedule(),
      onLost: (hungUp) => this.linkLost(hungUp),
    })
    this.forgotten = new ForgottenWatch(clock, upstream.ackTimeoutMs, this.lanes, (lane) => this.resendForgotten(lane))
    this.saver = new CursorSaver<Lane<S>>(
      {
        lanes: this.leading,
        save: (lane, { next, acked }) =>
          options.cursors.set(upstream.name, lane.stream.name, lane.partition, next, acked),
        ...{ clock, logger },
        maxUnsaved: target.tellsPositions ? MAX_UNSAVED_HINTS : this.room.maxUnsaved,
        onSaved: () => this.pump.schedule(),
        delayMs: upstream.cursorSaveDelayMs ?? DEFAULT_CURSOR_SAVE_DELAY_MS,
      },
      new Map(),
    )
    for (const stream of options.streams) this.enter(stream)
  }

  get lanes(): readonly Lane<S>[] {
    return this.forwarded.all
  }

  /** One of each partition. */
  get leading(): readonly Lane<S>[] {
    return this.forwarded.leading
  }

  /** Running average of bytes per record; null before the first was sent. */
  get averageBytes(): number | null {
    return this.pump.averageBytes
  }

  get inFlight(): number {
    return this.room.window.inFlight
  }

  /** Why what is acknowledged cannot be kept, for people; null if it can. */
  get problem(): string | null {
    return this.options.target.tellsPositions ? null : this.saver.problem
  }

  start(): void {
    const { logger } = this.options
    this.forwarded.followAll()
    for (const lane of this.lanes) lane.open()
    // Retention asks the cursors what is still needed: a new upstream shall be among them from the start.
    this.saver.flush().catch((error) => logger.warn('cursors cannot be saved yet', { reason: messageOf(error) }))
    if (this.options.upstream.order === 'live_first') this.lookLater()
    if (!this.paused) this.keeper.start()
  }

  /** Sends one more stream, or what has been added to it. Call after `start`. */
  add(stream: StreamReader): void {
    if (this.closing) return
    const lanes = this.enter(stream)
    if (lanes.length === 0) return
    this.forwarded.follow(stream)
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
    for (const lane of this.forwarded.remove(stream)) {
      cursors.note(upstream.name, formerName, lane.partition, lane.cursor)
      if (this.pump.first === lane) this.pump.first = null
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
      this.pump.schedule()
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
    this.forwarded.close()
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
    const before = this.forwarded.of(stream).filter((lane) => lane.leads).length
    const { lanes, onDisk } = makeLanes<S>({
      ...this.options,
      stream,
      from: before,
      maxLanes: MAX_LANES - this.lanes.length,
      onReady: (lane) => this.pump.laneReady(lane),
      onPassed: (lane) => this.passed(lane),
    })
    this.forwarded.add(stream, lanes)
    for (const [lane, position] of onDisk) this.saver.onDisk(lane, position)
    return lanes
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

  private goOnAt(positions: readonly LanePosition[]): void {
    for (const position of positions) {
      const { next } = position
      const lane = this.forwarded.at(position)
      if (lane === undefined) continue
      lane.unwanted = next === null
      lane.held = next === null
      if (next === null) continue
      const moved = Math.abs(next - lane.cursor)
      lane.restart(next)
      this.hasMoved(lane, moved)
      this.pump.laneReady(lane)
    }
  }

  private linkUp(): void {
    this.deadline.linkUp()
    this.lookForBacklog()
    this.forgotten.start()
    const waits = this.lanes.some((lane) => lane.backlog > 0)
    const drain = { startedAtMs: this.options.clock.monotonicMs(), deliveredBefore: this.deliveredTotal }
    this.drain = waits ? drain : null
    this.pump.schedule()
  }

  private acked(slot: number): void {
    const flight = this.room.window.release(slot)
    if (flight === undefined) return
    const records = flight.nextOffset - flight.offset
    this.deliveredTotal += records
    this.delivered.add(records)
    if (!this.deadline.proven) this.keeper.proven()
    this.deadline.acked(this.room.window.inFlight)
    this.poison.acked(flight.messages)
    const lane = this.forwarded.withLine(flight.line)
    if (lane !== undefined) this.ackedOn(lane, flight)
    if (this.room.window.inFlight === 0) {
      this.onSettled()
      if (this.drain !== null) this.reportDrained(this.drain)
    }
    this.pump.schedule()
  }

  private ackedOn(lane: Lane<S>, flight: Flight): void {
    const wasFull = lane.acks.isFull
    const { underWay } = lane.acks
    const moved = lane.acks.acked(flight)
    if (moved > 0 || lane.halted) lane.course?.advance()
    if (moved > 0) this.hasMoved(lane, this.options.target.tellsPositions ? moved : underWay - lane.acks.underWay)
    if (moved > 0 && wasFull) this.pump.laneReady(lane)
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
    if (records > this.room.window.size)
      this.options.logger.info('backlog drained', { records, seconds: seconds.toFixed(1) })
  }

  private linkLost(hungUp: boolean): void {
    if (hungUp)
      this.condemn(
        this.poison.hungUp(this.room.window.items(), ({ line }) => this.forwarded.withLine(line)!),
        'makes the far side close the connection',
      )
    this.room.clear()
    this.deadline.linkDown()
    this.forgotten.stop()
    for (const lane of this.lanes) {
      lane.held = this.options.target.tellsPositions
      lane.lost()
    }
    this.pump.first = this.poison.mostSuspicious
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
    const message = `connected, but nothing was acknowledged for ${seconds} s with ${this.room.window.inFlight} in flight`
    this.keeper.reset(new SluiceError('NOT_REACHABLE', message))
  }

  private resendForgotten(lane: Lane<S>): void {
    const { stream, partition, cursor } = lane
    const message = `offset ${cursor} of ${stream.name}/${partition} was not acknowledged, later ones were`
    this.ignored(lane)
    this.keeper.reset(new SluiceError('NOT_REACHABLE', message))
  }

  private async windDown(): Promise<void> {
    if (this.keeper.link !== null && this.room.window.inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.onSettled = resolve
        this.options.clock.after(SETTLE_MS, resolve)
      })
      this.onSettled = () => {}
    }
    await this.keeper.stop()
  }
}
