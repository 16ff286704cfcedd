// One partition on its way to one upstream: what is next, what is under way, how far it has come, and what keeps it from going on.
// The sender takes shipments from its lanes in turn; a lane knows no connection.
//
// Whatever will not be sent (retention was faster, or the destination can never take it) is entered in the ledger first and only then
// passed over, in its place in the order: such a stretch is under way like any other until the ledger has it on disk.

import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { StreamReader } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import type { CursorPosition } from '../state/cursors.js'
import type { LedgerReason } from '../state/ledger.js'
import { AckLine, type Flight } from './ack-line.js'
import type { DeadLetters, Undeliverable } from './dead-letters.js'
import type { LiveFirst } from './live-first.js'
import { type LedgerPort, PassedOver } from './passed-over.js'
import { ReadAhead } from './read-ahead.js'
import type { TakesTurns } from './stream-turns.js'
import type { Shipment, Target } from './targets/target.js'

export interface LaneOptions<S extends Shipment> {
  readonly upstream: string
  readonly stream: StreamReader
  readonly partition: PartitionId
  readonly cursor: Offset
  readonly maxInFlight: number
  /** Of its stream: see stream-turns.ts. Default 1. */
  readonly weight?: number
  /** See TakesTurns. Default: the stream. */
  readonly turnsWith?: object
  readonly fetchBytes: number
  readonly target: Pick<Target<S>, 'pack' | 'packBatches' | 'messagesAtOnce' | 'gathering' | 'tellsPositions'>
  readonly ledger: LedgerPort
  /** For records that will never be delivered; left out: they are in the ledger only. */
  readonly deadLetters?: Pick<DeadLetters, 'put'>
  readonly clock: Clock
  readonly logger: Logger
  /** `next` may have something now. */
  readonly onReady: (lane: Lane<S>) => void
  /** The cursor has moved, for another reason than `acked`. */
  readonly onPassed: (lane: Lane<S>) => void
}

/** While so many shipments are under way, fewer records than this wait for the next acknowledgement, to go together. */
const UNGATHERED = 2
const GATHERED_RECORDS = 500
/** Refused shipments that are entered in the ledger together. */
const MAX_PASSED_AT_ONCE = 1000
/** How long a lane that cannot go on waits before it tries again. */
const RETRY_MS = 5_000

export class Lane<S extends Shipment> implements TakesTurns {
  readonly acks: AckLine
  /** Why it cannot go on, for people; null if it can. */
  problem: string | null = null
  queued = false
  /** Set where it shares its partition with another lane. */
  course: LiveFirst<S> | null = null
  /** Nothing more is sent for the time being; what is under way is waited for. */
  halted = false
  /** One past the last offset it sends. */
  until = Number.MAX_SAFE_INTEGER as Offset
  /** Until the destination has said where to go on, nothing is sent. */
  held: boolean
  /** The destination does not want it. */
  unwanted = false
  private readonly reader: ReadAhead<S>
  private readonly passedOver: PassedOver
  /** Until the ledger has what is passed over, nothing behind it is sent. */
  private passing = false
  /** What the far side has refused as often as it may. */
  private condemned: Undeliverable | null = null
  /** Records below it are sent one by one, since something among them is refused. */
  private singlyBelow = 0 as Offset
  /** On the monotonic clock: until then records that do not fill a shipment wait for more. */
  private lingerUntilMs: number | null = null
  private cancelRetry = (): void => {}
  private closed = false

  constructor(private readonly options: LaneOptions<S>) {
    const { stream, partition, cursor, maxInFlight, fetchBytes, target } = options
    this.held = target.tellsPositions
    this.acks = new AckLine(cursor, maxInFlight, target.messagesAtOnce)
    this.passedOver = new PassedOver({
      ...options,
      isClosed: () => this.closed,
      onProblem: (problem) => {
        this.problem = problem
      },
    })
    this.reader = new ReadAhead<S>(
      {
        stream,
        partition,
        fetchBytes,
        packBatches: target.packBatches,
        pack: (batches, from) =>
          target.pack({ stream: stream.name, partition }, batches, from, this.singlyBelow, this.until),
        until: () => this.until,
        mayGather: (records) =>
          this.lingers(records) ||
          (target.packBatches > 1 && records < GATHERED_RECORDS && this.acks.underWay >= UNGATHERED),
        onReady: () => options.onReady(this),
        onProblem: (error) => this.failed(error),
      },
      cursor,
    )
  }

