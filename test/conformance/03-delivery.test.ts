// test-run: limit 300 s
// What a subscriber is sent, MQTT 3.1.1 sections 3.3, 3.8.4, 4.3, 4.5 to 4.7; each test holds the node to the statement it names.

import * as assert from 'uvu/assert'
import {
  PINGREQ,
  puback,
  pubcomp,
  publishOf,
  publishPacket,
  pubrec,
  subscribePacket,
  u16,
  unsubscribePacket,
} from '../mqtt/raw-client.js'
import { servedOver } from './served-over.js'

const MATCHES: readonly [filter: string, topic: string, matches: boolean][] = [
  ['#', 'a/b/c', true],
  ['a/#', 'a', true],
  ['a/#', 'a/', true],
  ['a/#', 'ab', false],
  ['+', 'a', true],
  ['+', '/a', false],
  ['+/+', '/a', true],
  ['/+', '/a', true],
  ['a/+', 'a', false],
  ['a/+', 'a/', true],
  ['a/+/c', 'a/b/c', true],
  ['a/+/c', 'a//c', true],
  ['a/+/c', 'a/b/b/c', false],
  ['a/b', 'A/b', false],
  ['a/b', 'a/b/', false],
  ['a//b', 'a/b', false],
  ['a b', 'a b', true],
  ['caf\u00e9', 'cafe\u0301', false],
  ['\ufeffa', 'a', false],
  ['\ufeffa', '\ufeffa', true],
  ['$own/#', '$own/a', true],
  ['$own/+', '$own/a', true],
]

