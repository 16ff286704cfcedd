// Logins are judged one at a time: the threads that hash passwords are the ones that sync the log, and each failure counts before the next
// login is begun, however many come at once. Used by file-auth.

import { BoundedQueue } from '../base/bounded-queue.js'

/** Each is of a connection, and of these there are no more. */
const MAX_WAITING = 100_000

export class LoginTurns {
  private readonly waiting = new BoundedQueue<() => void>(MAX_WAITING)
  private busy = false

  /** Resolves when it is this one's turn, until `end`; to false if too many wait. */
  async begin(): Promise<boolean> {
    if (this.busy)
      return new Promise((resolve) => {
        if (!this.waiting.push(() => resolve(true))) resolve(false)
      })
    this.busy = true
    return true
  }

  end(): void {
    // Still busy, for the one whose turn it is now.
    const next = this.waiting.shift()
    if (next === undefined) this.busy = false
    else next()
  }
}
