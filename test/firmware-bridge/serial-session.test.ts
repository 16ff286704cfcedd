import { Duplex } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceRegistry, type LineStatus } from '../../firmware-bridge/devices/device-registry.js'
import { DeviceTable } from '../../firmware-bridge/devices/device-table.js'
import { readItems } from '../../firmware-bridge/serial/cbor-items.js'
import { CobsReader } from '../../firmware-bridge/serial/cobs.js'
import { FrameCodec, NO_SESSION, proveHello, sessionKey } from '../../firmware-bridge/serial/frame.js'
import type { DeviceMessage, HelloMessage } from '../../firmware-bridge/serial/messages.js'
import { SerialSession } from '../../firmware-bridge/serial/serial-session.js'
import { Logger, type NodeMessage, type NodePublish, SluiceError } from '../../src/index.js'
import { settle } from '../helpers/fake-clock.js'
import { withSeed } from '../helpers/seeded-random.js'
import { MemoryTable } from './memory-table.js'

const quiet = new Logger('test', 'error', () => {})

const KEY = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')
const BRIDGE_NONCE = Buffer.alloc(8, 0xb0)
const HELLO: HelloMessage = {
  type: 'hello',
  version: 1,
  device: 'pump',
  epoch: 0,
  sequence: 1,
  receiveWindow: 0,
  maxFrameBytes: 64,
}

class Bench {
  readonly published: NodeMessage[] = []
  /** Settles the commits of what was published, oldest first. */
  readonly commits: { done(): void; fail(error: Error): void }[] = []
  refusal: SluiceError | null = null
  private codec = new FrameCodec('device', NO_SESSION)
  devices: DeviceTable
  readonly status: LineStatus
  readonly session: SerialSession
  private answers: Buffer[] = []
  private nextEpoch = 41
  private readonly port = new Duplex({
    read() {},
    write: (chunk: Buffer, _encoding, done) => {
      this.answers.push(chunk)
      done()
    },
  })

  constructor(
    readonly registry: DeviceRegistry,
    authenticated: boolean,
  ) {
    this.devices = new DeviceTable({
      topicPrefix: 'site/{device}/',
      authenticated,
      devices: [{ id: 'pump', topics: ['m', 'state/#'] }, { id: 'pump/other' }, { id: 'fan', key: KEY }],
    })
    this.status = registry.line('bus', 'serial', '/dev/ttyS9')
    this.session = new SerialSession(this.port, {
      node: { publish: (message) => this.publish(message), connect: () => new Duplex(), undeliverable: async () => {} },
      sessions: new MemoryTable(),
      findDevice: (id) => this.devices.find(id),
      joined: (id) => this.registry.device('bus', 'serial', id, '/dev/ttyS9'),
      heard: (device) => this.registry.heard(device),
      status: this.status,
      window: 4,
      maxFrameBytes: 200,
      newEpoch: () => ++this.nextEpoch,
      newNonce: () => BRIDGE_NONCE,
      wallMs: () => 1_795_374_000_123,
      monotonicMs: () => 0,
      logger: quiet,
    })
  }

  private publish(message: NodeMessage): NodePublish {
    if (this.refusal) throw this.refusal
    this.published.push({ ...message, payload: Buffer.from(message.payload) })
    const durable = new Promise<void>((done, fail) => this.commits.push({ done, fail }))
    return { durable, duplicate: false }
  }

  /** The device goes on in this session. */
  use(epoch: number, key: Uint8Array | null = null): void {
    this.codec = new FrameCodec('device', { epoch, key })
  }

  /** @returns what the bridge answers, as items. */
  async bytes(bytes: Buffer): Promise<unknown[]> {
    this.port.push(bytes)
    return this.answered()
  }

  async answered(): Promise<unknown[]> {
    for (let i = 0; i < 3; i++) await settle()
    const items: unknown[] = []
    const reader = new CobsReader(200)
    reader.push(Buffer.concat(this.answers.splice(0)), (content) => {
      const opened = this.codec.open(Buffer.from(content))
      items.push('items' in opened ? opened.items : opened.problem)
    })
    return items
  }

  send(...messages: DeviceMessage[]): Promise<unknown[]> {
    return this.bytes(Buffer.concat(messages.map((message) => this.codec.seal(message))))
  }

  async hello(epoch = 0, sequence = 1, device = 'pump'): Promise<unknown[]> {
    return this.send({ ...HELLO, device, epoch, sequence })
  }
}

