import { Duplex } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { DeviceRegistry, type LineStatus } from '../../firmware-bridge/devices/device-registry.js'
import { DeviceTable } from '../../firmware-bridge/devices/device-table.js'
import { readItems } from '../../firmware-bridge/serial/cbor-items.js'
import { CobsReader } from '../../firmware-bridge/serial/cobs.js'
import { openFrame, sealFrame } from '../../firmware-bridge/serial/frame.js'
import type { DeviceMessage } from '../../firmware-bridge/serial/messages.js'
import { SerialSession } from '../../firmware-bridge/serial/serial-session.js'
import { Logger, type NodeMessage, SluiceError } from '../../src/index.js'
import { settle } from '../helpers/fake-clock.js'
import { withSeed } from '../helpers/seeded-random.js'

const quiet = new Logger('test', 'error', () => {})

class Bench {
  readonly published: NodeMessage[] = []
  /** Settles the commits of what was published, oldest first. */
  readonly commits: { done(): void; fail(error: Error): void }[] = []
  refusal: SluiceError | null = null
  epoch = 0
  readonly devices = new DeviceTable({
    topicPrefix: 'site/{device}/',
    authenticated: false,
    devices: [{ id: 'pump' }, { id: 'pump/other' }],
  })
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

  constructor(readonly registry: DeviceRegistry) {
    this.status = registry.line('bus', 'serial', '/dev/ttyS9')
    this.session = new SerialSession(this.port, {
      publish: (message) => {
        if (this.refusal) throw this.refusal
        this.published.push({ ...message, payload: Buffer.from(message.payload) })
        const durable = new Promise<void>((done, fail) => this.commits.push({ done, fail }))
        return { durable, duplicate: false }
      },
      findDevice: (id) => this.devices.find(id),
      joined: (id) => this.registry.device('bus', 'serial', id, '/dev/ttyS9'),
      heard: (device) => this.registry.heard(device),
      status: this.status,
      window: 4,
      maxFrameBytes: 200,
      newEpoch: () => ++this.nextEpoch,
      wallMs: () => 1_795_374_000_123,
      monotonicMs: () => 0,
      logger: quiet,
    })
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
      const opened = openFrame(Buffer.from(content), this.epoch)
      items.push('items' in opened ? opened.items : opened.problem)
    })
    return items
  }

  send(...messages: DeviceMessage[]): Promise<unknown[]> {
    return this.bytes(Buffer.concat(messages.map((message) => sealFrame(message, this.epoch))))
  }

  async hello(epoch = 0, sequence = 1, device = 'pump'): Promise<unknown[]> {
    return this.send({ type: 'hello', version: 1, device, epoch, sequence })
  }
}

const publish = (sequence: number, text = 'x'): DeviceMessage => ({
  type: 'publish',
  sequence,
  mqttTopic: 'm',
  payload: Buffer.from(text),
  retain: false,
})

async function newBench(): Promise<Bench> {
  return new Bench(await DeviceRegistry.open({ wallMs: () => 1_795_374_000_123, logger: quiet }))
}

async function welcomed(): Promise<Bench> {
  const bench = await newBench()
  assert.equal(await bench.hello(), [[16, 1, 42, 4, 200]])
  bench.epoch = 42
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
  bench.epoch = 9
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
  bench.epoch = 43
  assert.equal(await bench.send({ type: 'ping' }), [[21]])
})

test('an unknown device and another version are refused', async () => {
  assert.equal(await (await newBench()).hello(0, 1, 'stranger'), [[22, 3]])
  assert.equal(await (await newBench()).hello(0, 1, 'pump/other'), [[22, 3]])
  assert.equal(await (await newBench()).send({ type: 'hello', version: 2, device: 'd', epoch: 0, sequence: 1 }), [
    [22, 2],
  ])
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
