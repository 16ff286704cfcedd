// `sluice serve`: runs a node until it is told to stop or cannot go on. One "ready" line on stdout, everything else on stderr.

import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Config } from '../config/schema.js'
import type { RunningNode } from '../node.js'
import { type Command, type CommandContext, defineCommand } from './command.js'
import { CONFIG_OPTIONS, configFor } from './config-source.js'
import { aborted } from './interruption.js'
import { checkLogOptions, LOG_OPTIONS, loggerFor } from './log-options.js'

/** A node that has not stopped by then is left to the operating system: what it acknowledged is on disk anyway. */
const MAX_STOP_MS = 20_000

/** What serving needs of src/node.ts. */
export interface NodeModule {
  startNode(config: Config, options: { readonly logger: Logger }): Promise<RunningNode>
}

interface ServedBridge {
  reload(): Promise<void>
  stop(): Promise<void>
}

const OPTIONS = {
  ...CONFIG_OPTIONS,
  ...LOG_OPTIONS,
} as const

/** @param loadNode Loads the node only once the configuration is known to be good. */
export function serveCommand(loadNode: () => Promise<NodeModule>): Command {
  return defineCommand({
    name: 'serve',
    summary: 'run a node',
    usage: ['serve [--config FILE] [--data DIR] [-q | -v]'],
    description:
      'Prints one line beginning with "sluice ready" once devices and programs can connect. SIGTERM or Ctrl-C stops it in good order;\n' +
      'a second one ends it at once, which costs nothing that was acknowledged. SIGHUP reads password, ACL, certificate and key files again.',
    options: OPTIONS,
    examples: [
      'sluice serve',
      'sluice serve --config /etc/sluice/sluice.toml',
      'SLUICE_MQTT_LISTEN=127.0.0.1:1884 sluice serve --data /tmp/a',
    ],
    run: (context) => serve(context, loadNode),
  })
}

export const command = serveCommand(() => import('../node.js'))

async function serve(context: CommandContext<typeof OPTIONS>, loadNode: () => Promise<NodeModule>): Promise<number> {
  const { values, signal, stdout, stderr } = context
  checkLogOptions(values)
  const config = await configFor(context)
  const logger = loggerFor(values, config.logLevel, stderr)
  const { startNode } = await loadNode()
  const node = await startNode(config, { logger })
  const firmware = await startFirmware(config, node, logger.child('firmware'))
  const failed = node.failed.then((error) => ({ error }))
  const reload = (): void => {
    logger.info('reading password, ACL, certificate and key files again')
    Promise.all([node.reload(), firmware?.reload()]).then(
      () => logger.info('reloaded'),
      (error) => logger.error('reload failed', { error }),
    )
  }
  process.on('SIGHUP', reload)
  const addresses = { mqtt: withProtocol('mqtt', node.mqttAddresses), http: withProtocol('http', node.httpAddresses) }
  if (values.json) await stdout.json({ ready: true, node: node.nodeId, ...addresses, data: config.dataDir })
  else await stdout.line(readyLine(node.nodeId, addresses, config.dataDir))

  const ended = await Promise.race([failed, aborted(signal)])
  if (ended !== null) throw fatal(ended.error)
  logger.info('stopping')
  process.off('SIGHUP', reload)
  await firmware?.stop()
  const stopped = await Promise.race([node.stop().then(() => null), failed, delay(MAX_STOP_MS)])
  if (stopped === 'late') {
    await stderr.line(
      `sluice serve: not stopped within ${MAX_STOP_MS / 1000} s; ending anyway, nothing acknowledged is lost`,
    )
    return 1
  }
  if (stopped !== null) throw fatal(stopped.error)
  logger.info('stopped')
  return 0
}

/** Loads the bridge only for a node that has lines. */
async function startFirmware(config: Config, node: RunningNode, logger: Logger): Promise<ServedBridge | undefined> {
  if (config.firmware.length === 0) return undefined
  const { startBridge } = await import('../../firmware-bridge/start-bridge.js')
  const bridge = await startBridge(node, config.firmware, logger)
  node.showDevices(bridge.registry)
  return bridge
}

function readyLine(nodeId: string, { mqtt, http }: { mqtt: string[]; http: string[] }, dataDir: string): string {
  const data = /\s/.test(dataDir) ? JSON.stringify(dataDir) : dataDir
  return `sluice ready node=${nodeId} mqtt=${mqtt.join(',')} http=${http.join(',')} data=${data}`
}

function withProtocol(protocol: string, addresses: readonly string[]): string[] {
  return addresses.map((address) => (address.includes('://') ? address : `${protocol}://${address}`))
}

function fatal(error: Error): Error {
  if (!(error instanceof SluiceError)) return error
  return new SluiceError(error.code, `the node cannot go on: ${error.message}`, error.details, error)
}

function delay(ms: number): Promise<'late'> {
  return new Promise((resolve) => setTimeout(() => resolve('late'), ms).unref())
}