const publish = (sequence: number, text = 'x'): DeviceMessage => ({
  type: 'publish',
  sequence,
  mqttTopic: 'm',
  payload: Buffer.from(text),
  retain: false,
})

async function newBench(authenticated = false): Promise<Bench> {
  return new Bench(await DeviceRegistry.open({ wallMs: () => 1_795_374_000_123, logger: quiet }), authenticated)
}

async function welcomed(): Promise<Bench> {
  const bench = await newBench()
  assert.equal(await bench.hello(), [[16, 1, 42, 4, 200]])
  bench.use(42)
  return bench
}

test('a message is published under its device and acknowledged once it is durable, cumulatively', async () => {
  const bench = await welcomed()
  assert.equal(await bench.send(publish(1), publish(2)), [])
  assert.equal(
    bench.published.map(({ mqttTopic, numberedBy }) => [mqttTopic, numberedBy]),
    [1, 2].map((sequence) => ['site/pump/m', { id: 'serial/pump', epoch: 42, sequence }]),
  )
  bench.commits[1].done()
  assert.equal(await bench.answered(), [], 'the first may still be lost')
  bench.commits[0].done()
  assert.equal(await bench.answered(), [[17, 2]])
  assert.equal(await bench.send(publish(1)), [[17, 2]], 'a resend is answered, and not published')
  assert.is(bench.published.length, 2)
})

test('a gap is named once, and nothing beyond it is published', async () => {
  const bench = await welcomed()
  assert.equal(await bench.send(publish(1), publish(3), publish(4)), [[18, 2, 1]])
  assert.is(bench.published.length, 1)
})

test('a gap is named again when the device has gone back and lost the same message once more', async () => {
  const bench = await welcomed()
  assert.equal(await bench.send(publish(2), publish(3)), [[18, 1, 1]])
  assert.equal(await bench.send(publish(2), publish(3)), [[18, 1, 1]])
  await bench.send(publish(1), publish(2), publish(3))
  assert.is(bench.published.length, 3)
})

test('a device cannot have more messages under way than the window', async () => {
  const bench = await welcomed()
  assert.equal(await bench.send(...[1, 2, 3, 4, 5].map((n) => publish(n))), [[18, 5, 2]])
  assert.is(bench.published.length, 4)
})

test('after a failed commit everything not yet acknowledged must come again', async () => {
  const bench = await welcomed()
  await bench.send(publish(1), publish(2), publish(3))
  bench.commits[0].done()
  bench.commits[1].fail(new Error('disk'))
  bench.commits[2].done()
  assert.equal(await bench.answered(), [
    [18, 2, 2],
    [17, 1],
  ])
  await bench.send(publish(2))
  assert.is(bench.published.at(-1)?.numberedBy?.sequence, 2)
})

test('what is refused for good is named, and a void in its place lets the next through', async () => {
  const bench = await welcomed()
  assert.equal(await bench.send({ ...publish(1), mqttTopic: 'other' } as DeviceMessage), [[18, 1, 6]])
  bench.refusal = new SluiceError('INVALID_TOPIC', 'no')
  assert.equal(await bench.send(publish(1)), [[18, 1, 3]])
  bench.refusal = new SluiceError('STORAGE_FULL', 'full')
  assert.equal(await bench.send(publish(1)), [[18, 1, 2]])
  bench.refusal = null
  assert.equal(await bench.send({ type: 'void', sequence: 1 }, publish(2)), [[17, 1]])
  bench.commits[0].done()
  assert.equal(await bench.answered(), [[17, 2]])
})

test('a session that knows no epoch asks for a hello, and a resumed one goes on', async () => {
  const bench = await newBench()
  bench.use(9)
  assert.equal(await bench.send(publish(7), publish(8)), [[22, 1]])
  assert.equal(await bench.hello(9, 7), [[16, 1, 9, 4, 200]])
  await bench.send(publish(7))
  assert.equal(bench.published[0].numberedBy, { id: 'serial/pump', epoch: 9, sequence: 7 })
})

test('a repeated hello is given the same epoch until something is published under it', async () => {
  const bench = await welcomed()
  assert.equal(await bench.hello(), [[16, 1, 42, 4, 200]])
  await bench.send(publish(1))
  assert.equal(await bench.hello(), [[16, 1, 43, 4, 200]])
  bench.use(43)
  assert.equal(await bench.send({ type: 'ping' }), [[21]])
})

