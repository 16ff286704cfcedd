// What others send: strangers, thieves of names, recorders, noise. It costs them, and nobody else.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { type MqttSnBench, withBench } from './mqttsn-bench.js'
import { RawSeal } from './raw-seal.js'
import { type RawSnClient, w } from './raw-sn-client.js'

const KEY = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')
const OTHER_KEY = Buffer.from('ffffffffffffffffffffffffffffffff', 'hex')
const SEALED = ['pump', 'valve']
  .map((id) => `[[firmware.device]]\nid = "${id}"\nkey = "${KEY.toString('hex')}"\n`)
  .join('')
const CONNECT_PUMP = '0a04040100ff70756d70' // clean session, keepalive 255 s
const PING = '0216'
const PONG = '0217'

function rejectedOf(bench: MqttSnBench): Record<string, number> {
  const all: Record<string, number> = {}
  for (const { rejected } of [...bench.bridge.registry.lines(), ...bench.bridge.registry.list()])
    for (const [why, count] of Object.entries(rejected)) all[why] = (all[why] ?? 0) + count
  return all
}

/** The client still has its session: a subscription of before brings it a message. */
async function assertServed(bench: MqttSnBench, client: RawSnClient, topicId: string): Promise<void> {
  await (await bench.program()).publishAsync('cmd/x', 'hello', { qos: 0 })
  assert.is(await client.next(), `0c0c00${topicId}000068656c6c6f`)
}

test('no datagram from elsewhere ends, moves or takes over the session of a client', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    await client.connect('pump')
    client.send(0x12, 0x00, w(1), 'cmd/x')
    const topicId = (await client.next()).slice(6, 10)
    const stranger = await bench.client('127.0.0.2')
    assert.is(await stranger.connect('pump'), '030501', 'while it is there, others wait')
    stranger.send(0x16, 'pump')
    assert.is(await stranger.next(), '0218')
    const neighbour = await bench.client() // the same address, another port
    for (const other of [stranger, neighbour]) {
      other.send(0x18)
      other.send(0x18, w(5))
      other.send(0x1a)
      other.send(0x0b, w(1), w(1), 0)
      other.send(0x0d, w(1), w(1), 0)
      other.send(0x10, w(1))
      other.send(0x14, 0, w(1), 'cmd/x')
    }
    await assertServed(bench, client, topicId)
    client.sendBytes(Buffer.from(PING, 'hex'))
    assert.is(await client.next(), PONG)
    neighbour.received.length = 0
    assert.is(await neighbour.connect('pump'), '030500', 'its own address may: the port of a client changes')
    client.sendBytes(Buffer.from(PING, 'hex'))
    assert.is(await client.next(), '0218')
    assert.is(rejectedOf(bench)['wrong_place'], 1)
  }))

test('an unfinished CONNECT changes nothing of the session that is there', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    await client.connect('pump')
    client.send(0x12, 0x00, w(1), 'cmd/x')
    const topicId = (await client.next()).slice(6, 10)
    const neighbour = await bench.client()
    neighbour.send(0x04, 0x0c, 1, w(60), 'pump')
    assert.is(await neighbour.next(), '0206')
    neighbour.send(0x07, 0x20, 'down')
    assert.is(await neighbour.next(), '0208')
    await assertServed(bench, client, topicId)
  }))

test('with keys nothing is heard but what is sealed, save for the question whether there is a gateway', () =>
  withBench(`authentication = true\n${SEALED}`, async (bench) => {
    const plain = await bench.client()
    plain.send(0x01, 0)
    assert.is(await plain.next(), '030201')
    plain.sendBytes(Buffer.from(CONNECT_PUMP, 'hex'))
    plain.send(0x0c, 0x62, 'ab', w(0), 'x')
    assert.ok(await plain.isSilent(50))
    assert.equal(rejectedOf(bench), { wrong_key: 2 })

    const device = new RawSeal(await bench.client(), 'pump', KEY)
    await device.hello()
    device.send('0a0c6261620000616263')
    device.send(CONNECT_PUMP)
    assert.is(await device.next(), '030500')
    const first = device.sealed('090c22616200076162')
    device.client.sendBytes(first)
    assert.is(await device.next(), '070d6162000700')
    assert.equal(await bench.values(), ['abc', 'ab'], 'QoS -1 under the seal needs no connection')
  }))

