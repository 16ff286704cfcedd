// Ack latency of QoS 1 at 1,000 messages a second, open loop, beside what a bare fdatasync costs on the same disk just before and after.

import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { mosquitto, sluice } from './contestants.js'
import type { Latencies, LatencyResult, LatencyShape } from './latency-load.js'
import { runLoad } from './run-load.js'
import { ms, SyncBound } from './sync-bound.js'
import { formatTable, type Workload } from './workload.js'

const RATE = 1000
const CONNECTIONS = 10
const PAYLOAD_BYTES = 100
/** A record batch of one record, as it lies in LevelDB's log. */
const SYNCED_BYTES = 300
/** A load generator that is later than this at p99 measures itself. */
const MAX_LATE_P99_MS = 1

export const latency: Workload = {
  name: 'latency',
  summary: `time to PUBACK at ${RATE} messages a second, beside a bare fdatasync`,
  async run(options) {
    const contestants = mosquittoMissing === null ? [sluice, mosquitto] : [sluice]
    const { measured, bound } = await SyncBound.around(options, SYNCED_BYTES, async () => {
      const results: (Latencies & { name: string })[] = []
      for (const contestant of contestants) {
        options.progress(`latency: ${contestant.name}`)
        const broker = await contestant.start(options.brokerCore)
        try {
          const shape: LatencyShape = {
            port: broker.port,
            connections: CONNECTIONS,
            messagesPerSecond: RATE,
            payloadBytes: PAYLOAD_BYTES,
            warmUpMs: 1000,
            measureMs: options.quick ? 2000 : 20_000,
            idleConnections: 0,
            idleConnectionsPerSecond: 0,
          }
          const { alone } = await runLoad<LatencyResult>('latency-load', shape, options)
          results.push({ name: contestant.name, ...alone })
        } finally {
          await broker.stop()
        }
      }
      return results
    })
    const [{ p99Ms }] = measured
    const late = measured
      .filter(({ sentLateP99Ms }) => sentLateP99Ms > MAX_LATE_P99_MS)
      .map(
        ({ name, sentLateP99Ms }) =>
          `${name}: the load generator itself was late by ${ms(sentLateP99Ms)} at p99: look at what it says from sending, or find a quieter machine.`,
      )
    const rows = [
      ['', 'p50', 'p99', 'max', 'sent late p50', 'p99', 'from sending p99'],
      ...measured.map((one) => [
        one.name,
        ...[one.p50Ms, one.p99Ms, one.maxMs, one.sentLateP50Ms, one.sentLateP99Ms, one.fromSendingP99Ms].map(ms),
      ]),
      [...bound.row(), '', '', '', ''],
    ]
    const text = [
      `Time to PUBACK from the intended time of sending, ${RATE} messages a second over ${CONNECTIONS} connections, ${PAYLOAD_BYTES} B`,
      '',
      ...formatTable(rows),
      '',
      'Sent late: how long after its intended time a message left the load generator, which the figures before it include.',
      ...late,
      bound.sentence(p99Ms),
    ]
    return { text, result: { measured, ...bound.facts(p99Ms) } }
  },
}
