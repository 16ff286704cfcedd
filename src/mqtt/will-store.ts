// Wills of the connections there are, in the state store, so that a node that was killed publishes them when it starts again. Which
// connection a stored will belongs to is kept in memory: after a takeover the older connection must not delete the newer one's.

import type { StateTable } from '../state/types.js'
import type { ConnectPacket } from './connect-packet.js'

export type Will = NonNullable<ConnectPacket['will']>

export class WillStore {
  private readonly owners = new Map<object, string>()
  private readonly current = new Map<string, object>()
  private pending: Promise<void> = Promise.resolve()

  constructor(private readonly table: StateTable<Will>) {}

  /** Wills of connections that a node before this one never closed. */
  async leftOver(): Promise<readonly { clientId: string; will: Will }[]> {
    const found: { clientId: string; will: Will }[] = []
    for await (const [clientId, will] of this.table.entries()) found.push({ clientId, will })
    return found
  }

  forget(clientId: string): Promise<void> {
    return this.table.delete(clientId)
  }

  /** Resolves once the will is durable. */
  keep(connection: object, clientId: string, will: Will): Promise<void> {
    this.owners.set(connection, clientId)
    this.current.set(clientId, connection)
    return this.table.put(clientId, will)
  }

  /** The will of this connection has been published, or is not to be. */
  drop(connection: object): void {
    const clientId = this.owners.get(connection)
    if (clientId === undefined) return
    this.owners.delete(connection)
    if (this.current.get(clientId) !== connection) return
    this.current.delete(clientId)
    // Not waited for: a will that is left behind by a crash just now is published once more.
    this.pending = Promise.all([this.pending, this.table.delete(clientId).catch(() => {})]).then(() => {})
  }

  /** Resolves when nothing is being written any more. */
  settled(): Promise<void> {
    return this.pending
  }
}
