// Ack latency of QoS 1 at 1,000 messages a second, open loop, beside what a bare fdatasync costs on the same disk just before and after.

import { tmpdir } from 'node:os'
import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { mosquitto, sluice } from './contestants.js'
import type { Latencies, LatencyResult, LatencyShape } from './latency-load.js'
import { runLoad } from './run-load.js'
import { probeStorage } from './storage-probe.js'
import { formatTable, type Workload } from './workload.js'

const RATE = 1000
const CONNECTIONS = 10
const PAYLOAD_BYTES = 100
/** A record batch of one record, as it lies in LevelDB's log. */
const SYNCED_BYTES = 300
const ALLOWANCE_MS = 2

export const latency: Workload = {
  name: 'latency',
  summary: `time to PUBACK at ${RATE} messages a second, beside a bare fdatasync`,
  async run(options) {
    const contestants = mosquittoMissing === null ? [sluice, mosquitto] : [sluice]
    const measureMs = options.quick ? 2000 : 20_000
    const probe = () => probeStorage(tmpdir(), options.quick ? 1000 : 5000, SYNCED_BYTES)
    const measured: (Latencies & { name: string })[] = []
    const before = probe()
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
          measureMs,
          idleConnections: 0,
          idleConnectionsPerSecond: 0,
        }
        const { alone } = await runLoad<LatencyResult>('latency-load', shape, options)
        measured.push({ name: contestant.name, ...alone })
      } finally {
        await broker.stop()
      }
    }
    const after = probe()
    const syncP50Ms = Math.max(before.fdatasyncP50Ms, after.fdatasyncP50Ms)
    const syncP99Ms = Math.max(before.fdatasyncP99Ms, after.fdatasyncP99Ms)
    const bound = 2 * syncP99Ms + ALLOWANCE_MS
    const rows = [
      ['', 'p50', 'p99', 'max', 'sent late p50', 'p99'],
      ...measured.map((one) => [
        one.name,
        ...[one.p50Ms, one.p99Ms, one.maxMs, one.sentLateP50Ms, one.sentLateP99Ms].map(ms),
      ]),
      [`fdatasync after ${SYNCED_BYTES} B`, ms(syncP50Ms), ms(syncP99Ms), '', '', ''],
    ]
    const kept = measured[0].p99Ms <= bound
    const text = [
      `Time to PUBACK from the intended time of sending, ${RATE} messages a second over ${CONNECTIONS} connections, ${PAYLOAD_BYTES} B`,
      '',
      ...formatTable(rows),
      '',
      'Sent late: how long after its intended time a message left the load generator, which the figures before it include.',
      `Bound: p99 ≤ 2 × ${ms(syncP99Ms)} + ${ALLOWANCE_MS} ms = ${ms(bound)}: ${kept ? 'kept' : 'NOT kept'}.`,
    ]
    return { text, result: { measured, fdatasync_p99_ms: syncP99Ms, bound_ms: bound, kept } }
  },
}

const ms = (value: number): string => `${value.toFixed(2)} ms`
