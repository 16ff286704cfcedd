import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeUp } from '../../src/replication/node-codec.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { streamAt } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { PacketTap, type TappedPacket } from '../helpers/packet-tap.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { until } from '../helpers/until.js'
import { UpstreamBench, upstreamTo } from './upstream-bench.js'

const PUBLISH = 3
/** What is looked at, of what arrives. */
const SAMPLE_BYTES = 300_000
const PER_STREAM = 8_000
const SIZES: Readonly<Record<string, number>> = { alarms: 60, telemetry: 400, pictures: 5_000 }

/** What part of the bytes that arrive while all compete is of each stream. */
async function sharesAt(weights: Record<string, number>, bytesPerSecond: { link?: number; budget?: number }) {
  const names = Object.keys(weights)
  const bench = await UpstreamBench.open(names.map((name) => ({ name })))
  const broker = await MiniBroker.start()
  const proxy = await TcpProxy.start(broker.port)
  try {
    // Enough of each for all of the sample.
    for (const name of names) await bench.write(Math.ceil((1.2 * SAMPLE_BYTES) / SIZES[name]), name, SIZES[name])
    if (bytesPerSecond.link !== undefined) proxy.throttle(bytesPerSecond.link)
    const bandwidth = { bandwidthBytesPerSecond: bytesPerSecond.budget, bandwidthBurstBytes: 10_000 }
    bench.start(upstreamTo(proxy.port, { streams: names, weights, maxInFlight: 40, ...bandwidth }))
    const bytesOf = Object.fromEntries(names.map((name) => [name, 0]))
    let seen = 0
    let total = 0
    await broker.until(() => {
      for (; seen < broker.received.length && total < SAMPLE_BYTES; seen++) {
        const { payload } = broker.received[seen]
        bytesOf[payload.toString('utf8', 0, payload.indexOf('/'))] += payload.length
        total += payload.length
      }
      return total >= SAMPLE_BYTES
    })
    return Object.fromEntries(names.map((name) => [name, bytesOf[name] / total]))
  } finally {
    await bench.close()
    await proxy.stop()
    await broker.stop()
  }
}

function assertShares(shares: Record<string, number>, weights: Record<string, number>): void {
  const sum = Object.values(weights).reduce((total, weight) => total + weight, 0)
  for (const [name, weight] of Object.entries(weights)) {
    const [got, due] = [shares[name], weight / sum]
    assert.ok(
      Math.abs(got - due) <= 0.15 * due + 0.01,
      `${name}: ${got.toFixed(3)} of the bytes, ${due.toFixed(3)} due`,
    )
  }
}

test('over a slow link each stream gets its weight in bytes, whatever its records are like', async () => {
  const weights = { alarms: 8, telemetry: 1, pictures: 3 }
  assertShares(await sharesAt(weights, { link: 500_000 }), weights)
})

test('a bandwidth is shared by weights as well', async () => {
  const weights = { telemetry: 2, pictures: 1 }
  assertShares(await sharesAt(weights, { budget: 300_000 }), weights)
})

test('a stream of weight 1 gets on beside one of weight 100', async () => {
  const { telemetry } = await sharesAt({ telemetry: 1, alarms: 100 }, { link: 500_000 })
  assert.ok(telemetry > 0.004, `${telemetry} of the bytes`)
})

/** The bytes of batches in each frame that a gateway sends a node, under the name of their stream. */
class Frames {
  readonly all: { readonly stream: string; readonly bytes: number }[] = []
  private readonly names = new Map<number, string>()

  take({ direction, type, body }: TappedPacket): void {
    if (direction === 'down' || type !== PUBLISH) return
    // Topic, then packet identifier.
    const message = decodeUp(body.subarray(4 + body.readUInt16BE(0)))
    if (message.type === 'open') this.names.set(message.lane, message.stream)
    if (message.type !== 'frame') return
    const stream = this.names.get(message.lane) as string
    this.all.push({ stream, bytes: message.batches.reduce((sum, batch) => sum + batch.length, 0) })
  }

  /** Of each stream, in the frames from one up to another, exclusive. */
  bytesBetween(first: number, end: number): Record<string, number> {
    const bytesOf: Record<string, number> = {}
    for (const { stream, bytes } of this.all.slice(first, end)) bytesOf[stream] = (bytesOf[stream] ?? 0) + bytes
    return bytesOf
  }
}

/** Two streams that have waited while the link was down. */
async function drainBetweenNodes(maxInFlight: number): Promise<void> {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const frames = new Frames()
  const tap = await PacketTap.start(cloud.mqttPort, (packet) => frames.take(packet))
  const uplink = await TcpProxy.start(tap.port)
  const stream = (name: string): string => `[[stream]]\nname = "${name}"\ntopics = ["${name}/#"]\n`
  const gateway = await NodeProcess.start({
    config: `node_id = "gw"\n${stream('alarms')}${stream('telemetry')}
[[upstream]]
name = "cloud"
type = "sluice"
url = "mqtt://127.0.0.1:${uplink.port}"
streams = ["alarms", "telemetry"]
weights = { alarms = 4 }
max_in_flight = ${maxInFlight}
reconnect_min_ms = 50
reconnect_max_ms = 100
`,
  })
  try {
    uplink.refuse(true)
    const publisher = new ReliablePublisher({
      url: gateway.mqttUrl,
      clientId: 'sensors',
      window: 2000,
      reconnectMs: 50,
    })
    for (let n = 0; n < 2 * PER_STREAM; n++) {
      // Half of it is left after compression.
      const payload = randomBytes(200).toString('hex')
      publisher.publish({ mqttTopic: `${n % 2 === 0 ? 'alarms' : 'telemetry'}/a`, payload })
    }
    await publisher.allAcked()
    publisher.close()
    // So slow that the link is what they compete for and not the packing.
    uplink.throttle(300_000)
    uplink.refuse(false)
    const endOf = async (name: string): Promise<number> =>
      (await streamAt(cloud, `gw.${name}`))?.partitions[0].high_watermark ?? 0
    const arrived = async (name: string): Promise<number> =>
      until(
        `${name} have arrived`,
        () => endOf(name),
        (end) => end === PER_STREAM,
      )
    await arrived('alarms')
    uplink.throttle(null)
    await arrived('telemetry')
    // Until half a window is under way nobody is waited for; the last records of a stream wait for more to go with them.
    const ofAlarms = frames.all.flatMap(({ stream }, index) => (stream === 'alarms' ? [index] : []))
    const end = ofAlarms[Math.floor(ofAlarms.length * 0.8)]
    const { alarms, telemetry } = frames.bytesBetween(Math.ceil(maxInFlight / 2), end)
    const largest = Math.max(...frames.all.map(({ bytes }) => bytes))
    assert.ok(alarms / largest > 8, `${alarms} bytes of alarms in frames of up to ${largest}`)
    // How far a stream may be ahead or behind, in frames: the one that is being sent, and the allowance of two.
    assert.ok(
      Math.abs(telemetry - alarms / 4) <= 3 * largest,
      `${telemetry} bytes of telemetry beside ${alarms} of alarms, in frames of up to ${largest}`,
    )
  } finally {
    await gateway.kill()
    await cloud.kill()
    await uplink.stop()
    await tap.stop()
  }
}

for (const maxInFlight of [2, 16])
  test(`between nodes, with ${maxInFlight} frames under way, those of streams go by their weights, and all arrives`, () =>
    drainBetweenNodes(maxInFlight))

test.run()
