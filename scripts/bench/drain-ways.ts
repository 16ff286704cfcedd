// From where to where a backlog can be forwarded, for the benchmarks that do so: a gateway whose upstream is not there yet, and the upstream.

import { getJson } from '../../test/helpers/http.js'
import { freePort, Mosquitto } from '../../test/helpers/mosquitto.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import type { TcpProxy } from '../../test/helpers/tcp-proxy.js'
import type { BenchOptions } from './workload.js'

export interface Running {
  readonly port: number
  stop(): Promise<unknown>
}

export interface Gateway extends Running {
  readonly pid: number
}

export interface Upstream extends Running {
  /** It is not there before. */
  start(): Promise<void>
  /** Records it has acknowledged. */
  received(proxy: TcpProxy): Promise<number>
}

export interface Way {
  readonly name: string
  startGateway(upstreamPort: number, options: BenchOptions): Promise<Gateway>
  /** @param dataDir Of an upstream that has one. Default: a folder on the disk. */
  upstream(options: BenchOptions, dataDir?: string): Promise<Upstream>
}

/** Of messages, to an MQTT broker. Whoever acknowledges out of memory over a fast link has room for so many; mosquitto's bridge has 20. */
export const WINDOW = 4000

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
max_in_flight = ${WINDOW}
reconnect_min_ms = 20
reconnect_max_ms = 50
`

async function startNode(type: 'sluice' | 'mqtt', port: number, core: number | undefined): Promise<Gateway> {
  const node = await NodeProcess.start({ config: gatewayConfig(type, port), core })
  return { port: node.mqttPort, pid: node.pid, stop: () => node.kill('SIGKILL') }
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

export const toSluice: Way = {
  name: 'sluice to a sluice node',
  startGateway: (port, { brokerCore }) => startNode('sluice', port, brokerCore),
  async upstream({ loadCore }, dataDir) {
    const port = await freePort()
    const config = 'node_id = "cloud"\n[mirrors]\nretention = { max_bytes = "4GB" }\n'
    let node: NodeProcess | null = null
    return {
      port,
      async start() {
        const env = { SLUICE_MQTT_LISTEN: `127.0.0.1:${port}` }
        node = await NodeProcess.start({ config, core: loadCore, env, dataDir })
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

export const toMosquitto: Way = {
  name: 'sluice to mosquitto',
  startGateway: (port, { brokerCore }) => startNode('mqtt', port, brokerCore),
  upstream: mosquittoUpstream,
}

export const bridge: Way = {
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
    return { port: broker.port, pid: broker.pid, stop: () => broker.kill('SIGKILL') }
  },
  upstream: mosquittoUpstream,
}
