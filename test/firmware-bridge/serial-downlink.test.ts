// Messages to a device: a simulated one on a line with noise, a real node in this process.

import { randomBytes } from 'node:crypto'
import { type Duplex, duplexPair } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceRegistry } from '../../firmware-bridge/devices/device-registry.js'
import { type DeviceOptions, DeviceTable } from '../../firmware-bridge/devices/device-table.js'
import { type SerialLine, startSerialLine } from '../../firmware-bridge/serial/serial-line.js'
import { seededRandom } from '../../firmware-bridge/sim/random.js'
import { SerialDevice } from '../../firmware-bridge/sim/serial-device.js'
import { SimulatedLine } from '../../firmware-bridge/sim/simulated-line.js'
import { Logger, loadValidConfig, type RunningNode, startNode } from '../../src/index.js'
import { getJson } from '../helpers/http.js'
import { withSeed } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const quiet = new Logger('test', 'error', () => {})
const RETRY_MS = 50

class Bench {
  readonly messages: string[] = []
  readonly answers: (readonly [id: number, result: number])[] = []
  readonly links: Duplex[] = []
  device!: SerialDevice
  registry!: DeviceRegistry
  private node!: RunningNode
  private line!: SerialLine
  private changed = (): void => {}
  private timer: NodeJS.Timeout | undefined

  static async open(damage: number, seed: number, options: DeviceOptions = { id: 'pump' }): Promise<Bench> {
    const bench = new Bench()
    const text = '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n'
    const config = loadValidConfig({ text, dataDir: tempDir(), environment: {} })
    bench.node = await startNode(config, { logger: quiet })
    bench.registry = await DeviceRegistry.open({ wallMs: () => 0, logger: quiet })
    const [atBridge, atDevice] = duplexPair()
    const random = seededRandom(seed)
    const noisy = (deliver: (bytes: Buffer) => void) =>
      new SimulatedLine({ baudRate: 0, damage, random, monotonicMs: () => 0, deliver })
    const up = noisy((bytes) => atDevice.write(bytes))
    const down = noisy((bytes) => bench.device.receive(bytes))
    bench.device = new SerialDevice({
      id: options.id,
      ...(options.key && { key: options.key }),
      window: 4,
      retryMs: RETRY_MS,
      receiveWindow: 4,
      monotonicMs: () => performance.now(),
      newNonce: () => randomBytes(8),
      write: (bytes) => up.write(bytes),
      onMessage: (mqttTopic, payload) => {
        bench.messages.push(`${mqttTopic} ${Buffer.from(payload)}`)
        bench.changed()
      },
      onSubscribed: (id, result) => {
        bench.answers.push([id, result])
        bench.changed()
      },
    })
    atDevice.on('data', (bytes: Buffer) => down.write(bytes))
    bench.line = startSerialLine(
      { name: 'bus', ports: ['/dev/ttyS9'], baudRate: 9600, maxInFlight: 8, maxFrameSize: 1024 },
      {
        node: {
          publish: (message) => bench.node.publish(message),
          connect: () => {
            const link = bench.node.connect()
            bench.links.push(link)
            return link
          },
          undeliverable: (clientId, packetId) => bench.node.undeliverable(clientId, packetId),
          table: (name) => bench.node.table(name),
        },
        devices: new DeviceTable({
          topicPrefix: 'd/{device}/',
          authenticated: options.key !== undefined,
          devices: [options],
        }),
        registry: bench.registry,
        logger: quiet,
        openPort: async () => atBridge,
      },
    )
    bench.switchOn()
    return bench
  }

  switchOn(): void {
    this.timer = setInterval(() => {
      this.device.poll()
      this.changed()
    }, 5)
  }

