// Those who wait for the same thing to happen next.

export class Waiters {
  private wakers: (() => void)[] = []

  /** Resolves at the next `wake`. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.wakers.push(resolve))
  }

  /** Those who come while they are woken wait for the next time. */
  wake(): void {
    if (this.wakers.length === 0) return
    const { wakers } = this
    this.wakers = []
    for (const wake of wakers) wake()
  }
}
