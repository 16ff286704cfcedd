import { readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { loadValidConfig } from '../../src/config/load.js'
import { upstreamOptions } from '../../src/node-upstreams.js'
import { Authority, opensslMissing } from '../helpers/certificates.js'
import { MiniBroker, type Received } from '../helpers/mini-broker.js'
import { readAll, recordOf } from '../helpers/open-log.js'
import { unlessSkipped } from '../helpers/skip.js'
import { UpstreamBench } from './upstream-bench.js'

const DEAD = { name: 'upstream-dead', topics: [] }
const KB = 1024

/** A broker that hangs up as a cloud does when a limit is passed, and says which. */
interface FakeCloud {
  readonly broker: MiniBroker
  readonly violations: string[]
  readonly port: number
  readonly protocols: (string | false | null)[]
  stop(): Promise<void>
}

async function fakeCloud(authority: Authority, violationOf: (message: Received) => string | null): Promise<FakeCloud> {
  const broker = await MiniBroker.start()
  const violations: string[] = []
  const protocols: (string | false | null)[] = []
  broker.ackDelayMs = 15
  broker.hangUpOn = (message) => {
    const violation = violationOf(message)
    if (violation !== null) violations.push(violation)
    return violation !== null
  }
  const { certFile, keyFile } = authority.issue('cloud')
  const read = (file: string): Buffer => readFileSync(file)
  const tls = { cert: read(certFile), key: read(keyFile), ca: read(authority.caFile), requestCert: true }
  const server = createServer({ ...tls, ALPNProtocols: ['x-amzn-mqtt-ca'] }, (socket) => {
    protocols.push(socket.alpnProtocol)
    const plain = connect(broker.port, '127.0.0.1')
    for (const [one, other] of [
      [socket, plain],
      [plain, socket],
    ])
      one.on('error', () => {}).on('close', () => other.destroy())
    socket.pipe(plain).pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const stop = async (): Promise<void> => {
    server.close()
    await broker.stop()
  }
  return { broker, violations, port, protocols, stop }
}

/** Sums over the last second. */
class LastSecond {
  private readonly entries: { readonly atMs: number; readonly count: number }[] = []
  sum = 0

  add(count: number): number {
    const atMs = performance.now()
    this.entries.push({ atMs, count })
    this.sum += count
    while (this.entries[0].atMs < atMs - 1000) this.sum -= this.entries.shift()!.count
    return this.sum
  }
}

function start(bench: UpstreamBench, authority: Authority, lines: string): void {
  const { certFile, keyFile } = authority.issue('gw-17')
  const file = join(authority.folder, 'sluice.toml')
  writeFileSync(
    file,
    `[[stream]]\nname = "telemetry"\ntopics = ["#"]\n[[upstream]]\nname = "cloud"\ntype = "mqtt"\n` +
      `ca_file = "${authority.caFile}"\ncert_file = "${certFile}"\nkey_file = "${keyFile}"\n${lines}`,
  )
  bench.start(...loadValidConfig({ file }).upstream.map((upstream) => upstreamOptions(upstream, 'gw-17')))
}

async function write(bench: UpstreamBench, count: number, value: string, topic = 'sensors/a'): Promise<void> {
  const stream = bench.test.log.stream('telemetry')
  let last = null
  for (let i = 0; i < count; i++)
    last = stream.append(0 as never, recordOf(value, { key: Buffer.from(topic), attributes: i % 7 === 0 ? 4 : 0 }))
  await last?.durable()
}

const withOpenssl = unlessSkipped(test, opensslMissing)

withOpenssl('with preset = "aws-iot" none of its limits is passed, at full speed and over a backlog', async () => {
  const authority = new Authority()
  const messages = new LastSecond()
  const bytes = new LastSecond()
  const cloud: FakeCloud = await fakeCloud(authority, ({ mqttTopic, payload }) => {
    const size = mqttTopic.length + payload.length
    if (messages.add(1) > 100) return 'more than 100 messages in a second'
    if (bytes.add(size) > 512 * KB) return 'more than 512 KB in a second'
    if (payload.length > 128 * KB) return 'more than 128 KB'
    if (mqttTopic.split('/').length > 8) return 'more than 7 slashes'
    if (Buffer.byteLength(mqttTopic) > 256) return 'more than 256 bytes of topic'
    return cloud.broker.unacked > 100 ? 'more than 100 unacknowledged' : null
  })
  const bench = await UpstreamBench.open([{ name: 'telemetry' }, DEAD])
  try {
    await write(bench, 150, 'x'.repeat(200))
    await write(bench, 1, 'y', 'a/b/c/d/e/f/g/h/i')
    await write(bench, 1, 'y', 'z'.repeat(300))
    await write(bench, 1, 'y'.repeat(130 * KB))
    await write(bench, 8, 'x'.repeat(100 * KB))
    start(bench, authority, `preset = "aws-iot"\nurl = "mqtts://127.0.0.1:${cloud.port}"\nalpn = ["x-amzn-mqtt-ca"]`)
    await bench.drained()
    assert.equal(cloud.violations, [])
    assert.is(cloud.broker.received.length, 158)
    assert.equal(cloud.protocols, ['x-amzn-mqtt-ca'])
    assert.is((await readAll(bench.test.log, DEAD.name)).length, 3)
    assert.ok(cloud.broker.received.some(({ retain }) => retain))
  } finally {
    await bench.close()
    await cloud.stop()
  }
})

withOpenssl(
  'with preset = "azure-iot-hub" a message tells its topic in its properties, and none is retained',
  async () => {
    const authority = new Authority()
    const cloud = await fakeCloud(authority, ({ mqttTopic, payload, retain, qos }) => {
      if (!mqttTopic.startsWith('devices/gw-17/messages/events/')) return `topic ${mqttTopic}`
      if (retain) return 'retain'
      if (qos > 1) return 'QoS 2'
      return payload.length > 256 * KB ? 'more than 256 KB' : null
    })
    const bench = await UpstreamBench.open([{ name: 'telemetry' }, DEAD])
    try {
      await write(bench, 50, 'x', 'sensors/größe & co')
      start(bench, authority, `preset = "azure-iot-hub"\nclient_id = "gw-17"\nurl = "mqtts://127.0.0.1:${cloud.port}"`)
      await bench.drained()
      assert.equal(cloud.violations, [])
      const [{ mqttTopic }] = cloud.broker.received
      const properties = new URLSearchParams(mqttTopic.slice('devices/gw-17/messages/events/'.length))
      assert.is(properties.get('topic'), 'sensors/größe & co')
      const [{ username, clientId }] = cloud.broker.connects
      assert.equal([username, clientId], ['127.0.0.1/gw-17/?api-version=2021-04-12', 'gw-17'])
    } finally {
      await bench.close()
      await cloud.stop()
    }
  },
)

test('addresses are tried in turn, and the first again once it was away', async () => {
  const [one, two] = [await MiniBroker.start(), await MiniBroker.start()]
  const bench = await UpstreamBench.open()
  try {
    const port = one.port
    await one.stop()
    const { upstreamTo } = await import('./upstream-bench.js')
    bench.start(upstreamTo(port, { fallbackUrls: ['mqtt://127.0.0.1:1', two.url] }))
    await bench.write(10)
    await bench.drained()
    assert.is(two.received.length, 10)
    const second = two.url
    assert.is(bench.status().url, second)
    const again = await MiniBroker.start(port)
    two.hangUp()
    await two.stop()
    await bench.write(10)
    await bench.drained()
    assert.is(again.received.length, 10)
    await again.stop()
    const logged = (event: string) => bench.logLines.find((line) => line.includes(event)) ?? ''
    assert.ok(logged('connection lost').includes(`url=${second} `), 'the one that was lost, not the next')
    assert.ok(logged('cannot connect').includes(`url=mqtt://127.0.0.1:${port} `))
  } finally {
    await bench.close()
    await two.stop().catch(() => {})
  }
})

test.run()
