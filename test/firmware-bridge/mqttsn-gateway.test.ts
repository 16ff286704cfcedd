import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { withBench } from './mqttsn-bench.js'
import { w } from './raw-sn-client.js'

const RETRY = 'retry_interval = "300ms"\nmax_retries = 3\n'

test('a client connects, registers a topic and publishes at QoS 1: PUBACK comes when the message is stored', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    assert.is(await client.connect('pump'), '030500')
    const topicId = await client.register('plant/pump/temp')
    client.send(0x0c, 0x20, w(topicId), w(7), '21.5')
    assert.is(await client.next(), `070d${hex(topicId)}000700`)
    assert.equal(await bench.records(), [{ topic: 'plant/pump/temp', value: '21.5' }])
  }))

test('QoS 0, QoS -1, short and predefined topics reach subscribers', () =>
  withBench('predefined_topics = ["3=plant/alarm"]\n', async (bench) => {
    const program = await bench.program()
    const got: string[] = []
    const all = new Promise<void>((resolve) =>
      program.on('message', (topic, payload) => {
        got.push(`${topic} ${payload}`)
        if (got.length === 4) resolve()
      }),
    )
    await program.subscribeAsync('#', { qos: 0 })
    const client = await bench.client()
    const stranger = await bench.client()
    stranger.send(0x0c, 0x61, w(3), w(0), 'minus one')
    await client.connect('pump')
    const topicId = await client.register('plant/temp')
    client.send(0x0c, 0x00, w(topicId), w(0), 'zero')
    client.send(0x0c, 0x02, 'ab', w(0), 'short')
    client.send(0x0c, 0x01, w(3), w(0), 'predefined')
    await all
    assert.equal(got, ['plant/alarm minus one', 'plant/temp zero', 'ab short', 'plant/alarm predefined'])
    assert.ok(await stranger.isSilent(50))
  }))

test('QoS 2 is stored once, however often each step is sent again', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    await client.connect('pump')
    const topicId = await client.register('t')
    for (const flags of [0x40, 0xc0, 0xc0]) {
      client.send(0x0c, flags, w(topicId), w(9), 'once')
      assert.is(await client.next(), '040f0009')
    }
    for (let i = 0; i < 2; i++) {
      client.send(0x10, w(9))
      assert.is(await client.next(), '040e0009')
    }
    assert.equal(await bench.values(), ['once'])
  }))

test('a QoS 2 handshake begun before a restart of the node ends after it, with one record', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    await client.connect('pump')
    const topicId = await client.register('t')
    client.send(0x0c, 0x40, w(topicId), w(9), 'once')
    assert.is(await client.next(), '040f0009')
    await bench.restart()
    client.send(0x0c, 0xc0, w(topicId), w(9), 'once')
    assert.is(await client.next(), '040f0009')
    client.send(0x10, w(9))
    assert.is(await client.next(), '040e0009')
    assert.equal(await bench.values(), ['once'])
  }))

test('the gateway asks for a will and publishes it when the client falls silent', () =>
  withBench('', async (bench) => {
    const program = await bench.program()
    const will = new Promise<string>((resolve) =>
      program.on('message', (topic, payload) => resolve(`${topic} ${payload}`)),
    )
    await program.subscribeAsync('down/#', { qos: 1 })
    const client = await bench.client()
    client.send(0x04, 0x0c, 1, w(1), 'pump')
    assert.is(await client.next(), '0206')
    client.send(0x07, 0x20, 'down/pump')
    assert.is(await client.next(), '0208')
    client.send(0x09, 'gone')
    assert.is(await client.next(), '030500')
    const began = performance.now()
    assert.is(await will, 'down/pump gone')
    assert.ok(performance.now() - began >= 1500, 'not before one and a half keepalives')
    client.send(0x16)
    assert.is(await client.next(), '0218', 'it is told to connect again')
  }))

test('a will can be changed and taken away', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    client.send(0x04, 0x0c, 1, w(1), 'pump')
    await client.next()
    client.send(0x07, 0x20, 'down/pump')
    await client.next()
    client.send(0x09, 'gone')
    await client.next()
    client.send(0x1c, 'changed')
    assert.is(await client.next(), '031d00')
    client.send(0x1a, 0x20, 'down/other')
    assert.is(await client.next(), '031b00')
    const other = await bench.client()
    other.send(0x04, 0x0c, 1, w(1), 'valve')
    await other.next()
    other.send(0x07)
    assert.is(await other.next(), '030500', 'an empty WILLTOPIC: no will after all')
    other.send(0x1c, 'nothing to change')
    assert.is(await other.next(), '031d03')
    const third = await bench.client()
    third.send(0x04, 0x0c, 1, w(1), 'tank')
    await third.next()
    third.send(0x07, 0x20, 'down/tank')
    await third.next()
    third.send(0x09, 'gone')
    await third.next()
    third.send(0x1a)
    assert.is(await third.next(), '031b00')
    while ((await bench.values()).length === 0) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.ok(await third.isSilent(300))
    assert.equal(await bench.records(), [{ topic: 'down/other', value: 'changed' }])
  }))

