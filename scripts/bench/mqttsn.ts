// 500 MQTT-SN clients on UDP that publish once a second each at QoS 1: what the gateway costs in processor and memory, and how long a PUBACK takes,
// without a key, under the seal, and with a subscription (a session at the node) for each.

import { RawSeal } from '../../test/firmware-bridge/raw-seal.js'
import { RawSnClient, w } from '../../test/firmware-bridge/raw-sn-client.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { cpuSecondsOf, residentKb } from '../../test/helpers/process-usage.js'
import { freeUdpPort } from '../../test/helpers/udp-proxy.js'
import { quantile } from './statistics.js'
import { type BenchOptions, formatTable, type Workload } from './workload.js'

const CLIENTS = 500
const INTERVAL_MS = 1000
const PAYLOAD = 'x'.repeat(100)
const KEY = '000102030405060708090a0b0c0d0e0f'
const RESEND_MS = 1000
const PUBACK_BYTES = 7

interface Variant {
  readonly name: string
  readonly sealed: boolean
  readonly subscribed: boolean
  /** Commits gather more messages. Default: 0. */
  readonly lingerMs?: number
}

const VARIANTS: readonly Variant[] = [
  { name: 'without a key', sealed: false, subscribed: false },
  { name: 'under the seal', sealed: true, subscribed: false },
  { name: 'each subscribed too', sealed: false, subscribed: true },
  { name: 'the stream lingers 20 ms', sealed: false, subscribed: false, lingerMs: 20 },
]

interface Measured {
  readonly variant: string
  readonly sent: number
  readonly acked: number
  readonly resent: number
  readonly p50_ms: number
  readonly p99_ms: number
  readonly cpu_percent: number
  readonly rss_kb: { readonly empty: number; readonly connected: number; readonly after: number }
}

export const mqttsn: Workload = {
  name: 'mqttsn',
  summary: `${CLIENTS} MQTT-SN clients on UDP that publish once a second: processor, memory, time to PUBACK`,
  async run(options) {
    const measured: Measured[] = []
    for (const variant of VARIANTS) {
      options.progress(`MQTT-SN: ${variant.name}`)
      measured.push(await measure(variant, options))
    }
    const rows = [
      ['', 'acked', 'resent', 'p50', 'p99', 'CPU of a core', 'RSS empty', 'connected', 'after'],
      ...measured.map((one) => [
        one.variant,
        `${one.acked} of ${one.sent}`,
        String(one.resent),
        `${one.p50_ms.toFixed(1)} ms`,
        `${one.p99_ms.toFixed(1)} ms`,
        `${one.cpu_percent.toFixed(0)} %`,
        ...[one.rss_kb.empty, one.rss_kb.connected, one.rss_kb.after].map((kb) => `${(kb / 1024).toFixed(0)} MB`),
      ]),
    ]
    const text = [
      `${CLIENTS} MQTT-SN clients, ${PAYLOAD.length} B at QoS 1 once every ${INTERVAL_MS} ms each; PUBACK after fdatasync`,
      '',
      ...formatTable(rows),
    ]
    return { text, result: measured }
  },
}

async function measure({ name, sealed, subscribed, lingerMs = 0 }: Variant, options: BenchOptions): Promise<Measured> {
  const port = await freeUdpPort()
  const devices = sealed
    ? Array.from({ length: CLIENTS }, (_, i) => `[[firmware.device]]\nid = "d${i}"\nkey = "${KEY}"\n`).join('')
    : ''
  const entry = `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${port}"]\nmax_clients_per_address = ${CLIENTS}\n`
  const stream = `[[stream]]\nname = "mqtt"\ntopics = ["#"]\nlinger_ms = ${lingerMs}\n`
  const node = await NodeProcess.start({
    core: options.brokerCore,
    config: `${stream}${entry}max_packet_rate_per_address = 5000\nmax_byte_rate_per_address = "4MB/s"\nauthentication = ${sealed}\n${devices}`,
  })
  const devicesThere: Device[] = []
  try {
    const empty = residentKb(node.pid, 'VmRSS')
    for (let i = 0; i < CLIENTS; i++) {
      const device = new Device(await RawSnClient.open(port), `d${i}`, sealed)
      await device.join(subscribed)
      devicesThere.push(device)
    }
    const connected = residentKb(node.pid, 'VmRSS')
    const [cpuBefore, began] = [cpuSecondsOf(node.pid), performance.now()]
    const rounds = options.quick ? 3 : 30
    await Promise.all(devicesThere.map((device, i) => device.publish(rounds, (i * INTERVAL_MS) / CLIENTS)))
    const cpuPercent = ((cpuSecondsOf(node.pid) - cpuBefore) / (performance.now() - began)) * 100_000
    const latencies = devicesThere.flatMap((device) => device.latenciesMs)
    return {
      variant: name,
      sent: rounds * CLIENTS,
      acked: latencies.length,
      resent: devicesThere.reduce((sum, { resent }) => sum + resent, 0),
      p50_ms: quantile(latencies, 0.5),
      p99_ms: quantile(latencies, 0.99),
      cpu_percent: cpuPercent,
      rss_kb: { empty, connected, after: residentKb(node.pid, 'VmRSS') },
    }
  } finally {
    for (const { client } of devicesThere) client.close()
    await node.kill('SIGKILL')
  }
}

class Device {
  readonly latenciesMs: number[] = []
  resent = 0
  private readonly seal: RawSeal | null
  private topicId = ''

  constructor(
    readonly client: RawSnClient,
    private readonly id: string,
    sealed: boolean,
  ) {
    this.seal = sealed ? new RawSeal(client, id, Buffer.from(KEY, 'hex')) : null
  }

  async join(subscribed: boolean): Promise<void> {
    await this.seal?.hello()
    await this.ask(`0404010e10${hex(Buffer.from(this.id))}`)
    const regack = await this.ask(`0a00000001${hex(Buffer.from('m'))}`)
    this.topicId = regack.slice(4, 8)
    if (subscribed) await this.ask(`12200002${hex(Buffer.from('cmd/#'))}`)
  }

  /** One message every interval, by the clock. */
  async publish(rounds: number, phaseMs: number): Promise<void> {
    const began = performance.now() + phaseMs
    for (let round = 0; round < rounds; round++) {
      const dueMs = began + round * INTERVAL_MS
      await new Promise((resolve) => setTimeout(resolve, dueMs - performance.now()))
      await this.publishOne(round + 10)
    }
  }

  private async publishOne(messageId: number): Promise<void> {
    const rest = `${this.topicId}${hex(w(messageId))}${hex(Buffer.from(PAYLOAD))}`
    const began = performance.now()
    for (const flags of ['20', 'a0', 'a0', 'a0']) {
      if (flags === 'a0') this.resent += 1
      const puback = await this.ask(`0c${flags}${rest}`, RESEND_MS).catch(() => null)
      if (puback?.length === 2 * PUBACK_BYTES && puback.endsWith('00')) {
        this.latenciesMs.push(performance.now() - began)
        return
      }
    }
  }

  /** @param body Type and fields, hex. */
  private ask(body: string, waitMs?: number): Promise<string> {
    const message = Buffer.concat([Buffer.of(body.length / 2 + 1), Buffer.from(body, 'hex')])
    if (this.seal !== null) this.seal.send(hex(message))
    else this.client.sendBytes(message)
    return (this.seal ?? this.client).next(waitMs)
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}