test('what was recorded and comes again, what is forged and who has another key are told apart and refused', () =>
  withBench(`authentication = true\n${SEALED}`, async (bench) => {
    const device = new RawSeal(await bench.client(), 'pump', KEY)
    await device.hello()
    const connect = device.sealed(CONNECT_PUMP)
    device.client.sendBytes(connect)
    assert.is(await device.next(), '030500')
    const publish = device.sealed('090c22616200076162')
    const thief = await bench.client('127.0.0.3')
    device.client.sendBytes(publish)
    await device.next()
    for (const recorded of [connect, publish]) thief.sendBytes(recorded)
    const forged = Buffer.from(device.sealed('090c22616200086162', 99))
    forged[12] ^= 1
    thief.sendBytes(forged)
    thief.sendBytes(new RawSeal(thief, 'pump', OTHER_KEY).helloBytes())
    thief.sendBytes(new RawSeal(thief, 'nobody', KEY).helloBytes())
    assert.ok(await thief.isSilent(50))
    assert.equal(rejectedOf(bench), { replay: 2, wrong_key: 2, unknown_device: 1 })
    const valve = new RawSeal(await bench.client(), 'valve', KEY)
    await valve.hello()
    valve.send(CONNECT_PUMP)
    assert.is(await valve.next(), '030503', 'the name of another device')
    device.send(PING)
    assert.is(await device.next(), PONG, 'the device still has its session, and its address')
    assert.equal(await bench.values(), ['ab'])
  }))

test('a device with a key is heard from anywhere, late datagrams too, and recorded hellos take nothing from it', () =>
  withBench(`authentication = true\n${SEALED}`, async (bench) => {
    const device = new RawSeal(await bench.client(), 'pump', KEY)
    const hello = device.helloBytes()
    await device.hello()
    device.send(CONNECT_PUMP)
    await device.next()
    const [late, early] = [device.sealed('080c2261620001' + '31'), device.sealed('080c2261620002' + '32')]
    device.client.sendBytes(early)
    assert.is(await device.next(), '070d6162000200')
    device.client.sendBytes(late)
    assert.is(await device.next(), '070d6162000100')
    const thief = await bench.client('127.0.0.3')
    for (let i = 0; i < 20; i++) {
      thief.sendBytes(hello)
      await thief.next()
      const nonce = Buffer.alloc(8, i)
      thief.sendBytes(new RawSeal(thief, 'pump', KEY, nonce).helloBytes())
      await thief.next()
    }
    device.send(PING)
    assert.is(await device.next(), PONG)
    const moved = await bench.client('127.0.0.4')
    moved.sendBytes(device.sealed(PING))
    const answer = await moved.next()
    assert.ok(answer.includes(PONG), 'answered where it is now')
    moved.sendBytes(Buffer.from(`14f2aaaaaaaa00000001${PING}${'00'.repeat(8)}`, 'hex'))
    assert.match(await moved.next(), /^....aaaaaaaa$/, 'an unknown session: it is to say hello')
  }))

test('after a restart a device with a key that is silent is asked to say hello, until it has, and is then sent what waits', () =>
  withBench(`authentication = true\nretry_interval = "100ms"\n${SEALED}`, async (bench) => {
    const device = new RawSeal(await bench.client(), 'pump', KEY)
    await device.hello()
    device.send(CONNECT_PUMP)
    assert.is(await device.next(), '030500')
    device.send('0912200002' + '63642f61') // SUBSCRIBE cd/a at QoS 1
    assert.match(await device.next(), /^0813/)
    await bench.restart()
    const program = await bench.program()
    await program.publishAsync('cd/a', 'waits', { qos: 1 })
    for (let i = 0; i < 2; i++)
      assert.match(
        await device.client.next(),
        new RegExp(`^06f3${device.sessionHex}$`),
        'it is told that its session is unknown',
      )
    device.client.received.length = 0
    await device.hello()
    device.send(PING)
    const heard = [await device.next(), await device.next()]
    assert.ok(heard.includes(PONG))
    const [register] = heard.filter((hex) => hex.slice(2, 4) === '0a')
    device.send(`070b${register.slice(4, 12)}00`)
    let message = await device.next()
    while (message.slice(2, 4) === '0a') message = await device.next() // asked again meanwhile
    assert.ok(message.endsWith(Buffer.from('waits').toString('hex')), message)
  }))

