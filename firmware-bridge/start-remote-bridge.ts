// The bridge alone, in a process without a node: its devices belong to a node elsewhere. Started by `sluice bridge`.

import type { Config, SluiceError } from '../src/index.js'
import { RemoteNode, type RemoteNodeOptions } from './remote/remote-node.js'
import { type Bridge, startBridge } from './start-bridge.js'

/** What a node that is away may cost a bridge that is told to stop. */
const MAX_STOP_MS = 3000

export interface RemoteBridge extends Bridge {
  /** Another process has the name of this bridge: stop this one. */
  readonly fenced: Promise<SluiceError>
}

/**
 * Waits for the node to be there. Lines are called `bridge.line` at the node, so that two bridges may have lines of one name.
 * @throws SluiceError INVALID_CONFIG, ADDRESS_IN_USE; FENCED_INSTANCE_ID when another process has the name of this bridge.
 */
export async function startRemoteBridge(
  entries: Config['firmware'],
  options: RemoteNodeOptions,
): Promise<RemoteBridge> {
  const node = new RemoteNode(options)
  const named = entries.map((entry) => ({ ...entry, name: `${options.name}.${entry.name}` }))
  let bridge: Bridge
  try {
    await node.join()
    bridge = await startBridge(node, named, options.logger)
  } catch (error) {
    await node.stop()
    throw error
  }
  node.showDevices(bridge.registry)
  return {
    ...bridge,
    fenced: node.fenced,
    async stop() {
      const stopped = bridge.stop()
      await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, MAX_STOP_MS).unref())])
      await node.stop()
      await stopped
    },
  }
}
