// Takes what other nodes forward to this one, over the connections that the MQTT front hands on (node-protocol.ts has the messages). One
// Receiver per node, one Reception per connection; of one node the latest connection counts.

import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { Mirrors } from '../log/mirrors.js'
import type { Offset } from '../record/record.js'
import type { Ledger } from '../state/ledger.js'
import type { Origins } from './origins.js'
import { Reception, type ReceptionPeer } from './reception.js'

export interface ReceiverOptions {
  readonly nodeId: string
  readonly mirrors: Mirrors
  readonly origins: Origins
  readonly ledger: Pick<Ledger, 'add'>
  /** Takes over the committed offset of a group. Durable when it resolves. */
  readonly commitGroup: (
    group: string,
    stream: string,
    partition: number,
    offset: Offset,
    metadata: string,
  ) => Promise<void>
  /** Largest packet with a frame, inclusive. */
  readonly maxFrameBytes: number
  readonly clock: Clock
  readonly logger: Logger
}

export class Receiver {
  /** Names of mirrors that turned out to be of something else: the next `open` begins a new incarnation. */
  readonly diverged = new Set<string>()
  private readonly connected = new Map<string, Reception>()

  constructor(readonly options: ReceiverOptions) {}

  get maxFrameBytes(): number {
    return this.options.maxFrameBytes
  }

  /** A connection on which something for other nodes was published. */
  open(peer: ReceptionPeer): Reception {
    return new Reception(peer, this)
  }

  /** A connection was admitted. The one before ends: of a node and its copy only one may go on. */
  arrived(nodeId: string, reception: Reception): void {
    const before = this.connected.get(nodeId)
    this.connected.set(nodeId, reception)
    this.options.origins.connected(nodeId, 1)
    before?.supersede()
  }

  left(nodeId: string, reception: Reception): void {
    this.options.origins.connected(nodeId, -1)
    if (this.connected.get(nodeId) === reception) this.connected.delete(nodeId)
  }
}