test('an unknown device and another version are refused', async () => {
  assert.equal(await (await newBench()).hello(0, 1, 'stranger'), [[22, 3]])
  assert.equal(await (await newBench()).hello(0, 1, 'pump/other'), [[22, 3]])
  assert.equal(await (await newBench()).send({ ...HELLO, version: 2 }), [[22, 2]])
})

const proven = (key: Uint8Array, fill = 1) => proveHello({ ...HELLO, device: 'fan' }, Buffer.alloc(8, fill), key)

test('where keys are asked for, a device without one, with another, or without a proof is refused and counted', async () => {
  const refused = async (hello: HelloMessage) => {
    const bench = await newBench(true)
    const answers = await bench.send(hello)
    return [answers, bench.status.rejected, bench.registry.list().length]
  }
  assert.equal(await refused(HELLO), [[[22, 3]], { unknown_device: 1 }, 0])
  assert.equal(await refused({ ...HELLO, device: 'fan' }), [[[22, 4]], { wrong_key: 1 }, 0])
  assert.equal(await refused(proven(Buffer.alloc(16))), [[[22, 4]], { wrong_key: 1 }, 0])
  assert.equal(await refused({ ...proven(KEY), sequence: 2 }), [[[22, 4]], { wrong_key: 1 }, 0])
})

test('a device that asks for a proof where the bridge has no key is refused rather than ignored', async () => {
  const bench = await newBench(false)
  assert.equal(await bench.send(proven(KEY)), [[22, 4]])
})

test('a session with a key takes no frame without a code, of another session, or twice', async () => {
  const bench = await newBench(true)
  const [welcome] = (await bench.send(proven(KEY))) as [unknown[]]
  assert.equal(welcome.slice(0, 6), [16, 1, 42, 4, 200, BRIDGE_NONCE])
  const key = sessionKey(KEY, Buffer.alloc(8, 1), BRIDGE_NONCE, 42)
  bench.use(42, key)
  const first = new FrameCodec('device', { epoch: 42, key }).seal(publish(1))
  await bench.bytes(first)
  assert.is(bench.published.length, 1)
  const device = () => bench.registry.list()[0]
  await bench.bytes(first)
  assert.equal([device().rejected, device().resends], [{ replay: 1 }, 0])
  await bench.bytes(new FrameCodec('device', { epoch: 42, key: null }).seal(publish(2)))
  const other = sessionKey(KEY, Buffer.alloc(8, 2), BRIDGE_NONCE, 42)
  await bench.bytes(new FrameCodec('device', { epoch: 42, key: other }).seal(publish(2)))
  assert.is(device().crcErrors, 2)
  assert.is(bench.published.length, 1)
})

test('a device that may not speak any more is cut off, and told so when it tries', async () => {
  const bench = await welcomed()
  bench.devices = new DeviceTable({ topicPrefix: '', authenticated: false, devices: [] })
  bench.session.devicesChanged()
  assert.equal(await bench.send(publish(1)), [[22, 1]])
  assert.is(bench.published.length, 0)
})

test('what a device says of itself is kept until it says otherwise', async () => {
  const bench = await welcomed()
  await bench.send({ type: 'report', report: { batteryPercent: 80, batteryMillivolts: 3700 } })
  await bench.send({ type: 'report', report: { batteryPercent: 79, signalDbm: -71 } })
  const { batteryPercent, batteryMillivolts, signalDbm } = bench.registry.list()[0]
  assert.equal([batteryPercent, batteryMillivolts, signalDbm], [79, 3700, -71])
})

test('the time is told', async () => {
  const bench = await welcomed()
  assert.equal(await bench.send({ type: 'timeRequest', id: 3 }), [[20, 3, 1_795_374_000_123]])
})

test('any bytes leave a session counting and at work', () =>
  withSeed(async (random) => {
    const bench = await welcomed()
    let frames = 0
    for (let round = 0; round < 200; round++) {
      const noise = Buffer.from(
        Array.from({ length: 500 }, () => (random.chance(0.1) ? 0 : random.below(random.chance(0.5) ? 256 : 40))),
      )
      frames += noise.filter((byte) => byte === 0).length
      await bench.bytes(noise)
    }
    assert.is(bench.published.length, 0)
    assert.ok(bench.status.damagedFrames > frames / 4, `${bench.status.damagedFrames} of ${frames}`)
    await bench.bytes(Buffer.of(0))
    assert.equal(await bench.send(publish(1), { type: 'ping' }), [[21]])
    assert.is(bench.published.length, 1)
    assert.is(readItems(Buffer.of(0x9f)), null)
  }))

test.run()
