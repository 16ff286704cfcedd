// `npm run sim`: simulated devices, on serial lines and over UDP, against a node.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fleet } from './fleet.js'
import { seededRandom } from './random.js'
import { startSimNode } from './sim-node.js'
import { HELP, type SimOptions, simOptions } from './sim-options.js'
import { openSerialStations, openSnStations } from './stations.js'
import { Summary } from './summary.js'

const REDRAW_MS = 1000
const WRITE_MS = 10_000
const DRAIN_MS = 30_000
const MAX_NAMED = 10

async function main(): Promise<number> {
  const options = simOptions(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(HELP)
    return 0
  }
  const folder = options.ptys ?? mkdtempSync(join(tmpdir(), 'sluice-sim-'))
  mkdirSync(folder, { recursive: true })
  try {
    return await simulate(options, folder)
  } finally {
    if (options.ptys === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

async function simulate(options: SimOptions, folder: string): Promise<number> {
  const stations = await openSerialStations(options, folder)
  const hasNode = options.ptys === undefined && options.gateway === undefined
  const node = hasNode ? await startSimNode(options, folder) : null
  const gateway = options.gateway ?? node?.gateway
  const devices = [...stations.devices, ...(gateway === undefined ? [] : openSnStations(options, gateway))]
  const fleet = new Fleet(devices, {
    random: seededRandom(options.seed),
    resetEveryMs: options.reset * 1000,
    remembers: !options.forget,
  })
  const where = node === null ? `the node is elsewhere; lines in ${folder}` : `node at ${node.httpUrl}`
  const summary = new Summary(`Seed ${options.seed}; ${where}. Ctrl-C ends it.`, process.stdout.isTTY)
  const show = () => void process.stdout.write(summary.text(devices, node?.status() ?? null))
  const redraw = setInterval(show, process.stdout.isTTY ? REDRAW_MS : WRITE_MS)
  await ended(options.forSeconds)
  clearInterval(redraw)
  process.stdout.write('Waiting for what is still under way …\n')
  const drained = await fleet.drain(DRAIN_MS)
  show()
  const isGood = node === null ? drained : await verdict(node.check(devices), drained)
  fleet.close()
  await node?.stop()
  stations.close()
  return isGood ? 0 : 1
}

async function verdict(checking: ReturnType<Awaited<ReturnType<typeof startSimNode>>['check']>, drained: boolean) {
  const { stored, missing, twice } = await checking
  // A serial device numbers its messages. An MQTT-SN client that is reset before the PUBACK cannot be told from one that has something new to say.
  const doubled = twice.filter((message) => message.startsWith('serial-'))
  const named = (messages: readonly string[]) => messages.slice(0, MAX_NAMED).join(', ')
  process.stdout.write(`\n${stored} records in the log. Acknowledged, but missing: ${missing.length}. `)
  process.stdout.write(`Twice: ${doubled.length} of serial devices, ${twice.length - doubled.length} of others.\n`)
  if (missing.length > 0) process.stdout.write(`Missing: ${named(missing)}\n`)
  if (doubled.length > 0) process.stdout.write(`Twice: ${named(doubled)}\n`)
  if (!drained) process.stdout.write(`Not everything was acknowledged within ${DRAIN_MS / 1000} s.\n`)
  return missing.length === 0 && doubled.length === 0 && drained
}

function ended(seconds: number): Promise<void> {
  return new Promise((resolve) => {
    if (seconds > 0) setTimeout(resolve, seconds * 1000)
    // A second one ends it at once.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`npm run sim: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