servedOver(['mqtt', 'wss'], (test, server) => {
  test('03-01 [MQTT-4.7.1-2, MQTT-4.7.1-3, MQTT-4.7.3-4, MQTT-1.5.3-3, MQTT-3.3.2-3, MQTT-3.8.3-2] what a filter matches is delivered under its own name, byte for byte, and nothing else is', async () => {
    const client = await server.connected()
    for (const [filter, topic, matches] of MATCHES) {
      client.write(subscribePacket(1, [filter, 0]), publishPacket(topic, 'x'), unsubscribePacket(2, filter))
      const packets = []
      while (packets.at(-1)?.first !== 0xb0) packets.push(await client.next())
      const delivered = packets.filter((one) => one?.first === 0x30).map((one) => publishOf(one).topic)
      assert.equal(delivered, matches ? [topic] : [], `${filter} and ${topic}`)
    }
    client.socket.destroy()
  })

  for (const published of [0, 1, 2])
    for (const granted of [0, 1, 2])
      test(`03-1${published}${granted} [MQTT-3.8.4-6, MQTT-4.3.1-1, MQTT-4.3.2-1, MQTT-4.3.3-1, MQTT-4.5.0-1] published at QoS ${published} and granted ${granted}, a message comes once, at the lower, with DUP 0 and DUP of the publisher forgotten [MQTT-3.3.1-3]`, async () => {
        const topic = `q/${published}${granted}`
        const subscriber = await server.connected('subscriber')
        subscriber.write(subscribePacket(1, [topic, granted]))
        assert.equal((await subscriber.next())?.body, Buffer.from([0, 1, granted]))
        const publisher = await server.connected('publisher')
        publisher.write(publishPacket(topic, 'x', { qos: published, id: 5, dup: published > 0 }))
        const message = publishOf(await subscriber.next())
        const qos = Math.min(published, granted)
        assert.equal([message.payload, message.qos, message.dup, message.retain], ['x', qos, false, false])
        assert.is(message.id > 0, qos > 0)
        if (qos === 1) subscriber.write(puback(message.id))
        if (qos === 2) {
          subscriber.write(pubrec(message.id))
          assert.equal(await subscriber.next(), { first: 0x62, body: u16(message.id) })
          subscriber.write(pubcomp(message.id))
        }
        assert.equal(await subscriber.untilPong(), [])
        subscriber.socket.destroy()
        publisher.socket.destroy()
      })

  test('03-20 [MQTT-2.3.1-5, MQTT-4.3.1-1] at QoS 0 the payload follows the topic name at once', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['t0', 2]), publishPacket('t0', 'xyz'))
    await client.next()
    assert.equal(await client.next(), { first: 0x30, body: Buffer.from('\0\x02t0xyz') })
    client.socket.destroy()
  })

  test('03-21 [MQTT-2.3.1-4, MQTT-2.3.1-3] messages without an acknowledgement have identifiers that differ, and one that was acknowledged may come again', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['ids', 1]))
    await client.next()
    const publisher = await server.connected('publisher')
    for (let id = 1; id <= 60; id++) publisher.write(publishPacket('ids', String(id), { qos: 1, id }))
    const ids = new Set<number>()
    for (let n = 1; n <= 60; n++) {
      const message = await client.nextPublish()
      assert.is(message.payload, String(n)) // [MQTT-4.6.0-6]
      ids.add(message.id)
    }
    assert.is(ids.size, 60)
    assert.not(ids.has(0))
    client.socket.destroy()
    publisher.socket.destroy()
  })

  test('03-22 [MQTT-3.3.5-1] overlapping subscriptions bring a message once, at the highest QoS among them', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['over/#', 0], ['over/+', 2], ['over/x', 1]))
    await client.next()
    client.write(publishPacket('over/x', 'x', { qos: 2, id: 4 }))
    const packets = [await client.next(), await client.next()]
    const message = publishOf(packets.find((one) => one !== null && one.first >> 4 === 3) ?? null)
    assert.is(message.qos, 2)
    assert.equal(await client.untilPong(), [])
    client.socket.destroy()
  })

  test('03-23 [MQTT-3.8.4-3] the same filter again replaces the subscription, sends retained messages again, and loses nothing that comes meanwhile', async () => {
    const publisher = await server.connected('publisher')
    publisher.write(publishPacket('re/kept', 'kept', { retain: true, qos: 1, id: 1 }))
    await publisher.next()
    const client = await server.connected()
    client.write(subscribePacket(1, ['re/+', 0]))
    await client.next()
    assert.equal(await client.nextPublish(), {
      topic: 're/kept',
      qos: 0,
      dup: false,
      retain: true,
      id: 0,
      payload: 'kept',
    })
    const live: string[] = []
    for (let n = 0; n < 20; n++) publisher.write(publishPacket('re/live', String(n), { qos: 0 }))
    client.write(subscribePacket(2, ['re/+', 1]))
    for (let n = 20; n < 40; n++) publisher.write(publishPacket('re/live', String(n), { qos: 0 }))
    let kept = 0
    while (live.length < 40 || kept < 1) {
      const message = await client.nextPublish()
      if (message.retain) kept += 1
      else live.push(message.payload)
      if (message.qos > 0) client.write(puback(message.id))
    }
    assert.equal(
      live,
      Array.from({ length: 40 }, (_, n) => String(n)),
    )
    publisher.write(publishPacket('re/live', 'one', { qos: 1, id: 2 }))
    assert.is((await client.nextPublish()).qos, 1)
    client.socket.destroy()
    publisher.socket.destroy()
  })

  test('03-24 [MQTT-3.10.4-3] a QoS 2 delivery that was begun is completed after UNSUBSCRIBE', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['end', 2]))
    await client.next()
    client.write(publishPacket('end', 'x', { qos: 2, id: 3 }))
    const message = await client.nextPublish()
    client.write(unsubscribePacket(2, 'end'), pubrec(message.id))
    const seen = []
    while (seen.length < 2) {
      const one = await client.next()
      if (one?.first !== 0x50) seen.push(one)
    }
    assert.equal(seen, [
      { first: 0xb0, body: u16(2) },
      { first: 0x62, body: u16(message.id) },
    ])
    client.write(pubcomp(message.id))
    assert.equal(await client.untilPong(), [])
    client.socket.destroy()
  })

  for (const qos of [0, 1, 2])
    test(`03-3${qos} [MQTT-4.6.0-5, MQTT-4.6.0-6] 300 messages of a topic at QoS ${qos} come in the order they were published in, with the identifiers acknowledged in turn`, async () => {
      const subscriber = await server.connected('subscriber')
      subscriber.write(subscribePacket(1, ['order', qos]))
      await subscriber.next()
      const publisher = await server.connected('publisher')
      for (let id = 1; id <= 300; id++) publisher.write(publishPacket('order', String(id), { qos, id }))
      let next = 1
      while (next <= 300) {
        const one = await subscriber.next()
        if (one === null) throw new Error(`closed after ${next - 1} messages`)
        if (one.first === 0x62) subscriber.write(pubcomp(one.body.readUInt16BE(0)))
        if (one.first >> 4 !== 3) continue
        const message = publishOf(one)
        assert.is(message.payload, String(next))
        next += 1
        if (qos === 1) subscriber.write(puback(message.id))
        if (qos === 2) subscriber.write(pubrec(message.id))
      }
      subscriber.socket.destroy()
      publisher.socket.destroy()
    })

  test('03-40 [MQTT-4.6.0-4] PUBRELs leave in the order of the PUBRECs', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['rel', 2]))
    await client.next()
    const publisher = await server.connected('publisher')
    for (let id = 1; id <= 3; id++) publisher.write(publishPacket('rel', String(id), { qos: 2, id }))
    const ids: number[] = []
    while (ids.length < 3) ids.push((await client.nextPublish()).id)
    const order = [ids[2], ids[0], ids[1]]
    client.write(...order.map(pubrec))
    for (const id of order) assert.equal(await client.next(), { first: 0x62, body: u16(id) })
    client.socket.destroy()
    publisher.socket.destroy()
  })

  test('03-41 a client that is sent what it does not expect may go on: acknowledgements of nothing are ignored', async () => {
    const client = await server.connected()
    client.write(puback(4000), pubrec(4001), pubcomp(4002), PINGREQ)
    const answers = []
    for (;;) {
      const one = await client.next()
      if (one === null) throw new Error('closed')
      if (one.first === 0xd0) break
      answers.push(one.first)
    }
    assert.ok(answers.every((first) => first === 0x62))
    client.socket.destroy()
  })

  for (const [number, what, qos, wrong] of [
    ['03-42', 'PUBREC for a message at QoS 1', 1, [pubrec]],
    ['03-43', 'PUBCOMP for a message at QoS 1', 1, [pubcomp]],
    ['03-44', 'PUBACK for a message at QoS 2', 2, [puback]],
    ['03-45', 'PUBCOMP before PUBREC', 2, [pubcomp]],
    ['03-46', 'PUBACK after PUBREC', 2, [pubrec, puback]],
  ] as const)
    test(`${number} [MQTT-4.8.0-1, MQTT-4.4.0-1] ${what} closes the connection, and acknowledges nothing: the delivery goes on when the client is back`, async () => {
      const { client } = await server.session(number, false)
      client.write(subscribePacket(1, [number, 2]))
      await client.next()
      const publisher = await server.connected('publisher')
      publisher.write(publishPacket(number, 'x', { qos, id: 1 }))
      const { id } = await client.nextPublish()
      client.write(...wrong.map((acknowledge) => acknowledge(id)))
      await client.whenClosed()
      const again = (await server.session(number, false)).client
      if (wrong.length === 1) {
        const message = await again.nextPublish()
        assert.equal([message.payload, message.id, message.dup], ['x', id, true])
        again.write(qos === 1 ? puback(id) : pubrec(id))
      }
      if (qos === 2) {
        assert.equal(await again.next(), { first: 0x62, body: u16(id) })
        again.write(pubcomp(id))
      }
      assert.equal(await again.untilPong(), [])
      again.socket.destroy()
      publisher.socket.destroy()
    })
})
