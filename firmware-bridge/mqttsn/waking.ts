// A sleeping client that is awake for a moment: from its PINGREQ until everything that waited has been delivered to it. Created by SnClient.

import type { NodeSession } from './node-session.js'

const CHECK_MS = 20
/** Of a node that cannot say whether there is more. */
const SILENCE_MS = 250

export class Waking {
  private awake = false
  private timer: NodeJS.Timeout | undefined

  /** @param done All has been delivered. */
  constructor(
    private readonly session: NodeSession,
    private readonly done: () => void,
  ) {}

  get isAwake(): boolean {
    return this.awake
  }

  begin(): void {
    if (this.awake) return
    this.awake = true
    void this.session.open()
    this.check()
  }

  end(): void {
    clearTimeout(this.timer)
    this.awake = false
  }

  /** Perhaps that was the last. */
  check(): void {
    clearTimeout(this.timer)
    if (!this.awake) return
    if (this.session.isCaughtUp(performance.now(), SILENCE_MS)) this.done()
    else this.timer = setTimeout(() => this.check(), CHECK_MS).unref()
  }
}
