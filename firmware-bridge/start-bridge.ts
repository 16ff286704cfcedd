// The bridge of a node: every [[firmware]] entry, one registry of devices over all of them. Started by `sluice serve` beside the node.

import type { Config, Logger } from '../src/index.js'
import type { BridgeNode } from './devices/bridge-node.js'
import { DeviceRegistry } from './devices/device-registry.js'
import { DeviceTable } from './devices/device-table.js'
import { devicesOf } from './devices/line-options.js'
import { type SerialLineHost, startSerialLine } from './serial/serial-line.js'

/** One [[firmware]] entry at work. */
interface BridgeLine {
  /** Who may speak, from now on. */
  useDevices(devices: DeviceTable): void
  /** Closes ports or sockets. What was taken is durable once the node has stopped. */
  stop(): Promise<void> | void
}

export interface Bridge {
  readonly registry: DeviceRegistry
  /** Reads key files again. @throws SluiceError INVALID_CONFIG: then all stay as they were. */
  reload(): Promise<void>
  /** The node must still be there. */
  stop(): Promise<void>
}

/** @throws SluiceError INVALID_CONFIG for a key file that cannot be read or is not of its form; ADDRESS_IN_USE. */
export async function startBridge(node: BridgeNode, entries: Config['firmware'], logger: Logger): Promise<Bridge> {
  const registry = await DeviceRegistry.open({ wallMs: () => Date.now(), table: node.table('devices'), logger })
  const tables = () => Promise.all(entries.map(tableOf))
  const lines: BridgeLine[] = []
  try {
    for (const [i, devices] of (await tables()).entries())
      lines.push(await startLine(entries[i], { node, devices, registry, logger }))
  } catch (error) {
    await Promise.all(lines.map((line) => line.stop()))
    throw error
  }
  return {
    registry,
    async reload() {
      for (const [i, devices] of (await tables()).entries()) lines[i].useDevices(devices)
    },
    async stop() {
      await Promise.all(lines.map((line) => line.stop()))
      await registry.stop()
    },
  }
}

/** Loads the gateway only for a node that has one. */
async function startLine(entry: Config['firmware'][number], host: SerialLineHost): Promise<BridgeLine> {
  if (entry.type === 'serial') return startSerialLine(entry, host)
  const { startMqttSnLine } = await import('./mqttsn/mqttsn-line.js')
  return startMqttSnLine(entry, host)
}

async function tableOf(entry: Config['firmware'][number]): Promise<DeviceTable> {
  const { topicPrefix, authentication: authenticated } = entry
  return new DeviceTable({ topicPrefix, authenticated, devices: await devicesOf(entry) })
}