  /** Records the destination could never take. */
  get rejected(): number {
    return this.passedOver.rejected
  }

  get stream(): StreamReader {
    return this.options.stream
  }

  get partition(): PartitionId {
    return this.options.partition
  }

  get turnsWith(): object {
    return this.options.turnsWith ?? this.options.stream
  }

  get weight(): number {
    return this.options.weight ?? 1
  }

  get preparing(): boolean {
    return this.reader.preparing && !this.isStopped && !this.acks.isFull
  }

  get cursor(): Offset {
    return this.acks.cursor
  }

  /** Stands for its partition: all there is of it, or what is new of it. */
  get leads(): boolean {
    return this.course === null || this.course.live === this
  }

  /** What is acknowledged of its partition. */
  get position(): CursorPosition {
    return this.course?.position ?? { next: this.acks.cursor, acked: [] }
  }

  get highWatermark(): Offset {
    return this.options.stream.highWatermark(this.options.partition)
  }

  get backlog(): number {
    const { stream, partition } = this.options
    if (this.unwanted) return 0
    const end = Math.min(this.highWatermark, this.until)
    return Math.max(0, end - Math.max(this.acks.cursor, stream.logStartOffset(partition)))
  }

  /** Of the oldest record not acknowledged, if it is known. */
  get oldestTimestampMs(): number | null {
    if (this.backlog === 0 || this.overtaken) return null
    return (this.acks.oldest ?? this.reader.peek())?.timestampMs ?? null
  }

  /** Begins to read ahead; call once. */
  open(): void {
    this.recover()
  }

  /** Call when the stream has changed. */
  wake(): void {
    if (this.closed || this.problem !== null) return
    this.reader.read()
    if (this.overtaken) this.options.onReady(this)
  }

  /** The next shipment to send, or undefined if there is none now. Follow it with `sent`. */
  next(): S | undefined {
    if (this.isStopped || this.acks.isFull) return undefined
    if (this.overtaken) {
      this.passRetention()
      return undefined
    }
    let shipment = this.reader.peek()
    while (shipment?.known && this.reader.nextKnown === this.reader.position && !this.acks.isFull) {
      this.passKnown(shipment)
      shipment = this.reader.peek()
    }
    if (this.problem !== null || this.acks.isFull) return undefined
    if (this.reader.nextKnown > this.reader.position) {
      this.passGap()
      return undefined
    }
    if (shipment === undefined || this.refusalOf(shipment) === null) return shipment
    this.passRejected(shipment)
    return undefined
  }

  /**
   * The far side refuses what is in this flight, however often it is sent: it is passed over, or, where it holds several records, they are sent
   * one by one from now on. Call before `restart`.
   */
  condemn({ offset, nextOffset }: Flight, attempts: number, reason: string): void {
    if (nextOffset - offset > 1) this.singlyBelow = nextOffset
    else this.condemned = { offset, nextOffset, attempts, reason }
  }

  /** Call when what `next` has shown was sent. */
  sent(shipment: S): Flight {
    this.reader.take(shipment)
    const { offset, nextOffset, timestampMs, messages } = shipment
    return this.acks.sent(offset, nextOffset, timestampMs, messages)
  }

  /**
   * The connection is lost. What was under way goes one by one the next time, where several go together else: a link that never lasts for all of them gets
   * somewhere, and one among them on which it was ended is found.
   */
  lost(): void {
    if (this.options.target.messagesAtOnce > 1) this.singlyBelow = Math.max(this.singlyBelow, this.acks.end) as Offset
    this.restart()
  }

  /** What was under way is lost, or is to be sent again from an earlier offset. */
  restart(from: Offset = this.acks.cursor): void {
    this.acks.restart(from)
    this.reader.restart(from)
    this.recover()
  }

  /** Sends up to `until`, exclusive; call `restart` where it is less than before. */
  extend(until: Offset): void {
    this.until = until
    this.wake()
  }

  close(): void {
    this.closed = true
    this.cancelRetry()
    this.reader.restart(this.acks.cursor)
  }

