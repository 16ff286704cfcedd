// What 10,000 idle connections cost: memory of the broker, and the ack latency of 100 clients that go on publishing.

import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { residentKb } from '../../test/helpers/process-usage.js'
import { MAX_RSS_MB, mosquitto, sluice } from './contestants.js'
import type { LatencyResult, LatencyShape } from './latency-load.js'
import { runLoad } from './run-load.js'
import { formatTable, type Workload } from './workload.js'

const ACTIVE = 100
const RATE = 500

export const idleConnections: Workload = {
  name: 'idle-connections',
  summary: 'memory and latency beside 10,000 idle connections (1,000 with --quick)',
  async run(options) {
    const contestants = mosquittoMissing === null ? [sluice, mosquitto] : [sluice]
    const idle = options.quick ? 1000 : 10_000
    const rows = [['', 'RSS alone', `with ${idle} idle`, 'each', 'p99 alone', 'p99 beside them', 'ratio']]
    const result: unknown[] = []
    for (const contestant of contestants) {
      options.progress(`${idle} idle connections: ${contestant.name}`)
      const broker = await contestant.start(options.brokerCore, idle + ACTIVE + 10)
      try {
        const shape: LatencyShape = {
          port: broker.port,
          connections: ACTIVE,
          messagesPerSecond: RATE,
          payloadBytes: 100,
          warmUpMs: 1000,
          measureMs: options.quick ? 2000 : 10_000,
          idleConnections: idle,
          idleConnectionsPerSecond: 500,
        }
        const rssKb: Record<string, number> = {}
        const { alone, besideIdle } = await runLoad<LatencyResult>('latency-load', shape, options, (name) => {
          rssKb[name] = residentKb(broker.pid, 'VmRSS')
        })
        const each = (rssKb['idle'] - rssKb['alone']) / idle
        const p99After = besideIdle?.p99Ms ?? Number.NaN
        rows.push([
          contestant.name,
          mb(rssKb['alone']),
          mb(rssKb['idle']),
          `${each.toFixed(1)} KB`,
          `${alone.p99Ms.toFixed(2)} ms`,
          `${p99After.toFixed(2)} ms`,
          `${(p99After / alone.p99Ms).toFixed(2)}×`,
        ])
        result.push({ name: contestant.name, idle, rss_kb: rssKb, alone, beside_idle: besideIdle })
      } finally {
        await broker.stop()
      }
    }
    const text = [
      `${idle} idle connections; meanwhile ${ACTIVE} clients publish ${RATE} QoS 1 messages a second (to hold: ${MAX_RSS_MB} MB, p99 not doubled)`,
      '',
      ...formatTable(rows),
    ]
    return { text, result }
  },
}

const mb = (kb: number): string => `${(kb / 1024).toFixed(0)} MB`
