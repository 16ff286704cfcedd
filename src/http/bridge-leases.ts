// Which process has the name of a bridge. Two with one name would give out the numbers of each other's sessions; so the first that comes has it, for as
// long as a connection of its own says that it is there. Kept in memory: after a restart of the node a bridge comes again.

import { Duplex } from 'node:stream'
import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'

/** A bridge that has not been heard for so long may be replaced: its machine has gone without a word. */
const SILENT_MS = 15_000
/** Inclusive. */
export const MAX_LEASES = 1000

interface Lease {
  /** Of the process: another one after each start. */
  readonly run: string
  readonly connection: Duplex
  heardMs: number
  /** How often it has been heard: of a process that is alive this rises. */
  pulses: number
}

export class BridgeLeases {
  private readonly leases = new Map<string, Lease>()

  constructor(private readonly clock: Clock) {}

  /**
   * @returns the node's end of a connection: the name is held until it closes, or nothing has come over it for SILENT_MS. What comes goes back.
   * @throws SluiceError FENCED_INSTANCE_ID when another process has the name; TOO_MANY_REQUESTS.
   */
  take(bridge: string, run: string): Duplex {
    this.check(bridge, run)
    const former = this.leases.get(bridge)
    if (former === undefined && this.leases.size >= MAX_LEASES)
      throw new SluiceError('TOO_MANY_REQUESTS', `${MAX_LEASES} bridges are connected to this node`)
    const connection = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        lease.heardMs = this.clock.monotonicMs()
        lease.pulses += 1
        // For one that does not read, nothing gathers here.
        if (connection.readableLength === 0) connection.push(chunk)
        done()
      },
      // The process has closed its end.
      final(done) {
        done()
        connection.destroy()
      },
    })
    const lease: Lease = { run, connection, heardMs: this.clock.monotonicMs(), pulses: 0 }
    this.leases.set(bridge, lease)
    connection.once('close', () => {
      if (this.leases.get(bridge) === lease) this.leases.delete(bridge)
    })
    former?.connection.destroy()
    return connection
  }

  /** @throws SluiceError FENCED_INSTANCE_ID when another process has the name. */
  check(bridge: string, run: string): void {
    const lease = this.leases.get(bridge)
    if (lease === undefined || lease.run === run) return
    if (this.clock.monotonicMs() - lease.heardMs > SILENT_MS) return
    throw new SluiceError(
      'FENCED_INSTANCE_ID',
      `another process is connected to the node as bridge ${bridge}: stop it, or start this one with a --name of its own`,
      { bridge, pulses: lease.pulses },
    )
  }
}
