// So many bytes a day, for links that are paid by volume. A day is 24 hours of the node being switched on, since a gateway's clock cannot be
// trusted (D11): a clock that jumps neither grants nor takes anything, and a node that is off at night spends less per calendar day, never more.
// What is spent is kept ahead of being spent, a hundredth of the day's bytes at a time: a crash can cost that much, and grants nothing.

export interface AllowanceState {
  /** Powered-on time. */
  readonly startedAtMs: number
  readonly spentBytes: number
}

export interface DailyAllowanceOptions {
  readonly bytesPerDay: number
  /** Milliseconds the node has been on in all its life. */
  readonly poweredOnMs: () => number
  readonly state: AllowanceState | undefined
  readonly save: (state: AllowanceState) => void
}

export const DAY_MS = 24 * 60 * 60 * 1000
/** Of a day's bytes: what is kept ahead. */
const STEP_SHARE = 0.01

export class DailyAllowance {
  private startedAtMs: number
  private spentBytes: number
  private savedBytes: number

  constructor(private readonly options: DailyAllowanceOptions) {
    const nowMs = options.poweredOnMs()
    // A crash loses up to a minute of powered-on time: a start in the future is such a one, or a data directory that was set back.
    this.startedAtMs = Math.min(options.state?.startedAtMs ?? nowMs, nowMs)
    this.spentBytes = options.state?.spentBytes ?? 0
    this.savedBytes = this.spentBytes
  }

  get bytesPerDay(): number {
    return this.options.bytesPerDay
  }

  /** Of the running day. */
  get leftBytes(): number {
    this.turn()
    return Math.max(0, this.options.bytesPerDay - this.spentBytes)
  }

  /** Until the next day begins, milliseconds. */
  get endsInMs(): number {
    this.turn()
    return this.startedAtMs + DAY_MS - this.options.poweredOnMs()
  }

  /** Milliseconds until something may be sent; 0 if it may be now. */
  waitMs(): number {
    return this.leftBytes > 0 ? 0 : Math.max(1, this.endsInMs)
  }

  spend(bytes: number): void {
    this.spentBytes += bytes
    const step = this.options.bytesPerDay * STEP_SHARE
    if (this.spentBytes > this.savedBytes - step / 2) this.save(Math.ceil(this.spentBytes + step))
  }

  /** Call at an orderly end: then nothing that was not spent is lost. */
  settle(): void {
    this.save(this.spentBytes)
  }

  private turn(): void {
    if (this.options.poweredOnMs() - this.startedAtMs < DAY_MS) return
    this.startedAtMs = this.options.poweredOnMs()
    this.spentBytes = 0
    this.save(0)
  }

  private save(spentBytes: number): void {
    this.savedBytes = spentBytes
    this.options.save({ startedAtMs: this.startedAtMs, spentBytes })
  }
}

/** How long so many bytes have to wait for days to come, milliseconds. */
export function waitForDaysMs(bytes: number, { leftBytes, endsInMs, bytesPerDay }: DailyAllowance): number {
  if (bytes <= leftBytes) return 0
  return endsInMs + Math.floor((bytes - leftBytes - 1) / bytesPerDay) * DAY_MS
}
