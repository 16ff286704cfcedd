// `sluice bridge`: the firmware bridge in a process of its own, for devices that are somewhere else than their node.

import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { messageOf, SluiceError } from '../base/errors.js'
import { DEFAULT_URL } from '../client/http-transport.js'
import { type CommandContext, defineCommand, UsageError } from './command.js'
import { CONFIG_OPTIONS, configFor } from './config-source.js'
import { aborted } from './interruption.js'
import { checkLogOptions, LOG_OPTIONS, loggerFor } from './log-options.js'

const NAME = /^[A-Za-z0-9_-]{1,64}$/

const OPTIONS = {
  config: CONFIG_OPTIONS.config,
  name: { type: 'string', value: 'NAME', description: 'what the node calls this bridge (default: the host name)' },
  ca: {
    type: 'string',
    value: 'FILE',
    description: 'https: whose certificates to trust (PEM), instead of the usual ones',
  },
  ...LOG_OPTIONS,
} as const

type Context = CommandContext<typeof OPTIONS>

export const command = defineCommand({
  name: 'bridge',
  summary: 'run the firmware bridge alone, for a node elsewhere',
  usage: ['bridge --url URL [--token TOKEN] [--name NAME] [--config FILE] [--ca FILE] [-q | -v]'],
  description:
    'Takes the [[firmware]] entries of the configuration and nothing else of it. What devices send is acknowledged once the node has it on\n' +
    'disk; while the node is away devices are held back. Prints one line beginning with "sluice bridge ready". Nothing is kept here: all that must\n' +
    'outlast a restart is at the node, under NAME; a second process of that NAME is refused and ends with 1. Its token needs the scope bridge. SIGHUP reads key files again.',
  options: OPTIONS,
  examples: [
    'sluice bridge --url https://gateway.example:7883 --config shed.toml  # SLUICE_TOKEN from: sluice tokens create shed --scope bridge',
    'sluice bridge --url http://192.168.1.5:7883 --name shed --ca site-ca.pem',
  ],
  run: (context) => bridge(context),
})

async function bridge(context: Context): Promise<number> {
  const { values, env, signal, stdout, stderr } = context
  checkLogOptions(values)
  const name =
    values.name ??
    hostname()
      .replace(/[^A-Za-z0-9_-]/g, '-')
      .slice(0, 64)
  if (!NAME.test(name))
    throw new UsageError(`--name takes 1 to 64 letters, digits, _ or -, not ${JSON.stringify(name)}`)
  const { firmware, logLevel } = await configFor({ values, env, stderr })
  if (firmware.length === 0)
    throw new SluiceError('INVALID_CONFIG', 'the configuration has no [[firmware]] entry: there is nothing to bridge')
  const logger = loggerFor(values, logLevel, stderr).child('firmware')
  const url = values.url ?? (env['SLUICE_URL'] || DEFAULT_URL)
  const token = values.token ?? (env['SLUICE_TOKEN'] || undefined)
  const { startRemoteBridge } = await import('../../firmware-bridge/start-remote-bridge.js')
  const starting = startRemoteBridge(firmware, {
    url: url.includes('://') ? url : `http://${url}`,
    ...{ name, logger },
    ...(token !== undefined && { token }),
    ...(values.ca !== undefined && { ca: readCa(values.ca) }),
  })
  const running = await Promise.race([starting, aborted(signal)])
  if (running === null) return 0
  const reload = (): void => {
    running.reload().then(
      () => logger.info('key files read again'),
      (error) => logger.error('reload failed', { error }),
    )
  }
  process.on('SIGHUP', reload)
  const lines = running.registry.lines().map(({ address }) => address)
  if (values.json) await stdout.json({ ready: true, name, node: url, lines })
  else await stdout.line(`sluice bridge ready name=${name} node=${url} lines=${lines.join(',')}`)
  const fenced = await Promise.race([aborted(signal), running.fenced])
  process.off('SIGHUP', reload)
  await running.stop()
  if (fenced !== null) throw fenced
  return 0
}

function readCa(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new SluiceError('INVALID_CONFIG', `--ca ${path} cannot be read: ${messageOf(error)}`, { path }, error)
  }
}
