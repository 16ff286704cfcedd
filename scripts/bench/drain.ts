// How fast a backlog drains after an outage, and what a record costs on the wire: to a Sluice node, to mosquitto, and mosquitto's own bridge to
// mosquitto. The gateway is filled while its upstream is not there; then the upstream is started, and the clock with it.

import { connect } from 'node:net'
import { encodeConnect, encodePublish } from '../../src/cli/bench/mqtt-packets.js'
import { getJson } from '../../test/helpers/http.js'
import { freePort, Mosquitto, mosquittoMissing } from '../../test/helpers/mosquitto.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { TcpProxy } from '../../test/helpers/tcp-proxy.js'
import { readings, readingsSource } from '../readings.js'
import { type BenchOptions, formatTable, type Workload, type WorkloadReport } from './workload.js'

interface Running {
  readonly port: number
  stop(): Promise<unknown>
}

interface Upstream extends Running {
  /** It is not there before. */
  start(): Promise<void>
  /** Records it has acknowledged. */
  received(proxy: TcpProxy): Promise<number>
}

interface Way {
  readonly name: string
  startGateway(upstreamPort: number, options: BenchOptions): Promise<Running>
  upstream(options: BenchOptions): Promise<Upstream>
}

interface Result {
  readonly way: string
  readonly recordsPerSecond: number
  readonly wireBytesPerRecord: number
}

const POLL_MS = 20
const WINDOW = 2000
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
      const { seconds } = await measure(way, count, fillerPackets, options)
      options.progress(`drain: ${way.name}, bytes`)
      const { bytes } = await measure(way, readingCount, readingPackets, options)
      results.push({
        way: way.name,
        recordsPerSecond: count / seconds,
        wireBytesPerRecord: bytes / readingCount,
      })
    }
    return report(results, count)
  },
}

async function measure(
  way: Way,
  count: number,
  packets: () => Generator<(packetId: number) => Buffer, never>,
  options: BenchOptions,
): Promise<{ readonly seconds: number; readonly bytes: number }> {
  const upstream = await way.upstream(options)
  const proxy = await TcpProxy.start(upstream.port)
  proxy.refuse(true)
  const gateway = await way.startGateway(proxy.port, options)
  try {
    await fill(gateway.port, count, packets())
    await upstream.start()
    proxy.refuse(false)
    await proxy.until(() => proxy.bytes.up > 0)
    const startedAt = performance.now()
    while ((await upstream.received(proxy)) < count) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    return { seconds: (performance.now() - startedAt) / 1000, bytes: proxy.bytes.up + proxy.bytes.down }
  } finally {
    await gateway.stop()
    await upstream.stop()
    await proxy.stop()
  }
}

/** Publishes with a window, as fast as it is acknowledged. */
function fill(port: number, count: number, packets: Generator<(packetId: number) => Buffer, never>): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(encodeConnect('filler')))
    let [sent, acked, bytes] = [0, -1, 0]
    socket.on('error', reject)
    socket.on('close', () => (acked >= count ? resolve() : reject(new Error(`closed after ${acked} acks`))))
    socket.on('data', (chunk) => {
      bytes += chunk.length
      // CONNACK and PUBACK are four bytes each.
      acked = Math.floor(bytes / 4) - 1
      const batch: Buffer[] = []
      for (; sent < count && sent - acked < WINDOW; sent++) batch.push(packets.next().value((sent % 60_000) + 1))
      if (batch.length > 0) socket.write(Buffer.concat(batch))
      if (acked >= count) socket.end()
    })
  })
}

/** 100 bytes that look like a reading and are different each time. */
function* fillerPackets(): Generator<(packetId: number) => Buffer, never> {
  for (let n = 0; ; n++) {
    const text = `{"n":${n},"value":${Math.random()},"at":${Date.now()},"pad":"`
    const payload = Buffer.from(text.padEnd(PAYLOAD_BYTES, (n * 7919).toString(36)))
    yield (packetId) => encodePublish(`sensors/${n % 50}/temperature`, payload, 1, packetId)
  }
}

function* readingPackets(): Generator<(packetId: number) => Buffer, never> {
  const source = readings()
  for (;;) {
    const { mqttTopic, payload } = source.next().value
    yield (packetId) => encodePublish(mqttTopic, Buffer.from(payload), 1, packetId)
  }
}

