// What a drain costs those who publish meanwhile, and how much memory it takes: 2 GB wait for a Sluice node, 1,000 messages a second are published
// before the link is back and while it drains. The upstream keeps it in memory where there is room: the disk of another machine would not be this one's.

import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { MemoryWatch } from '../../test/helpers/memory-watch.js'
import { cpuSecondsOf } from '../../test/helpers/process-usage.js'
import { TcpProxy } from '../../test/helpers/tcp-proxy.js'
import { tempDirInMemory } from '../../test/helpers/temp-dir.js'
import { toSluice } from './drain-ways.js'
import { fill, fillerPackets } from './fill.js'
import type { LatencyResult, LatencyShape } from './latency-load.js'
import { runLoad } from './run-load.js'
import { type BenchOptions, formatTable, type Workload } from './workload.js'

const RATE = 1000
const CONNECTIONS = 10
const PAYLOAD_BYTES = 500
const AT_MOST_RATIO = 2
const AT_MOST_GROWTH_MB = 24
const POLL_MS = 20

export const drainBeside: Workload = {
  name: 'drain-beside',
  summary: `time to PUBACK at ${RATE} messages a second while a backlog drains, and the memory that takes`,
  async run(options) {
    const count = options.quick ? 400_000 : 4_000_000
    const elsewhere = join(tempDirInMemory('sluice-upstream-', 2 * count * PAYLOAD_BYTES), 'data')
    const upstream = await toSluice.upstream(options, elsewhere)
    const proxy = await TcpProxy.start(upstream.port)
    proxy.refuse(true)
    const gateway = await toSluice.startGateway(proxy.port, options)
    const memory = new MemoryWatch(() => gateway.pid)
    try {
      options.progress(`drain-beside: filling, ${megabytes(count * PAYLOAD_BYTES)}`)
      await fill(gateway.port, count, fillerPackets(PAYLOAD_BYTES))
      options.progress('drain-beside: publishing, nothing drains')
      const without = await publish(gateway.port, options)
      await upstream.start()
      const cpuBefore = cpuSecondsOf(gateway.pid)
      const beforeMb = memory.look()
      options.progress('drain-beside: publishing while it drains')
      proxy.refuse(false)
      await proxy.until(() => proxy.bytes.up > 0)
      const drained = whenReceived(() => upstream.received(proxy), count)
      const during = await publish(gateway.port, options)
      const seconds = await drained
      const growthMb = memory.peakMb - beforeMb
      const cpuSecondsPerMillion = ((cpuSecondsOf(gateway.pid) - cpuBefore) * 1_000_000) / count
      const ratio = during.p99Ms / without.p99Ms
      const text = [
        `Time to PUBACK at ${RATE} messages a second over ${CONNECTIONS} connections; ${count} records of ${PAYLOAD_BYTES} B drain to a Sluice node`,
        `The upstream's data is in ${dirname(dirname(elsewhere))}; the gateway's in ${tmpdir()}.`,
        '',
        ...formatTable([
          ['', 'p50', 'p99', 'max'],
          ['nothing drains', ms(without.p50Ms), ms(without.p99Ms), ms(without.maxMs)],
          ['while it drains', ms(during.p50Ms), ms(during.p99Ms), ms(during.maxMs)],
        ]),
        '',
        `p99 is ${ratio.toFixed(2)}× of that without, wanted at most ${AT_MOST_RATIO}×.`,
        `RssAnon grew by at most ${growthMb.toFixed(1)} MB, wanted at most ${AT_MOST_GROWTH_MB} MB for 2 GB.`,
        `Drained in ${seconds.toFixed(1)} s beside the publishing; CPU of the gateway for a million records, publishing included: ${cpuSecondsPerMillion.toFixed(1)} s.`,
        ...(seconds * 1000 < MEASURE_MS(options)
          ? ['It had drained before the measurement ended: the p99 says less than it should.']
          : []),
      ]
      const result = { without, during, ratio, rss_anon_growth_mb: growthMb, drain_seconds: seconds }
      return { text, result: { ...result, cpu_seconds_per_million: cpuSecondsPerMillion } }
    } finally {
      memory.end()
      await gateway.stop()
      await upstream.stop()
      await proxy.stop()
    }
  },
}

const MEASURE_MS = ({ quick }: BenchOptions): number => (quick ? 2000 : 8000)
const ms = (value: number): string => `${value.toFixed(2)} ms`
const megabytes = (bytes: number): string => `${Math.round(bytes / 1024 / 1024)} MB`

async function publish(port: number, options: BenchOptions): Promise<LatencyResult['alone']> {
  const shape: LatencyShape = {
    ...{ port, connections: CONNECTIONS, messagesPerSecond: RATE, payloadBytes: 100 },
    ...{ warmUpMs: 500, measureMs: MEASURE_MS(options), idleConnections: 0, idleConnectionsPerSecond: 0 },
  }
  return (await runLoad<LatencyResult>('latency-load', shape, options)).alone
}

/** @returns how long it took, seconds. */
async function whenReceived(received: () => Promise<number>, count: number): Promise<number> {
  const startedAt = performance.now()
  while ((await received()) < count) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  return (performance.now() - startedAt) / 1000
}
