// "Connected" is not "flowing": while something is in flight, an acknowledgement must come within the deadline, or the connection is
// given up. After a connection that brought no acknowledgement at all the patience doubles, so that a link too slow for one large record
// within the deadline gets there in the end instead of starting it over for ever.

import type { Clock } from '../base/clock.js'

/** Patience never grows beyond this many deadlines. */
const MAX_PATIENCE = 16

export class AckDeadline {
  private lastProgressMs = 0
  private waiting = false
  private provenOnThisLink = false
  private patience = 1
  private cancelTimer = (): void => {}

  /** @param onExpired Called with how long nothing has come, milliseconds. */
  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
    private readonly onExpired: (silentMs: number) => void,
  ) {}

  /** How long nothing has been acknowledged although something is in flight, milliseconds. */
  get silentMs(): number {
    return this.waiting ? this.clock.monotonicMs() - this.lastProgressMs : 0
  }

  /** True once this connection has brought an acknowledgement. */
  get proven(): boolean {
    return this.provenOnThisLink
  }

  linkUp(): void {
    this.provenOnThisLink = false
    this.waiting = false
  }

  /** Call after something was sent; only the first while nothing is in flight starts the deadline. */
  sent(): void {
    if (this.waiting) return
    this.waiting = true
    this.lastProgressMs = this.clock.monotonicMs()
    this.arm(this.timeoutMs * this.patience)
  }

  /** Something has come, if only a part of what is waited for. */
  progress(): void {
    this.lastProgressMs = this.clock.monotonicMs()
  }

  /** @param inFlight What is still to be acknowledged. */
  acked(inFlight: number): void {
    this.progress()
    this.provenOnThisLink = true
    this.patience = 1
    if (inFlight > 0) return
    this.waiting = false
    this.cancelTimer()
  }

  linkDown(): void {
    this.cancelTimer()
    this.waiting = false
  }

  private arm(delayMs: number): void {
    this.cancelTimer()
    this.cancelTimer = this.clock.after(Math.ceil(delayMs), () => {
      // Acks do not touch the timer: there are a hundred thousand of them a second.
      const leftMs = this.timeoutMs * this.patience - this.silentMs
      if (leftMs > 0) return this.arm(leftMs)
      const { silentMs } = this
      this.waiting = false
      if (!this.provenOnThisLink) this.patience = Math.min(MAX_PATIENCE, this.patience * 2)
      this.onExpired(silentMs)
    })
  }
}
