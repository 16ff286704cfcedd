// How fast a backlog drains after an outage, and what a record costs on the wire: to a Sluice node, to mosquitto, and mosquitto's own bridge to
// mosquitto. The gateway is filled while its upstream is not there; then the upstream is started, and the clock with it.

import { mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { cpuSecondsOf } from '../../test/helpers/process-usage.js'
import { TcpProxy } from '../../test/helpers/tcp-proxy.js'
import { readingsSource } from '../readings.js'
import { bridge, toMosquitto, toSluice, type Way, WINDOW } from './drain-ways.js'
import { fill, fillerPackets, type Packets, readingPackets } from './fill.js'
import { type BenchOptions, formatTable, type Workload, type WorkloadReport } from './workload.js'

interface Result {
  readonly way: string
  readonly recordsPerSecond: number
  readonly wireBytesPerRecord: number
  /** Of the gateway, for a million records. */
  readonly cpuSecondsPerMillion: number
}

const POLL_MS = 50
const PAYLOAD_BYTES = 100

export const drain: Workload = {
  name: 'drain',
  summary: 'a backlog forwarded after an outage, and its bytes on the wire',
  async run(options) {
    const count = options.quick ? 100_000 : 1_000_000
    const readingCount = options.quick ? 20_000 : 200_000
    const ways = mosquittoMissing === null ? [toSluice, toMosquitto, bridge] : [toSluice]
    const results: Result[] = []
    for (const way of ways) {
      options.progress(`drain: ${way.name}, rate`)
      const { seconds, cpuSeconds } = await measure(way, count, fillerPackets(PAYLOAD_BYTES), options)
      options.progress(`drain: ${way.name}, bytes`)
      const { bytes } = await measure(way, readingCount, readingPackets(), options)
      results.push({
        way: way.name,
        recordsPerSecond: count / seconds,
        wireBytesPerRecord: bytes / readingCount,
        cpuSecondsPerMillion: (cpuSeconds * 1_000_000) / count,
      })
    }
    return report(results, count)
  },
}

async function measure(
  way: Way,
  count: number,
  packets: Packets,
  options: BenchOptions,
): Promise<{ readonly seconds: number; readonly bytes: number; readonly cpuSeconds: number }> {
  const upstream = await way.upstream(options)
  const proxy = await TcpProxy.start(upstream.port)
  proxy.refuse(true)
  const gateway = await way.startGateway(proxy.port, options)
  try {
    await fill(gateway.port, count, packets)
    await upstream.start()
    proxy.refuse(false)
    await proxy.until(() => proxy.bytes.up > 0)
    const startedAt = performance.now()
    const cpuBefore = cpuSecondsOf(gateway.pid)
    while ((await upstream.received(proxy)) < count) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    const seconds = (performance.now() - startedAt) / 1000
    const cpuSeconds = cpuSecondsOf(gateway.pid) - cpuBefore
    return { seconds, cpuSeconds, bytes: proxy.bytes.up + proxy.bytes.down }
  } finally {
    await gateway.stop()
    await upstream.stop()
    await proxy.stop()
  }
}

function report(results: readonly Result[], count: number): WorkloadReport {
  const theirs = results.find(({ way }) => way === bridge.name)
  const rows = [['way', 'records/s', 'ratio', 'wire B/record', 'ratio', 'CPU s/M']]
  for (const { way, recordsPerSecond, wireBytesPerRecord, cpuSecondsPerMillion } of results)
    rows.push([
      way,
      `${(recordsPerSecond / 1000).toFixed(1)} k`,
      theirs === undefined ? '–' : `${(recordsPerSecond / theirs.recordsPerSecond).toFixed(2)}×`,
      wireBytesPerRecord.toFixed(1),
      theirs === undefined ? '–' : `1/${(theirs.wireBytesPerRecord / wireBytesPerRecord).toFixed(1)}`,
      cpuSecondsPerMillion.toFixed(2),
    ])
  const text = [
    `Drain of ${count} records of ${PAYLOAD_BYTES} B after an outage; bytes both ways, counted at a proxy, of ${readingsSource()}`,
    '',
    ...formatTable(rows),
    '',
    'Wanted: at least 5× to a sluice node, 1× to mosquitto; on the wire at most 1/4.',
    `max_in_flight is ${WINDOW} to mosquitto.`,
    'A sluice gateway reads its backlog from disk, and a sluice upstream has it on disk before it acknowledges; mosquitto keeps both in memory.',
  ]
  if (theirs === undefined) text.push(`No comparison: ${mosquittoMissing}.`)
  return {
    text,
    result: results.map(({ way, recordsPerSecond, wireBytesPerRecord, cpuSecondsPerMillion }) => ({
      way,
      records_per_second: Math.round(recordsPerSecond),
      wire_bytes_per_record: wireBytesPerRecord,
      cpu_seconds_per_million: cpuSecondsPerMillion,
    })),
  }
}
