// Reading a million stored records from the beginning: over HTTP as stored bytes and as JSON, with the TypeScript client, and with a JetStream pull
// consumer of nats-server on the same records.

import { join } from 'node:path'
import { NatsServer, natsServerMissing } from '../../test/helpers/nats-server.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { tempDir } from '../../test/helpers/temp-dir.js'
import { KEEP_ALL, runJob } from './log-job.js'
import type { PullResult, PullShape } from './pull-load.js'
import { runLoad } from './run-load.js'
import { median } from './statistics.js'
import { type BenchOptions, formatTable, thousands, type Workload } from './workload.js'

const STREAM = 'bench'
const PAYLOAD_BYTES = 100
/** Of which the first finds neither program warm. */
const ROUNDS = 3
const WAYS = [
  { by: 'stored', name: 'HTTP, stored bytes', atLeast: 1_000_000 },
  { by: 'json', name: 'HTTP, JSON', atLeast: 250_000 },
  { by: 'client', name: 'TypeScript client, group, committed', atLeast: 200_000 },
  { by: 'jetstream', name: 'JetStream pull consumer, acknowledged', atLeast: null },
] as const

type By = (typeof WAYS)[number]['by']

export const pull: Workload = {
  name: 'pull',
  summary: 'reads a million stored records over HTTP, with the client, and from JetStream',
  async run(options) {
    const records = options.quick ? 100_000 : 1_000_000
    const data = join(tempDir(), 'data')
    options.progress('pull: writing')
    const job = { name: 'append', records, payloadBytes: PAYLOAD_BYTES, stay: false } as const
    await runJob({ data, stream: KEEP_ALL, job }, options.brokerCore)
    const config = `[[stream]]\nname = "${STREAM}"\ntopics = ["#"]\n${KEEP_ALL}\n`
    const node = await NodeProcess.start({ core: options.brokerCore, dataDir: data, config })
    const nats = natsServerMissing === null ? await NatsServer.start({ core: options.brokerCore }) : null
    try {
      const shape = { stream: STREAM, records, payloadBytes: PAYLOAD_BYTES }
      if (nats !== null) await load({ ...shape, by: 'jetstream-fill', port: nats.natsPort }, options)
      const measured = new Map<By, PullResult[]>(WAYS.map(({ by }) => [by, []]))
      for (let round = 0; round < ROUNDS; round++) {
        for (const { by, name } of WAYS) {
          options.progress(`pull: ${name}, round ${round + 1}`)
          if (by !== 'jetstream') measured.get(by)?.push(await load({ ...shape, by, port: node.httpPort }, options))
          else if (nats !== null) measured.get(by)?.push(await load({ ...shape, by, port: nats.natsPort }, options))
        }
      }
      return report(records, measured)
    } finally {
      await node.kill('SIGKILL')
      await nats?.kill('SIGKILL')
    }
  },
}

function load(shape: PullShape, options: BenchOptions): Promise<PullResult> {
  return runLoad<PullResult>('pull-load', shape, options)
}

function report(records: number, measured: ReadonlyMap<By, readonly PullResult[]>) {
  const rateOf = (by: By): number | null => {
    const results = measured.get(by) ?? []
    return results.length === 0 ? null : median(results.map(({ recordsPerSecond }) => recordsPerSecond))
  }
  const theirs = rateOf('jetstream')
  const rows = [['', 'records a second', 'at least', 'to JetStream', 'reading program busy']]
  const result = WAYS.map(({ by, name, atLeast }) => {
    const rate = rateOf(by)
    const ratio = rate === null || theirs === null ? null : rate / theirs
    const busy = median([0, ...(measured.get(by) ?? []).map((one) => one.busy)].slice(rate === null ? 0 : 1))
    rows.push([
      name,
      rate === null ? 'not installed' : thousands(rate),
      atLeast === null ? '' : thousands(atLeast),
      ratio === null ? '–' : `${ratio.toFixed(2)}×`,
      `${(busy * 100).toFixed(0)} %`,
    ])
    return { by, records_per_second: rate, at_least: atLeast, ratio_to_jetstream: ratio, busy }
  })
  const text = [
    `Reading ${records} stored records of ${PAYLOAD_BYTES} B, one after the other, on one connection (median of the rounds); JetStream with file storage`,
    '',
    ...formatTable(rows),
  ]
  return { text, result }
}
