// What is kept of each client across restarts, a row per client in a table of the node: a client on UDP does not notice that the gateway was away, so it
// must find its session, its topic ids and its will as they were. Subscriptions and what is under way lie in the node's own session of it.

import type { DurableTable } from '../devices/bridge-node.js'
import type { Endpoint } from './endpoint.js'
import type { Habits } from './resend-watch.js'
import type { FilterRow } from './subscriptions.js'
import type { TopicIdRow } from './topic-ids.js'

export interface StoredWill {
  /** Without the prefix of the device. */
  readonly topicName: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** `gone`: disconnected, or not heard of in time; the session waits for it, unless it is a clean one. */
export type ClientState = 'active' | 'asleep' | 'gone'

export interface StoredClient {
  readonly state: ClientState
  readonly endpoint: Endpoint
  readonly keepaliveSeconds: number
  readonly sleepSeconds: number
  readonly clean: boolean
  readonly will: StoredWill | null
  /** It has a session at the node. */
  readonly hasSession: boolean
  readonly filters: readonly FilterRow[]
  readonly topicIds: readonly TopicIdRow[]
  /** Predefined ids it has named itself: only these are used towards it. */
  readonly predefined: readonly number[]
  /** See ResendWatch. */
  readonly habits: Habits
  /** By which a device with a key knows its session, in hex. */
  readonly seal?: string
}

/** Whose row it is, and what it says now. */
export interface StoredClientSource {
  readonly clientId: string
  row(): StoredClient
}

export class ClientStore {
  /** Asked for and not begun. */
  private readonly saving = new Map<string, Promise<void>>()

  /** @param line Name of the [[firmware]] entry: clients of two entries are different ones. */
  constructor(
    private readonly table: DurableTable<StoredClient>,
    private readonly line: string,
  ) {}

  async *all(): AsyncGenerator<readonly [clientId: string, row: StoredClient]> {
    const prefix = this.keyOf('')
    for await (const [key, row] of this.table.entries(prefix)) yield [key.slice(prefix.length), row]
  }

  /** Durable when it resolves: the client as it is at the end of this turn of the event loop, one write for all who ask in it. */
  save(client: StoredClientSource): Promise<void> {
    const { clientId } = client
    let saving = this.saving.get(clientId)
    if (saving === undefined) {
      saving = new Promise((resolve, reject) =>
        setImmediate(() => {
          this.saving.delete(clientId)
          this.table.put(this.keyOf(clientId), client.row()).then(resolve, reject)
        }),
      )
      this.saving.set(clientId, saving)
    }
    return saving
  }

  async remove(clientId: string): Promise<void> {
    // A save that was asked for would bring it back.
    await this.saving.get(clientId)?.catch(() => {})
    await this.table.delete(this.keyOf(clientId))
  }

  private keyOf(clientId: string): string {
    return `${this.line}/${clientId}`
  }
}
