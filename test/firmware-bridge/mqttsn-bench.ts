// A real node with an MQTT-SN gateway in this process, for tests.

import { connectAsync, type MqttClient } from 'mqtt'
import { type Bridge, startBridge } from '../../firmware-bridge/start-bridge.js'
import { Logger, loadValidConfig, type RunningNode, startNode } from '../../src/index.js'
import { getJson } from '../helpers/http.js'
import { tempDir } from '../helpers/temp-dir.js'
import { RawSnClient } from './raw-sn-client.js'

const LISTEN_ANYWHERE = '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n'
const ENTRY = '[[firmware]]\nname = "air"\ntype = "mqtt-sn"\n'

export interface RecordRow {
  readonly topic: string
  readonly value: string
}

export class MqttSnBench {
  private readonly clients: RawSnClient[] = []
  private readonly programs: MqttClient[] = []

  private constructor(
    readonly dataDir: string,
    private readonly text: string,
    public node: RunningNode,
    public bridge: Bridge,
    readonly port: number,
  ) {}

  /** @param keys Of the [[firmware]] entry, TOML. */
  static async start(keys = '', dataDir = tempDir(), port = 0): Promise<MqttSnBench> {
    const topics = keys.includes('topic_prefix') ? '' : 'topic_prefix = ""\n'
    const text = `${LISTEN_ANYWHERE}${ENTRY}listen = ["127.0.0.1:${port}"]\n${topics}${keys}\n`
    const config = loadValidConfig({ text, dataDir, environment: {} })
    const logger = new Logger('test', process.env['SLUICE_TEST_VERBOSE'] ? 'debug' : 'error')
    const node = await startNode(config, { logger })
    const bridge = await startBridge(node, config.firmware, logger)
    const bound = Number(bridge.registry.lines()[0].address.split(':').at(-1))
    return new MqttSnBench(dataDir, keys, node, bridge, bound)
  }

  /** Stops node and gateway and starts them again on the same data and port; the clients stay. */
  async restart(): Promise<void> {
    await this.bridge.stop()
    await this.node.stop()
    const again = await MqttSnBench.start(this.text, this.dataDir, this.port)
    this.node = again.node
    this.bridge = again.bridge
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.close()
    for (const program of this.programs) await program.endAsync(true)
    await this.bridge.stop()
    await this.node.stop()
  }

  async client(localAddress?: string): Promise<RawSnClient> {
    const client = await RawSnClient.open(this.port, localAddress)
    this.clients.push(client)
    return client
  }

  /** A program that speaks MQTT. */
  async program(): Promise<MqttClient> {
    const program = await connectAsync(`mqtt://${this.node.mqttAddresses[0]}`)
    this.programs.push(program)
    return program
  }

  /** What the stream holds. */
  async records(): Promise<RecordRow[]> {
    const url = `http://${this.node.httpAddresses[0]}/v1/streams/mqtt/partitions/0/records?offset=0&max_records=10000`
    const { records } = (await (await fetch(url)).json()) as { records: RecordRow[] }
    return records.map(({ topic, value }) => ({ topic, value }))
  }

  /** Destination, first and last offset, reason. */
  async ledger(): Promise<unknown[][]> {
    const { entries } = await getJson<{ entries: Record<string, unknown>[] }>(
      `http://${this.node.httpAddresses[0]}/v1/ledger`,
    )
    return entries.map((row) => [row['destination'], row['first_offset'], row['last_offset'], row['reason']])
  }

  async values(): Promise<string[]> {
    return (await this.records()).map(({ value }) => value)
  }
}

/** Runs `body` with a bench, and stops it whatever happens. */
export async function withBench(keys: string, body: (bench: MqttSnBench) => Promise<void>): Promise<void> {
  const bench = await MqttSnBench.start(keys)
  try {
    await body(bench)
  } finally {
    await bench.stop()
  }
}
