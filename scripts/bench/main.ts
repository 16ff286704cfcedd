// `npm run bench [WORKLOAD …] [-- --quick --json]`: runs workloads side by side with what others run, and prints ratios, because absolute figures
// belong to the machine. Broker and load get a core each where there are two and `taskset` is installed.

import { cpus, tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { findProgram } from '../../test/helpers/mosquitto.js'
import { commits } from './commits.js'
import { MAX_RSS_MB, mosquittoVersion, sluiceMemory } from './contestants.js'
import { deviceBytes } from './device-bytes.js'
import { drain } from './drain.js'
import { drainBeside } from './drain-beside.js'
import { fanOut } from './fan-out.js'
import { firmware } from './firmware.js'
import { followers } from './followers.js'
import { idleConnections } from './idle-connections.js'
import { ingest } from './ingest.js'
import { ingestQos0 } from './ingest-qos0.js'
import { latency } from './latency.js'
import { logAppend } from './log-append.js'
import { logRead } from './log-read.js'
import { logStart } from './log-start.js'
import { longPolls } from './long-polls.js'
import { busyShare } from './machine-load.js'
import { mqttsn } from './mqttsn.js'
import { pull } from './pull.js'
import { probeStorage } from './storage-probe.js'
import type { Workload } from './workload.js'

/** From which part of the processors' time taken by others on no figure is worth much. */
const BUSY_SHARE = 0.1

const WORKLOADS: readonly Workload[] = [
  ingest,
  ingestQos0,
  fanOut,
  latency,
  idleConnections,
  pull,
  commits,
  followers,
  longPolls,
  drain,
  drainBeside,
  logAppend,
  logRead,
  logStart,
  deviceBytes,
  mqttsn,
  firmware,
]

const HELP = `npm run bench [WORKLOAD …] [-- OPTION …]

Workloads:
${WORKLOADS.map((one) => `  ${one.name.padEnd(16)} ${one.summary}`).join('\n')}

Options:
  --quick    a few seconds in all: shows that it works, not what it is worth
  --json     the result as JSON on stdout
`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help === true) {
    process.stdout.write(HELP)
    return 0
  }
  const unknown = positionals.find((name) => !WORKLOADS.some((one) => one.name === name))
  if (unknown !== undefined) {
    process.stderr.write(`There is no workload ${JSON.stringify(unknown)}.\n\n${HELP}`)
    return 2
  }
  const chosen = WORKLOADS.filter((one) => positionals.length === 0 || positionals.includes(one.name))
  const pinned = cpus().length >= 2 && findProgram('taskset') !== null
  const busyBefore = await busyShare(1000)
  const storage = probeStorage(tmpdir())
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    pinned,
    node: process.versions.node,
    mosquitto: mosquittoVersion(),
    storage: {
      folder: tmpdir(),
      file_system: storage.fileSystem,
      fdatasync_p50_ms: storage.fdatasyncP50Ms,
      fdatasync_p99_ms: storage.fdatasyncP99Ms,
    },
  }
  const say = (line: string) => values.json !== true && process.stdout.write(`${line}\n`)
  say(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, mosquitto ${machine.mosquitto ?? 'not installed'}`)
  say(pinned ? 'Broker on core 0, load on core 1' : 'Broker and load not pinned to cores')
  const sayBusy = (when: string, share: number) => {
    if (share > BUSY_SHARE) say(`Others took ${Math.round(share * 100)} % of the processors ${when}: run again.`)
  }
  const sync = `p50 ${storage.fdatasyncP50Ms.toFixed(2)} ms, p99 ${storage.fdatasyncP99Ms.toFixed(2)} ms`
  say(`Data in ${tmpdir()} on ${storage.fileSystem}; a bare fdatasync after 4 KB: ${sync}`)

  sayBusy('before', busyBefore)

  const results: Record<string, unknown> = {}
  const progress = (text: string) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`)
  for (const workload of chosen) {
    const report = await workload.run({
      quick: values.quick === true,
      brokerCore: pinned ? 0 : undefined,
      loadCore: pinned ? 1 : undefined,
      progress,
    })
    progress('')
    results[workload.name] = report.result
    say(`\n${report.text.join('\n')}`)
  }
  const busyAfter = await busyShare(1000)
  const { peakMb } = sluiceMemory
  if (peakMb > 0) {
    const verdict = peakMb <= MAX_RSS_MB ? 'kept' : 'NOT kept'
    say(
      `\nMemory of a Sluice node through all of this: ${Math.round(peakMb)} MB at most. Bound ${MAX_RSS_MB} MB: ${verdict}.`,
    )
  }
  sayBusy('after', busyAfter)
  const others = { busy_before: busyBefore, busy_after: busyAfter }
  const memory = { peak_rss_mb: Math.round(peakMb), bound_mb: MAX_RSS_MB }
  if (values.json === true)
    process.stdout.write(`${JSON.stringify({ machine, others, memory, workloads: results }, null, 2)}\n`)
  return 0
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.exit(await main())
