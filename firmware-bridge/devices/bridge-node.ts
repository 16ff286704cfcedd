// What the bridge needs of a node. A RunningNode of this process is one, a RemoteNode another.

import type { Duplex } from 'node:stream'
import type { NodeConnectionOptions, NodeMessage } from '../../src/index.js'

/** Small facts, each write durable when it resolves. Keys are strings of at most 1 KB. */
export interface DurableTable<V> {
  get(key: string): Promise<V | undefined>
  /** In the order of the keys. */
  entries(prefix?: string): AsyncIterable<readonly [key: string, value: V]>
  put(key: string, value: V): Promise<void>
  delete(key: string): Promise<void>
}

export interface BridgeConnection extends Duplex {
  /** Stored messages are still to be sent, or to be acknowledged. */
  hasMore?(): boolean
}

export interface BridgePublish {
  /** Resolves when the message is on disk; rejects with a SluiceError when it was not taken, or may not be there. */
  readonly durable: Promise<void>
  /** It was published before. Holds once `durable` has resolved. */
  readonly duplicate: boolean
}

export interface BridgeNode {
  /** See RunningNode. What is refused is thrown at once, or told by `durable`. */
  publish(message: NodeMessage): BridgePublish
  /** An MQTT 3.1.1 connection to the node that needs no login: the bridge has decided who the device is. */
  connect(options?: NodeConnectionOptions): BridgeConnection
  /** A message on its way to a session is none for its device, ever: in the ledger when it resolves. Acknowledge it then. */
  undeliverable(clientId: string, packetId: number): Promise<void>
  table<V>(name: string): DurableTable<V>
}
