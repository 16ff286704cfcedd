// One acknowledgement that never comes, while later ones of the same partition do, would hold up that partition for ever and yet pass
// every deadline: so a record that has been overtaken for a whole deadline is reported. Only brokers that acknowledge out of order
// can do this [MQTT-4.6.0-2 forbids it], and clustered ones do.

import type { Clock } from '../base/clock.js'
import type { AckLine } from './ack-line.js'

export class ForgottenWatch<L extends { readonly acks: AckLine }> {
  private cancel = (): void => {}

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
    private readonly lanes: readonly L[],
    private readonly onForgotten: (lane: L) => void,
  ) {}

  /** Call when a connection is up. */
  start(): void {
    const before = new Set(this.lanes.map(({ acks }) => acks.overtaken))
    this.cancel = this.clock.after(this.timeoutMs, () => {
      const forgotten = this.lanes.find(({ acks }) => acks.overtaken !== undefined && before.has(acks.overtaken))
      if (forgotten === undefined) this.start()
      else this.onForgotten(forgotten)
    })
  }

  stop(): void {
    this.cancel()
  }
}