  switchOff(): void {
    clearInterval(this.timer)
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo())
      await new Promise<void>((resolve) => {
        this.changed = resolve
      })
  }

  /** Asks until it is answered, as noise may take the question or the answer. */
  async subscribe(filter: string): Promise<number> {
    await this.until(() => this.device.connected)
    const before = this.answers.length
    let askedMs = Number.NEGATIVE_INFINITY
    await this.until(() => {
      if (performance.now() - askedMs > 200) {
        this.device.subscribe(filter)
        askedMs = performance.now()
      }
      return this.answers.length > before
    })
    return this.answers[before][1]
  }

  publish(topic: string, value: string): Promise<void> {
    return this.node.publish({ mqttTopic: `d/pump/${topic}`, payload: Buffer.from(value) }).durable
  }

  async ledger(): Promise<unknown[][]> {
    const { entries } = await getJson<{ entries: Record<string, unknown>[] }>(
      `http://${this.node.httpAddresses[0]}/v1/ledger`,
    )
    return entries.map((row) => [row['destination'], row['first_offset'], row['last_offset'], row['reason']])
  }

  async close(): Promise<void> {
    this.switchOff()
    this.line.stop()
    await this.node.stop()
  }
}

const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `cmd/v ${from + i}`)

test('what is published for a device reaches it in order through noise, also while it was away or the link to the node was lost', () =>
  withSeed(async (random) => {
    const bench = await Bench.open(0.1, random.seed)
    assert.is(await bench.subscribe('cmd/#'), 1)
    for (let i = 1; i <= 40; i++) await bench.publish('cmd/v', String(i))
    await bench.until(() => bench.messages.at(-1) === 'cmd/v 40')
    assert.equal(bench.messages, numbered(1, 40), 'in one session each comes once')

    bench.device.reset(true)
    bench.switchOff()
    for (let i = 41; i <= 60; i++) await bench.publish('cmd/v', String(i))
    bench.switchOn()
    await bench.until(() => bench.messages.at(-1) === 'cmd/v 60')

    for (let i = 61; i <= 80; i++) {
      if (i % 7 === 0) bench.links.at(-1)?.destroy()
      await bench.publish('cmd/v', String(i))
    }
    await bench.until(() => bench.messages.at(-1) === 'cmd/v 80')
    assert.equal([...new Set(bench.messages)].sort(), numbered(1, 80).sort())
    await bench.close()
  }))

test('a session with a key brings messages through noise too', () =>
  withSeed(async (random) => {
    const bench = await Bench.open(0.1, random.seed, { id: 'pump', key: randomBytes(16) })
    assert.is(await bench.subscribe('cmd/#'), 1)
    for (let i = 1; i <= 20; i++) await bench.publish('cmd/v', String(i))
    await bench.until(() => bench.messages.at(-1) === 'cmd/v 20')
    assert.equal(bench.messages, numbered(1, 20))
    await bench.close()
  }))

test('a device may subscribe to its own topics only', async () => {
  const bench = await Bench.open(0, 1, { id: 'pump', topics: ['cmd/#'] })
  assert.is(await bench.subscribe('#'), 0x86)
  assert.is(await bench.subscribe('cmd/#/x'), 0x86)
  assert.is(await bench.subscribe('cmd/+'), 1)
  for (let i = 2; i <= 32; i++) assert.is(await bench.subscribe(`cmd/${i}`), 1)
  assert.is(await bench.subscribe('cmd/33'), 0x84, 'there is a limit')
  await bench.close()
})

test('a message that is too large for its device is counted and in the ledger, and the next one comes', async () => {
  const bench = await Bench.open(0, 1)
  await bench.subscribe('cmd/#')
  await bench.publish('cmd/v', 'x'.repeat(1020))
  await bench.publish('cmd/v', 'small')
  await bench.until(() => bench.messages.length > 0)
  assert.equal(bench.messages, ['cmd/v small'])
  await bench.until(() => bench.registry.list()[0].delivered === 1)
  assert.equal(bench.registry.list()[0].rejected, { too_large: 1 })
  const rows = await until(
    'the ledger has a row',
    () => bench.ledger(),
    ({ length }) => length > 0,
  )
  assert.equal(rows, [['session:serial/pump', 0, 0, 'undeliverable']])
  await bench.close()
})

test.run()