test('limits: datagrams of one address, clients of one address, topic ids, the size of a message', () =>
  withBench(
    'max_packet_rate_per_address = 20\nmax_clients_per_address = 2\nmax_topic_ids = 2\nmax_frame_size = "64B"\n',
    async (bench) => {
      const client = await bench.client()
      await client.connect('a')
      await client.register('plant/a')
      await client.register('plant/b')
      client.send(0x0a, w(0), w(3), 'plant/c')
      assert.is(await client.next(), '070b0000000303')
      client.send(0x0c, 0x22, 'ab', w(1), 'x'.repeat(60))
      client.send(0x0c, 0x22, 'ab', w(1), 'x'.repeat(200))
      const second = await bench.client()
      assert.is(await second.connect('b'), '030500')
      const third = await bench.client()
      assert.is(await third.connect('c'), '030501')
      const elsewhere = await bench.client('127.0.0.2')
      assert.is(await elsewhere.connect('c'), '030500')
      for (let i = 0; i < 30; i++) third.send(0x01, 0)
      await third.next()
      elsewhere.send(0x01, 0)
      assert.is(await elsewhere.next(), '030201', 'others are served')
      const rejected = rejectedOf(bench)
      assert.ok(rejected['limit_reached'] >= 10, JSON.stringify(rejected))
      assert.is(rejected['too_large'], 1)
      assert.equal(await bench.values(), [])
    },
  ))

for (const [how, entry] of [
  ['without keys', ''],
  ['with keys', `authentication = true\n${SEALED}`],
] as const)
  test(`any datagrams leave the gateway at work and its clients with what they have, ${how}`, () =>
    withSeed((random) =>
      withBench(
        `max_packet_rate = 1000000\nmax_packet_rate_per_address = 1000000\nmax_clients = 50\n${entry}`,
        (bench) => fuzz(bench, random, entry !== ''),
      ),
    ))

async function fuzz(bench: MqttSnBench, random: SeededRandom, withKeys: boolean): Promise<void> {
  const honest = await bench.client()
  const device = new RawSeal(honest, 'pump', KEY)
  if (withKeys) await device.hello()
  const send = (hex: string) => (withKeys ? device.send(hex) : honest.sendBytes(Buffer.from(hex, 'hex')))
  const next = () => (withKeys ? device.next() : honest.next())
  send(CONNECT_PUMP)
  assert.is(await next(), '030500')
  const noise = await Promise.all(['127.0.0.2', '127.0.0.3', '127.0.0.2'].map((address) => bench.client(address)))
  const recorded = withKeys ? [device.helloBytes(), device.sealed(PING, 1)] : [Buffer.from(CONNECT_PUMP, 'hex')]
  const [line] = bench.bridge.registry.lines()
  for (let round = 0; round < 100; round++) {
    for (let i = 0; i < 100; i++) noise[random.below(noise.length)].sendBytes(datagram(random, recorded))
    send(PING)
    assert.is(await next(), PONG, `round ${round}`)
    for (const client of noise) client.received.length = 0
  }
  assert.ok(line.damagedFrames + Object.values(rejectedOf(bench)).reduce((a, b) => a + b, 0) > 1000)
  send('090c22616200076162')
  assert.is(await next(), '070d6162000700')
  assert.ok((await bench.records()).some(({ topic, value }) => topic === 'ab' && value === 'ab'))
}

/** Mostly almost right: bytes of a true length and type, what was recorded with a bit flipped, things behind forwarders, and plain noise. */
function datagram(random: SeededRandom, recorded: readonly Buffer[]): Buffer {
  if (random.chance(0.1)) {
    const copy = Buffer.from(recorded[random.below(recorded.length)])
    copy[random.below(copy.length)] ^= 1 << random.below(8)
    return copy
  }
  const bytes = Buffer.from(
    Array.from({ length: 1 + random.below(60) }, () => random.below(random.chance(0.5) ? 256 : 4)),
  )
  if (bytes.length > 2 && random.chance(0.8)) {
    bytes[0] = bytes.length
    bytes[1] = random.chance(0.8) ? random.below(0x1e) : 0xf0 + random.below(16)
  }
  if (random.chance(0.1)) return Buffer.concat([Buffer.of(5, 0xfe, 0, random.below(4), random.below(4)), bytes])
  return bytes
}

test.run()
