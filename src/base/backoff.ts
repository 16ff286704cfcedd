// Exponential backoff with full jitter: the delay is drawn evenly from [0, ceiling], and the ceiling doubles up to a maximum, so
// that a thousand gateways whose link returns at once do not knock together.

export interface BackoffOptions {
  /** Ceiling of the first delay, milliseconds. */
  readonly baseMs: number
  /** The ceiling never grows beyond this, milliseconds. */
  readonly maxMs: number
}

export class Backoff {
  private attempts = 0

  /** @param random Draws from [0, 1). */
  constructor(
    private readonly options: BackoffOptions,
    private readonly random: () => number = Math.random,
  ) {}

  /** The delay before the next attempt, milliseconds; every call counts as one failure. */
  nextMs(): number {
    const ceilingMs = Math.min(this.options.maxMs, this.options.baseMs * 2 ** this.attempts)
    if (ceilingMs < this.options.maxMs) this.attempts += 1
    return Math.round(this.random() * ceilingMs)
  }

  /** Call when an attempt has succeeded. */
  reset(): void {
    this.attempts = 0
  }
}
