// What a gateway is configured with, and what it is given to work with.

import type { Logger } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import type { DeviceRegistry } from '../devices/device-registry.js'
import type { DeviceTable } from '../devices/device-table.js'
import type { UdpAddress } from './udp-socket.js'

export interface GatewayOptions {
  /** Of the [[firmware]] entry. */
  readonly name: string
  readonly listen: readonly UdpAddress[]
  /** Tells gateways apart that clients hear, 0 to 255. */
  readonly gatewayId: number
  /** Where the gateway says that it is there, and is searched. */
  readonly multicast?: UdpAddress
  readonly advertiseMs: number
  /** Topic name, without the prefix, by id. */
  readonly predefined: ReadonlyMap<number, string>
  /** Sessions, of clients that are there and of those that may come back, inclusive; and of one address. */
  readonly maxClients: number
  readonly maxClientsPerAddress: number
  /** Datagrams and bytes a second, of all and of one address. */
  readonly maxPacketRate: number
  readonly maxPacketRatePerAddress: number
  readonly maxByteRatePerAddress: number
  /** Longest message, bytes, inclusive. */
  readonly maxMessageSize: number
  readonly maxTopicIds: number
  readonly retryMs: number
  readonly maxRetries: number
}

export interface GatewayHost {
  readonly node: BridgeNode
  readonly devices: DeviceTable
  /** A message without the key of its device is refused. */
  readonly authenticated: boolean
  /** In front of topics published without a connection by nobody in particular; null: such messages are refused. */
  readonly anonymousPrefix: string | null
  readonly registry: DeviceRegistry
  readonly logger: Logger
}