const gatewayConfig = (type: 'sluice' | 'mqtt', port: number) => `
node_id = "gw-17"
[[stream]]
name = "telemetry"
topics = ["#"]
retention = { max_bytes = "4GB" }
[[upstream]]
name = "cloud"
type = "${type}"
url = "mqtt://127.0.0.1:${port}"
streams = ["telemetry"]
max_in_flight = 1000
reconnect_min_ms = 20
reconnect_max_ms = 50
`

async function startNode(type: 'sluice' | 'mqtt', port: number, core: number | undefined): Promise<Running> {
  const node = await NodeProcess.start({ config: gatewayConfig(type, port), core })
  return { port: node.mqttPort, stop: () => node.kill('SIGKILL') }
}

async function mosquittoUpstream({ loadCore }: BenchOptions): Promise<Upstream> {
  const broker = await Mosquitto.notYetStarted({ core: loadCore })
  return {
    port: broker.port,
    start: () => broker.startAgain(),
    // CONNACK, then a PUBACK for each, all of four bytes.
    received: async (proxy) => proxy.bytes.down / 4 - 1,
    stop: () => broker.kill('SIGKILL'),
  }
}

const toSluice: Way = {
  name: 'sluice to a sluice node',
  startGateway: (port, { brokerCore }) => startNode('sluice', port, brokerCore),
  async upstream({ loadCore }) {
    const port = await freePort()
    const config = 'node_id = "cloud"\n[mirrors]\nretention = { max_bytes = "4GB" }\n'
    let node: NodeProcess | null = null
    return {
      port,
      async start() {
        node = await NodeProcess.start({ config, core: loadCore, env: { SLUICE_MQTT_LISTEN: `127.0.0.1:${port}` } })
      },
      async received() {
        const { streams } = await getJson<{ streams: StreamInfo[] }>(`${node?.httpUrl}/v1/streams`)
        return streams.find(({ name }) => name === 'gw-17.telemetry')?.partitions[0].high_watermark ?? 0
      },
      stop: async () => node?.kill('SIGKILL'),
    }
  },
}

interface StreamInfo {
  readonly name: string
  readonly partitions: readonly { readonly high_watermark: number }[]
}

const toMosquitto: Way = {
  name: 'sluice to mosquitto',
  startGateway: (port, { brokerCore }) => startNode('mqtt', port, brokerCore),
  upstream: mosquittoUpstream,
}

const bridge: Way = {
  name: "mosquitto's bridge to mosquitto",
  async startGateway(port, { brokerCore }) {
    const config = [
      'connection cloud',
      `address 127.0.0.1:${port}`,
      'topic # out 1',
      'notifications false',
      'try_private false',
      'restart_timeout 1 1',
      'bridge_protocol_version mqttv311',
    ]
    const broker = await Mosquitto.start({ core: brokerCore, config })
    return { port: broker.port, stop: () => broker.kill('SIGKILL') }
  },
  upstream: mosquittoUpstream,
}

function report(results: readonly Result[], count: number): WorkloadReport {
  const theirs = results.find(({ way }) => way === bridge.name)
  const rows = [['way', 'records/s', 'ratio', 'wire B/record', 'ratio']]
  for (const { way, recordsPerSecond, wireBytesPerRecord } of results)
    rows.push([
      way,
      `${(recordsPerSecond / 1000).toFixed(1)} k`,
      theirs === undefined ? '–' : `${(recordsPerSecond / theirs.recordsPerSecond).toFixed(2)}×`,
      wireBytesPerRecord.toFixed(1),
      theirs === undefined ? '–' : `1/${(theirs.wireBytesPerRecord / wireBytesPerRecord).toFixed(1)}`,
    ])
  const text = [
    `Drain of ${count} records of ${PAYLOAD_BYTES} B after an outage; bytes both ways, counted at a proxy, of ${readingsSource()}`,
    '',
    ...formatTable(rows),
    '',
    'Wanted: at least 5× to a sluice node, 1× to mosquitto; on the wire at most 1/4.',
    'A sluice gateway reads its backlog from disk, and a sluice upstream has it on disk before it acknowledges; mosquitto keeps both in memory.',
  ]
  if (theirs === undefined) text.push(`No comparison: ${mosquittoMissing}.`)
  return {
    text,
    result: results.map(({ way, recordsPerSecond, wireBytesPerRecord }) => ({
      way,
      records_per_second: Math.round(recordsPerSecond),
      wire_bytes_per_record: wireBytesPerRecord,
    })),
  }
}
