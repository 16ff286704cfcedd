// A node with a serial bridge, in a process of its own that can be killed: bridge-node.js DATA_DIR TTY. Prints `ready` and its HTTP address.

import { writeSync } from 'node:fs'
import { startSerialBridge } from '../../firmware-bridge/serial/serial-bridge.js'
import { Logger, loadValidConfig, startNode } from '../../src/index.js'

const [dataDir, path] = process.argv.slice(2)
const text =
  '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n' +
  '[[stream]]\nname = "devices"\ntopics = ["devices/#"]\npartitions = 1\n'
const logger = new Logger('bridge-node', 'warn')
const node = await startNode(loadValidConfig({ text, dataDir, environment: {} }), { logger })
startSerialBridge(node, { ports: [{ path, topicPrefix: 'devices/{device}/' }], logger })
writeSync(1, `ready http://${node.httpAddresses[0]}\n`)
