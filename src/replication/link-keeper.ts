// Keeps one connection to a target: opens it, and after its end opens the next, with jittered, growing pauses. A connection that was
// accepted but never brought anything does not make the pauses short again: a broker that closes on us each time is not hammered.

import { Backoff } from '../base/backoff.js'
import type { Clock } from '../base/clock.js'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Link, LinkEvents, Shipment, Target } from './targets/target.js'

export interface LinkKeeperOptions<S extends Shipment> {
  readonly target: Target<S>
  readonly clock: Clock
  readonly logger: Logger
  readonly random: () => number
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly lanes: LinkEvents['lanes']
  readonly onPositions: LinkEvents['onPositions']
  readonly onUp: () => void
  readonly onAck: (slot: number) => void
  readonly onProgress: () => void
  readonly onRoom: () => void
  /** After a connection that was up. `hungUp`: the far side has closed it. */
  readonly onLost: (hungUp: boolean) => void
}

/** A connection that has lasted so long was a good one, even if nothing had to be sent. */
const STEADY_MS = 30_000

export class LinkKeeper<S extends Shipment> {
  /** `off` before start and after stop. */
  state: 'off' | 'connecting' | 'up' | 'waiting' = 'off'
  /** Set while the connection is up. */
  link: Link<S> | null = null
  /** Wall-clock time. */
  connectedSinceMs: number | null = null
  /** Of the last connection or attempt that failed; null once one has worked. */
  lastError: SluiceError | null = null
  /** Where the connection or attempt goes, or the last one went: the target's is that of the next one by the time it fails. */
  private url = ''
  private upAtMs = 0
  private attemptAtMs = 0
  private wanted = false
  private dialing: Link<S> | null = null
  private readonly backoff: Backoff
  private cancelTimer = (): void => {}
  private stopped = (): void => {}

  constructor(private readonly options: LinkKeeperOptions<S>) {
    const { reconnectMinMs, reconnectMaxMs, random } = options
    this.backoff = new Backoff({ baseMs: reconnectMinMs, maxMs: reconnectMaxMs }, random)
  }

  /** Until the next attempt; undefined unless waiting for one. */
  get nextAttemptInMs(): number | undefined {
    if (this.state !== 'waiting') return undefined
    return Math.max(0, Math.round(this.attemptAtMs - this.options.clock.monotonicMs()))
  }

  start(): void {
    if (this.wanted) return
    this.wanted = true
    this.connect()
  }

  /** Says goodbye and resolves when the connection has ended. */
  async stop(): Promise<void> {
    if (!this.wanted) return
    this.wanted = false
    this.cancelTimer()
    const open = this.link ?? this.dialing
    if (open === null) {
      this.state = 'off'
      return
    }
    await new Promise<void>((resolve) => {
      this.stopped = resolve
      if (this.link === null) open.reset(new SluiceError('SHUTTING_DOWN', 'no longer wanted'))
      else open.end()
    })
  }

  /** Gives up the connection; the next one is tried after a pause. */
  reset(reason: SluiceError): void {
    const open = this.link ?? this.dialing
    open?.reset(reason)
  }

  /** The far side has acknowledged something: the next pause is a short one. */
  proven(): void {
    this.backoff.reset()
    this.lastError = null
  }

  private connect(): void {
    const { target, clock, logger } = this.options
    this.state = 'connecting'
    this.url = target.url
    logger.debug('connecting', { url: this.url })
    try {
      const link: Link<S> = target.connect({
        onUp: () => this.up(link),
        lanes: this.options.lanes,
        onPositions: this.options.onPositions,
        onAck: this.options.onAck,
        onProgress: this.options.onProgress,
        onRoom: this.options.onRoom,
        onDown: (reason, hungUp = false) => this.down(reason, hungUp),
      })
      this.dialing = link
    } catch (error) {
      const reason =
        error instanceof SluiceError ? error : new SluiceError('NOT_REACHABLE', messageOf(error), {}, error)
      this.cancelTimer = clock.after(0, () => this.down(reason))
    }
  }

  private up(link: Link<S>): void {
    const { clock, logger } = this.options
    this.dialing = null
    this.link = link
    this.state = 'up'
    this.upAtMs = clock.monotonicMs()
    this.connectedSinceMs = clock.wallMs()
    logger.info('connected', { url: this.url })
    this.options.onUp()
  }

  private down(reason: SluiceError, hungUp = false): void {
    const { clock, logger } = this.options
    const wasUp = this.link !== null
    this.link = null
    this.dialing = null
    this.connectedSinceMs = null
    if (wasUp && clock.monotonicMs() - this.upAtMs >= STEADY_MS) this.backoff.reset()
    if (wasUp) this.options.onLost(hungUp && this.wanted)
    if (!this.wanted) {
      this.state = 'off'
      logger.info('disconnected', { url: this.url })
      this.stopped()
      return
    }
    const delayMs = this.backoff.nextMs()
    this.state = 'waiting'
    this.attemptAtMs = clock.monotonicMs() + delayMs
    // An outage is one line, not one per attempt.
    const news = wasUp || this.lastError?.message !== reason.message
    const fields = { url: this.url, reason: reason.message, next_attempt_in_ms: delayMs }
    if (news)
      logger.warn(wasUp ? 'connection lost; what is not acknowledged will be sent again' : 'cannot connect', fields)
    else logger.debug('cannot connect', fields)
    this.lastError = reason
    this.cancelTimer = clock.after(delayMs, () => this.connect())
  }
}