test('what matches a wildcard is registered with the client, then published; SUBACK goes before', () =>
  withBench(RETRY, async (bench) => {
    const program = await bench.program()
    await program.publishAsync('cmd/a', 'kept', { qos: 1, retain: true })
    const client = await bench.client()
    await client.connect('pump')
    client.send(0x12, 0x20, w(5), 'cmd/#')
    assert.is(await client.next(), '0813200000000500')
    const register = await client.next()
    const topicId = register.slice(4, 8)
    assert.ok(register.startsWith('0b0a') && register.endsWith(Buffer.from('cmd/a').toString('hex')), register)
    client.sendBytes(Buffer.from(`070b${topicId}${register.slice(8, 12)}00`, 'hex'))
    const retained = await client.next()
    assert.match(retained, new RegExp(`^0b0c30${topicId}....${Buffer.from('kept').toString('hex')}$`))
    client.sendBytes(Buffer.from(`070d${topicId}${retained.slice(10, 14)}00`, 'hex'))
    await program.publishAsync('cmd/a', 'live', { qos: 1 })
    const live = await client.next()
    assert.match(live, new RegExp(`^0b0c20${topicId}....${Buffer.from('live').toString('hex')}$`))
    const again = await client.next()
    assert.is(again, live.replace('0c20', '0ca0'), 'not acknowledged: sent again, with DUP')
    client.sendBytes(Buffer.from(`070d${topicId}${live.slice(10, 14)}00`, 'hex'))
    client.send(0x14, 0x00, w(6), 'cmd/#')
    assert.is(await client.next(), '04150006')
    await program.publishAsync('cmd/a', 'unheard', { qos: 1 })
    assert.ok(await client.isSilent(500))
  }))

test('a subscription at QoS 0 is served at QoS 0, one at QoS 2 with its handshake', () =>
  withBench(RETRY, async (bench) => {
    const program = await bench.program()
    const client = await bench.client()
    await client.connect('pump')
    client.send(0x12, 0x00, w(1), 'zero/x')
    const zero = (await client.next()).slice(6, 10)
    client.send(0x12, 0x42, w(2), 'ab')
    assert.is(await client.next(), '0813400000000200')
    await program.publishAsync('zero/x', 'z', { qos: 1 })
    assert.is(await client.next(), `080c00${zero}00007a`)
    await program.publishAsync('ab', 'twice', { qos: 2 })
    const publish = await client.next()
    assert.match(publish, /^0c0c426162....7477696365$/)
    const id = publish.slice(10, 14)
    client.sendBytes(Buffer.from(`040f${id}`, 'hex'))
    assert.is(await client.next(), `0410${id}`)
    client.sendBytes(Buffer.from(`040e${id}`, 'hex'))
    assert.ok(await client.isSilent(500))
  }))

test('what came while a client slept is delivered in order when it wakes, and PINGRESP ends it', () =>
  withBench('', async (bench) => {
    const program = await bench.program()
    const client = await bench.client()
    await client.connect('pump')
    client.send(0x12, 0x20, w(1), 'cmd/x')
    const topicId = (await client.next()).slice(6, 10)
    client.send(0x18, w(60))
    assert.is(await client.next(), '0218')
    for (let i = 0; i < 30; i++) await program.publishAsync('cmd/x', String(i), { qos: 1 })
    assert.ok(await client.isSilent(100), 'a sleeping client is left alone')
    for (const part of [
      [10, false],
      [30, true],
    ] as const) {
      client.send(0x16, 'pump')
      const got: string[] = []
      for (;;) {
        const message = await client.next()
        if (message === '0217') break
        got.push(Buffer.from(message.slice(14), 'hex').toString())
        // The first time its battery dies half-way.
        if (!part[1] && got.length === part[0]) break
        client.sendBytes(Buffer.from(`070d${topicId}${message.slice(10, 14)}00`, 'hex'))
      }
      if (part[1])
        assert.equal(
          got,
          Array.from({ length: 21 }, (_, i) => String(i + 9)),
        )
      else client.send(0x18, w(60))
      if (!part[1]) while ((await client.next()) !== '0218');
    }
    client.send(0x16, 'pump')
    assert.is(await client.next(), '0217', 'nothing more')
  }))

