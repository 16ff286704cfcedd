// A node elsewhere, reached over HTTP, as the bridge needs one. Keeps nothing that a restart would miss: numbers of messages, sessions and facts
// are the node's. While the node is away nothing is acknowledged, so that the windows of the devices hold them back.

import type { NodeConnectionOptions, NodeMessage, SluiceError } from '../../src/index.js'
import type { BridgeConnection, BridgeNode, BridgePublish, DurableTable } from '../devices/bridge-node.js'
import type { DeviceRegistry } from '../devices/device-registry.js'
import { NameLease } from './name-lease.js'
import { NodeApi, type NodeApiOptions } from './node-api.js'
import { PublishQueue } from './publish-queue.js'
import { RemoteConnection } from './remote-connection.js'
import { RemoteTable } from './remote-table.js'

/** How often the node is told how the devices are. */
const TELL_MS = 5000
/** What a body of the node's default limit has room for: those heard of last. */
const MAX_DEVICES_TOLD = 5000

export type RemoteNodeOptions = NodeApiOptions

export class RemoteNode implements BridgeNode {
  private readonly api: NodeApi
  private readonly lease: NameLease
  private readonly queue: PublishQueue
  private readonly stopped = new AbortController()
  private timer: NodeJS.Timeout | undefined
  private telling = false

  /** @throws SluiceError INVALID_CONFIG for a URL that is none. */
  constructor(options: RemoteNodeOptions) {
    this.api = new NodeApi(options)
    this.lease = new NameLease(this.api, options.logger)
    this.queue = new PublishQueue(this.api, options.name)
  }

  /** Another process has the name of this bridge, and this one is not heard any more. */
  get fenced(): Promise<SluiceError> {
    return this.api.fenced
  }

  /** Takes the name; waits for the node to be there. @throws SluiceError FENCED_INSTANCE_ID when another process has it. */
  join(): Promise<void> {
    return this.lease.take()
  }

  publish(message: NodeMessage): BridgePublish {
    return this.queue.publish(message)
  }

  connect({ maxInFlight }: NodeConnectionOptions = {}): BridgeConnection {
    return new RemoteConnection(this.api, maxInFlight === undefined ? '' : `?max_in_flight=${maxInFlight}`)
  }

  async undeliverable(clientId: string, packetId: number): Promise<void> {
    await this.api.call('POST', '/undeliverable', { client: clientId, packet_id: packetId })
  }

  table<V>(name: string): DurableTable<V> {
    return new RemoteTable<V>(this.api, name, this.stopped.signal)
  }

  /** From now on the node is told how they are. */
  showDevices(registry: DeviceRegistry): void {
    const tell = () => void this.tell(registry)
    this.timer = setInterval(tell, TELL_MS)
    tell()
  }

  /** Waits for what is on its way, but for no node that is away. */
  async stop(): Promise<void> {
    clearInterval(this.timer)
    this.stopped.abort()
    await this.queue.stop()
    this.lease.stop()
    this.api.close()
  }

  private async tell(registry: DeviceRegistry): Promise<void> {
    if (this.telling) return
    this.telling = true
    const devices = registry.list().sort((a, b) => b.lastSeenMs - a.lastSeenMs)
    const body = {
      devices: devices.slice(0, MAX_DEVICES_TOLD).map(snakeCased),
      lines: registry.lines().map(snakeCased),
    }
    // Said again soon in any case.
    await this.api.call('POST', '/devices', body).catch(() => {})
    this.telling = false
  }
}

function snakeCased(row: object): object {
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )
}
