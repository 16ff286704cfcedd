// What a client of the gateway asks of it.

import type { Logger } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import type { Device } from '../devices/device-registry.js'
import type { ClientStore } from './client-store.js'
import type { SnMessage } from './messages.js'
import type { SnClient } from './sn-client.js'

export interface SnClientHost {
  readonly node: BridgeNode
  readonly store: ClientStore
  readonly line: string
  readonly retryMs: number
  readonly maxRetries: number
  readonly maxMessageBytes: number
  readonly maxTopicIds: number
  /** Clients speak under the seal. */
  readonly authenticated: boolean
  /** Topic name, without the prefix, by predefined id. */
  readonly predefined: ReadonlyMap<number, string>
  readonly logger: Logger
  nowMs(): number
  send(client: SnClient, message: SnMessage): void
  heard(device: Device): void
  /** Its session is over and forgotten. */
  removed(client: SnClient): void
  /** A message for it was too large or its topic could not be named. */
  undeliverable(): void
}