test('what is too large for a device is in the ledger, at QoS 1 and 2, and what follows comes', () =>
  withBench('max_frame_size = "64B"\n', async (bench) => {
    const client = await bench.client()
    await client.connect('pump')
    client.send(0x12, 0x40, w(2), 'ab') // SUBSCRIBE to the short topic ab, QoS 2
    await client.next()
    const program = await bench.program()
    for (const qos of [1, 2] as const) await program.publishAsync('ab', 'x'.repeat(100), { qos })
    await program.publishAsync('ab', 'small', { qos: 1 })
    const small = await client.next()
    assert.ok(small.endsWith(Buffer.from('small').toString('hex')), small)
    const expected = [['session:mqttsn/air/pump', 0, 1, 'undeliverable']]
    const deadline = performance.now() + 30_000
    let rows = await bench.ledger()
    while (JSON.stringify(rows) !== JSON.stringify(expected) && performance.now() < deadline)
      rows = await bench.ledger()
    assert.equal(rows, expected)
  }))

test('sleep, subscriptions and topic ids survive a restart of the node and a changed source port', () =>
  withBench(RETRY, async (bench) => {
    let client = await bench.client()
    await client.connect('pump', { flags: 0 })
    const topicId = await client.register('plant/temp')
    client.send(0x12, 0x20, w(2), 'cmd/x')
    const commands = (await client.next()).slice(6, 10)
    await bench.restart()
    client.send(0x0c, 0x20, w(topicId), w(3), 'after')
    assert.is(await client.next(), `070d${hex(topicId)}000300`, 'an awake client need not notice')
    const program = await bench.program()
    await program.publishAsync('cmd/x', 'one', { qos: 1 })
    const register = await client.next()
    assert.match(register, new RegExp(`^0b0a${commands}`), 'it may have forgotten the id: it is told again')
    client.sendBytes(Buffer.from(`070b${commands}${register.slice(8, 12)}00`, 'hex'))
    const one = await client.next()
    client.sendBytes(Buffer.from(`070d${commands}${one.slice(10, 14)}00`, 'hex'))
    client.send(0x18, w(60))
    await client.next()
    await program.publishAsync('cmd/x', 'two', { qos: 1 })
    await bench.restart()
    client = await bench.client() // another port
    client.send(0x16, 'pump')
    const again = await client.next()
    client.sendBytes(Buffer.from(`070b${commands}${again.slice(8, 12)}00`, 'hex'))
    const two = await client.next()
    assert.ok(two.endsWith(Buffer.from('two').toString('hex')), two)
    client.sendBytes(Buffer.from(`070d${commands}${two.slice(10, 14)}00`, 'hex'))
    assert.is(await client.next(), '0217')
    assert.equal(await bench.values(), ['after', 'one', 'two'])
  }))

test('the gateway answers who searches it, and forwarders are answered in their own terms', () =>
  withBench('gateway_id = 7\n', async (bench) => {
    const client = await bench.client()
    client.send(0x01, 0)
    assert.is(await client.next(), '030207')
    client.sendBytes(Buffer.from('05fe00aabb0c040401003c70756d702d31', 'hex')) // CONNECT of node aabb
    assert.is(await client.next(), '05fe00aabb030500')
    client.sendBytes(Buffer.from('05fe00aabb0216', 'hex'))
    assert.is(await client.next(), '05fe00aabb0217')
    client.sendBytes(Buffer.from('05fe00aabc0216', 'hex'))
    assert.is(await client.next(), '05fe00aabc0218', 'another node behind it has not connected')
  }))

test('what is not supported, unknown or not allowed is refused with the code for it', () =>
  withBench('[[firmware.device]]\nid = "pump"\ntopics = ["pump/#"]\n', async (bench) => {
    const client = await bench.client()
    client.send(0x04, 4, 2, w(60), 'pump')
    assert.is(await client.next(), '030503', 'another protocol')
    assert.is(await client.connect('stranger'), '030503')
    assert.is(await client.connect('pump'), '030500')
    client.send(0x0a, w(0), w(1), 'other/topic')
    assert.is(await client.next(), '070b0000000103')
    client.send(0x0c, 0x20, w(99), w(2), 'x')
    assert.is(await client.next(), '070d0063000202', 'unknown topic id')
    client.send(0x0c, 0x22, 'ab', w(3), 'x')
    assert.is(await client.next(), '070d6162000303', 'a short topic that is not its own')
    client.send(0x12, 0x20, w(4), '#')
    assert.is(await client.next(), '0813000000000403')
    client.send(0x12, 0x20, w(5), 'pump/+/set')
    assert.is(await client.next(), '0813200000000500')
    const device = bench.bridge.registry.list()[0]
    assert.equal(device.rejected, { topic_not_allowed: 3, topic_invalid: 1 })
    assert.equal(await bench.values(), [])
  }))

function hex(topicId: number): string {
  return Buffer.from(w(topicId)).toString('hex')
}

test.run()