  /** Whether so few records wait for more to come. */
  private lingers(records: number): boolean {
    const { gathering } = this.options.target
    if (gathering === undefined || gathering.lingerMs === 0) return false
    const { clock } = this.options
    const nowMs = clock.monotonicMs()
    if (records < gathering.records && this.lingerUntilMs === null) {
      this.lingerUntilMs = nowMs + gathering.lingerMs
      clock.after(gathering.lingerMs, () => {
        if (this.lingerUntilMs !== null) this.lingerUntilMs = 0
        this.wake()
      })
    }
    if (records < gathering.records && nowMs < this.lingerUntilMs!) return true
    this.lingerUntilMs = null
    return false
  }

  /** Whatever there is to send. */
  private get isStopped(): boolean {
    return this.held || this.halted || this.passing || this.closed || this.problem !== null
  }

  private get overtaken(): boolean {
    const { position } = this.reader
    return position < this.until && position < this.options.stream.logStartOffset(this.options.partition)
  }

  private passKnown(shipment: S): void {
    const moved = this.acks.acked(this.sent(shipment))
    if (moved > 0) this.options.onPassed(this)
  }

  private passRetention(): void {
    const { stream, partition } = this.options
    const first = this.reader.position
    const next = Math.min(stream.logStartOffset(partition), this.until) as Offset
    this.reader.restart(next)
    this.pass(first, next, 'retention')
    this.options.logger.warn('retention was faster than the link: records are lost to this upstream, see the ledger', {
      ...this.names(),
      first_offset: first,
      last_offset: next - 1,
    })
  }

  /** Damage has taken offsets out of the log; the log has entered them for everyone, and if not, they are entered here. */
  private passGap(): void {
    const { position } = this.reader
    this.reader.passGap()
    this.pass(position, this.reader.position, 'corruption')
  }

  private refusalOf(shipment: S): Undeliverable | null {
    const { condemned } = this
    if (condemned?.offset === shipment.offset) return condemned
    const { offset, nextOffset, rejected } = shipment
    return rejected === undefined ? null : { offset, nextOffset, attempts: 0, reason: rejected }
  }

  private passRejected(first: S): void {
    const letters: Undeliverable[] = []
    for (
      let one: S | undefined = first;
      one !== undefined && letters.length < MAX_PASSED_AT_ONCE;
      one = this.reader.peek()
    ) {
      const letter = this.refusalOf(one)
      if (letter === null) break
      this.reader.take(one)
      letters.push(letter)
    }
    const nextOffset = letters.at(-1)!.nextOffset
    this.pass(first.offset, nextOffset, 'rejected', letters)
    this.options.logger.warn('records cannot be sent to this upstream and are passed over, see the ledger', {
      ...this.names(),
      first_offset: first.offset,
      last_offset: nextOffset - 1,
      reason: `the record at offset ${first.offset} ${letters[0].reason}`,
    })
  }

  private pass(offset: Offset, nextOffset: Offset, reason: LedgerReason, letters: readonly Undeliverable[] = []): void {
    this.passing = true
    const flight = this.acks.sent(offset, nextOffset, this.options.clock.wallMs())
    void this.passedOver.enter({ offset, nextOffset, reason, letters }).then((entered) => {
      if (!entered) return
      this.passing = false
      const moved = this.acks.acked(flight)
      if (moved > 0) this.options.onPassed(this)
      this.wake()
      this.options.onReady(this)
    })
  }

  private failed(error: unknown): void {
    if (this.closed || (error instanceof SluiceError && error.code === 'SHUTTING_DOWN')) return
    const problem = this.describe(error)
    if (this.problem !== problem)
      this.options.logger.error('a partition cannot be forwarded', { ...this.names(), problem })
    this.problem = problem
    this.cancelRetry()
    if (this.beyondEnd) return
    this.cancelRetry = this.options.clock.after(RETRY_MS, () => {
      this.problem = null
      this.reader.read()
      this.options.onReady(this)
    })
  }

  private describe(error: unknown): string {
    if (!this.beyondEnd) return messageOf(error)
    return (
      `its cursor (${this.cursor}) lies beyond the end of the log (${this.highWatermark}): the log was replaced; ` +
      'say where to go on with: sluice upstreams NAME rewind'
    )
  }

  private recover(): void {
    this.cancelRetry()
    this.problem = null
    if (this.beyondEnd) this.failed(null)
    else this.wake()
  }

  /** Reported, never guessed around: what is written there later will be other records. Only a rewind leads out. */
  private get beyondEnd(): boolean {
    return this.cursor > this.highWatermark
  }

  private names(): { stream: string; partition: number } {
    return { stream: this.options.stream.name, partition: this.options.partition }
  }
}
