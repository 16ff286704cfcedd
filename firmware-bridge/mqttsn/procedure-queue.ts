// Procedures of one client that wait for the disk or the node: one after the other, in the order in which they were asked for, and not many.

/** That wait for those before them, inclusive; more are dropped, and the client asks again. */
const MAX_WAITING = 16

export class ProcedureQueue {
  private last: Promise<void> = Promise.resolve()
  private waiting = 0

  /** @param failed What fails is left to the client, or to the next sweep, to try again. */
  constructor(private readonly failed: (error: unknown) => void) {}

  /** @returns false when too many wait: it is not carried out. */
  run(procedure: () => Promise<void>): boolean {
    if (this.waiting >= MAX_WAITING) return false
    this.waiting += 1
    this.last = this.last
      .then(procedure)
      .catch(this.failed)
      .finally(() => {
        this.waiting -= 1
      })
    return true
  }
}
