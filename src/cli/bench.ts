// `sluice bench`: what this machine and its disk can take in. Runs a node of its own for the time of it; a node that serves is not touched.

import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SluiceError } from '../base/errors.js'
import { ApiClient } from './api-client.js'
import {
  type LoadFigures,
  type MeasureOptions,
  measurePublishing,
  measureReading,
  type PublishLoad,
} from './bench/measure.js'
import { startTrialNode, TRIAL_MAX_BYTES } from './bench/trial-node.js'
import { defineCommand, integerOption } from './command.js'
import { CONFIG_OPTIONS, configFor } from './config-source.js'
import { formatBytes, formatCount, formatDuration, formatRate } from './format.js'
import { nearestExisting } from './nearest-existing.js'
import { measureSync } from './sync-probe.js'
import { formatTable } from './table.js'

const MAX_PAYLOAD_BYTES = 128 * 1024
/** What the measured node may have on disk at once: its stream, the segments being written, their logs. */
const MIN_FREE_BYTES = 2 * TRIAL_MAX_BYTES
/** Bytes on their way at once, over all connections: within what a node lets wait for a commit. */
const MAX_IN_FLIGHT_BYTES = 4 * 1024 * 1024

interface Workload {
  readonly name: string
  readonly load: PublishLoad | null
}

const WORKLOADS: readonly Workload[] = [
  { name: 'QoS 1, one device', load: { qos: 1, connections: 1, inFlight: 1 } },
  { name: 'QoS 1, 100 devices', load: { qos: 1, connections: 100, inFlight: 1 } },
  { name: 'QoS 1, 100 devices, 20 in flight', load: { qos: 1, connections: 100, inFlight: 20 } },
  { name: 'QoS 1, 4 devices, 1,000 in flight', load: { qos: 1, connections: 4, inFlight: 1000 } },
  { name: 'QoS 0, 4 devices', load: { qos: 0, connections: 4, inFlight: 100 } },
  { name: 'read back, stored bytes', load: null },
]

interface Row extends LoadFigures {
  readonly name: string
}

export const command = defineCommand({
  name: 'bench',
  summary: 'measure what this machine and its disk can take in',
  usage: ['bench [--config FILE] [--data DIR] [--seconds N] [--size BYTES]'],
  description:
    'Starts a node of its own on the disk of the data directory, in a folder that is removed afterwards, and loads it from this process. A\n' +
    'node that is running is not touched, but shares the machine: stop it for figures that mean something. Every QoS 1 figure counts\n' +
    'acknowledgements, each sent after fdatasync.',
  options: {
    ...CONFIG_OPTIONS,
    seconds: {
      type: 'string',
      short: 's',
      value: 'N',
      default: '3',
      description: 'how long each workload is measured (3)',
    },
    size: { type: 'string', value: 'BYTES', default: '100', description: 'size of a payload (100)' },
  },
  examples: [
    'sluice bench',
    'sluice bench --data /mnt/card/sluice --seconds 10  # how good is this card?',
    'sluice bench --size 1000 --json',
  ],
  async run(context) {
    const { values, signal, stdout, stderr } = context
    const seconds = integerOption('seconds', values.seconds, { min: 1, max: 600 }) ?? 0
    const payloadBytes = integerOption('size', values.size, { min: 1, max: MAX_PAYLOAD_BYTES }) ?? 0
    const config = await configFor(context)
    const folder = nearestExisting(dirname(config.dataDir))
    await assertRoom(folder)
    const sync = await measureSync(folder)
    if (!values.json) {
      const times = [sync.p50Ms, sync.p99Ms].map(formatDuration)
      await stderr.line(`Measuring in ${folder}: fdatasync of 4 KB takes ${times[0]} (p50), ${times[1]} (p99).`)
    }
    const node = await startTrialNode(folder, signal)
    const api = new ApiClient(node.httpUrl)
    const rows: Row[] = []
    try {
      for (const { name, load } of WORKLOADS) {
        if (stderr.isTty && !values.json)
          await stderr.write(`\r\x1b[K${rows.length + 1} of ${WORKLOADS.length}: ${name} …`)
        const options: MeasureOptions = { node, seconds, payloadBytes, signal }
        const figures = load
          ? await measurePublishing(within(load, payloadBytes), options)
          : await measureReading(api, options)
        rows.push({ name, ...figures })
      }
    } finally {
      if (stderr.isTty && !values.json) await stderr.write('\r\x1b[K')
      api.close()
      await node.remove()
    }
    if (values.json) await stdout.json(asJson(payloadBytes, sync, rows))
    else await stdout.write(formatTable(columnsFor(payloadBytes), rows))
    return 0
  },
})

/** Large payloads: fewer in flight, so that what is measured is the node and not its back-pressure. */
function within(load: PublishLoad, payloadBytes: number): PublishLoad {
  const most = Math.max(1, Math.floor(MAX_IN_FLIGHT_BYTES / load.connections / payloadBytes))
  return { ...load, inFlight: Math.min(load.inFlight, most) }
}

async function assertRoom(folder: string): Promise<void> {
  const { bsize, bavail } = await statfs(folder)
  const free = bsize * bavail
  if (free >= MIN_FREE_BYTES) return
  const message = `${folder} has ${formatBytes(free)} free and the measurement takes up to ${formatBytes(MIN_FREE_BYTES)}; choose another place with --data`
  throw new SluiceError('STORAGE_FULL', message, { folder, free, needed: MIN_FREE_BYTES })
}

function columnsFor(payloadBytes: number) {
  const ack = (value: (figures: NonNullable<Row['ackMs']>) => number) => (row: Row) =>
    row.ackMs === null ? null : formatDuration(value(row.ackMs))
  const rateOf = (row: Row): number => row.messages / row.seconds
  return [
    { title: `MESSAGES OF ${formatBytes(payloadBytes)}`, value: (row: Row) => row.name },
    { title: 'RATE', value: (row: Row) => formatRate(rateOf(row)), align: 'right' as const },
    { title: 'PAYLOAD', value: (row: Row) => `${formatBytes(rateOf(row) * payloadBytes)}/s`, align: 'right' as const },
    { title: 'ACK P50', value: ack(({ p50 }) => p50), align: 'right' as const },
    { title: 'ACK P99', value: ack(({ p99 }) => p99), align: 'right' as const },
    { title: 'ACK MAX', value: ack(({ max }) => max), align: 'right' as const },
    { title: 'COUNTED', value: (row: Row) => formatCount(row.messages), align: 'right' as const },
  ]
}

function asJson(payloadBytes: number, sync: Awaited<ReturnType<typeof measureSync>>, rows: readonly Row[]): unknown {
  const { p50Ms, p99Ms, maxMs } = sync
  return {
    payload_bytes: payloadBytes,
    fdatasync_ms: { p50: p50Ms, p99: p99Ms, max: maxMs },
    durability: 'fdatasync before every ack',
    workloads: rows.map(({ name, messages, seconds, ackMs }) => ({
      name,
      messages,
      seconds,
      messages_per_second: messages / seconds,
      ack_ms: ackMs,
    })),
  }
}
