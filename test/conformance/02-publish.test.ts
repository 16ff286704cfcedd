// test-run: limit 300 s
// What a client may send after CONNECT, MQTT 3.1.1 sections 2.2, 2.3, 3.3 to 3.14 and 4.7, and how it is answered; each test holds the node to
// the statement it names.

import * as assert from 'uvu/assert'
import {
  DISCONNECT,
  PINGREQ,
  packet,
  puback,
  publishOf,
  publishPacket,
  pubrel,
  type RawClient,
  subscribePacket,
  u16,
  unsubscribePacket,
} from '../mqtt/raw-client.js'
import { servedOver, TRANSPORTS } from './served-over.js'

const good = publishPacket('t', 'x', { qos: 1, id: 9 })
const notUtf8 = [u16(2), Buffer.from([0xc3, 0x28])]
const flagged = (bytes: Buffer, flags: number) => Buffer.concat([Buffer.from([bytes[0] ^ flags]), bytes.subarray(1)])
const CLOSES: readonly [string, Buffer][] = [
  ['02-01 [MQTT-3.3.1-4] PUBLISH with QoS 3', Buffer.from([0x36, 6, 0, 1, 0x74, 0, 1, 0x78])],
  ['02-02 [MQTT-3.3.1-2] PUBLISH QoS 0 with DUP', publishPacket('t', 'x', { dup: true })],
  ['02-03 [MQTT-3.3.2-2, MQTT-4.7.1-1] + in a topic name', publishPacket('a/+/b', 'x', { qos: 1 })],
  ['02-04 [MQTT-4.7.3-1] an empty topic name', packet(0x30, '', [0x78])],
  ['02-05 [MQTT-1.5.3-1, MQTT-3.3.2-1] a topic name that is not UTF-8', packet(0x30, ...notUtf8, [0x78])],
  ['02-06 [MQTT-1.5.3-2, MQTT-4.7.3-2] NUL in a topic name', publishPacket('a\0', 'x')],
  ['02-07 [MQTT-2.3.1-1] packet identifier 0', publishPacket('t', 'x', { qos: 1, id: 0 })],
  ['02-08 [MQTT-3.3.2-1] a topic longer than its packet', Buffer.from([0x30, 4, 0, 9, 0x74, 0x78])],
  ['02-09 a topic of 65,400 slashes', publishPacket('/'.repeat(65_400), 'x')],
  ['02-10 a packet above the limit', Buffer.from([0x30, 0xff, 0xff, 0x7f])],
  ['02-11 PUBREL with packet identifier 0', pubrel(0)],
  ['02-12 [MQTT-3.8.3-3] SUBSCRIBE without a filter', packet(0x82, u16(1))],
  ['02-13 [MQTT-3-8.3-4] SUBSCRIBE asking for QoS 3', subscribePacket(1, ['t', 3])],
  ['02-14 [MQTT-3-8.3-4] SUBSCRIBE with reserved bits set', subscribePacket(1, ['t', 0x10])],
  ['02-15 [MQTT-4.7.1-2] SUBSCRIBE to a/#/b', subscribePacket(1, ['a/#/b', 0])],
  ['02-16 [MQTT-4.7.1-3] SUBSCRIBE to a+', subscribePacket(1, ['a+', 0])],
  ['02-17 [MQTT-2.3.1-1] SUBSCRIBE with packet identifier 0', subscribePacket(0, ['t', 0])],
  ['02-18 SUBSCRIBE cut short', packet(0x82, u16(1), u16(9), [0x74])],
  ['02-19 [MQTT-3.10.3-2] UNSUBSCRIBE without a filter', packet(0xa2, u16(1))],
  ['02-20 a packet only brokers send', Buffer.from([0xd0, 0])],
  ['02-21 [MQTT-1.5.3-1] half a surrogate pair in a topic name', packet(0x30, u16(3), [0xed, 0xa0, 0x80], [0x78])],
  ['02-22 [MQTT-3.8.3-1] SUBSCRIBE to a filter that is not UTF-8', packet(0x82, u16(1), ...notUtf8, [0])],
  ['02-23 [MQTT-3.10.3-1] UNSUBSCRIBE from a filter that is not UTF-8', packet(0xa2, u16(1), ...notUtf8)],
  ['02-24 [MQTT-4.7.3-2] SUBSCRIBE to a filter with NUL', subscribePacket(1, ['a\0', 0])],
  ['02-25 [MQTT-3.8.1-1, MQTT-2.2.2-2] SUBSCRIBE with other flags than 0010', flagged(subscribePacket(1, ['t', 0]), 2)],
  ['02-26 [MQTT-2.3.1-1] UNSUBSCRIBE with packet identifier 0', unsubscribePacket(0, 't')],
  ['02-27 [MQTT-3.6.1-1, MQTT-2.2.2-2] PUBREL with other flags than 0010', flagged(pubrel(1), 2)],
  ['02-28 [MQTT-4.7.3-1] SUBSCRIBE to an empty filter', subscribePacket(1, ['', 0])],
  ['02-29 [MQTT-3.10.1-1] UNSUBSCRIBE with other flags than 0010', flagged(unsubscribePacket(1, 't'), 1)],
  ['02-50 [MQTT-3.14.1-1] DISCONNECT with flags', flagged(DISCONNECT, 1)],
  ['02-51 [MQTT-2.2.2-1, MQTT-2.2.2-2] PINGREQ with flags', flagged(PINGREQ, 8)],
  ['02-52 [MQTT-2.2.2-2] PUBACK with flags', flagged(puback(1), 2)],
  ['02-53 packet type 15', Buffer.from([0xf0, 0])],
  ['02-54 packet type 0', Buffer.from([0, 0])],
  ['02-55 a remaining length of five bytes', Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 1])],
  ['02-56 PUBACK of three bytes', packet(0x40, [0, 1, 0])],
  ['02-57 PINGREQ with a body', packet(0xc0, [0])],
  ['02-58 [MQTT-3.3.2-2, MQTT-4.7.1-1] # in a topic name', publishPacket('a/#', 'x', { qos: 2 })],
  ['02-60 (section 1.5.3) U+0001 in a topic name', publishPacket('a\u0001', 'x')],
  ['02-61 (section 1.5.3) a line feed in a topic name', publishPacket('a\n', 'x', { qos: 1, id: 1 })],
  ['02-62 (section 1.5.3) U+009F in a filter', subscribePacket(1, ['a\u009f', 0])],
  ['02-63 (section 1.5.3) U+FFFF, no character, in a topic name', publishPacket('\uffff', 'x', { qos: 2, id: 1 })],
  ['02-64 (section 1.5.3) UNSUBSCRIBE from a filter with U+007F', unsubscribePacket(1, 'a\u007f')],
  ['02-59 [MQTT-4.7.1-2] SUBSCRIBE to a#', subscribePacket(1, ['a#', 0])],
]

servedOver(TRANSPORTS, (test, server) => {
  let bystander: RawClient | null = null

  // Once is enough: behind the listeners all is one code.
  for (const [name, bytes] of server.transport === 'mqtt' ? CLOSES : [])
    test(`${name} closes its sender's connection, after what came before was acknowledged, and no other [MQTT-4.8.0-1]`, async () => {
      bystander ??= await server.connected('bystander')
      const client = await server.connected('bad')
      client.write(good)
      assert.is((await client.next())?.first, 0x40)
      client.write(bytes)
      await client.whenClosed()
      assert.equal(client.packets, [])
      assert.equal(await bystander.untilPong(), [])
    })

  test('02-30 [MQTT-4.3.2-2, MQTT-2.3.1-6, MQTT-3.3.4-1, MQTT-4.6.0-2] PUBACK carries the packet identifier, and PUBACKs come in the order of PUBLISH', async () => {
    const client = await server.connected()
    const ids = [5, 65_535, 1, 300]
    client.write(...ids.map((id) => publishPacket('t', 'x', { qos: 1, id })))
    for (const id of ids) assert.equal(await client.next(), { first: 0x40, body: u16(id) })
    client.socket.destroy()
  })

  test('02-31 [MQTT-4.3.3-2, MQTT-2.3.1-6, MQTT-3.3.4-1] PUBREC, then PUBCOMP, each with the packet identifier; PUBREL for an unknown one is answered', async () => {
    const client = await server.connected()
    client.write(publishPacket('t', 'x', { qos: 2, id: 77 }))
    assert.equal(await client.next(), { first: 0x50, body: u16(77) })
    client.write(pubrel(77), pubrel(78))
    assert.equal(await client.next(), { first: 0x70, body: u16(77) })
    assert.equal(await client.next(), { first: 0x70, body: u16(78) })
    client.socket.destroy()
  })

  test('02-32 [MQTT-3.10.4-2, MQTT-3.10.4-4, MQTT-3.10.4-5, MQTT-2.3.1-7] UNSUBACK is sent, also for a filter nobody subscribed to, and deliveries end', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['u/#', 0]), unsubscribePacket(2, 'u/#'), publishPacket('u/1', 'x'))
    client.write(unsubscribePacket(3, 'never'))
    assert.equal(await client.next(), { first: 0x90, body: Buffer.from([0, 1, 0]) })
    assert.equal(await client.next(), { first: 0xb0, body: u16(2) })
    assert.equal(await client.next(), { first: 0xb0, body: u16(3) })
    assert.equal(await client.untilPong(), [])
    client.socket.destroy()
  })

  test('02-33 [MQTT-4.7.2-1] wildcards in the first level do not match names that begin with $', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['#', 0], ['+/x', 0]), publishPacket('$me/x', '1'), publishPacket('me/x', '2'))
    await client.next()
    assert.is((await client.nextPublish()).payload, '2')
    client.socket.destroy()
  })

  for (const [number, topic] of [
    ['02-35', '$SYS/x'],
    ['02-37', '$SYS'],
    ['02-38', '$share/group/t'],
    ['02-39', '$SYS/broker/connection/a/b/state'],
  ])
    test(`${number} [MQTT-3.3.5-2] publishing to ${topic} is refused: dropped at QoS 0, above that the connection is closed`, async () => {
      const client = await server.connected()
      client.write(publishPacket(topic, '1'))
      assert.equal(await client.untilPong(), [])
      client.write(publishPacket('t', '1', { qos: 1, id: 4 }), publishPacket(topic, '1', { qos: 1, id: 5 }))
      assert.equal((await client.next())?.body, u16(4))
      assert.is(await client.next(), null)
    })

  test('02-36 [MQTT-4.7.3-3] topic names with an empty level, a space and 65,535 bytes are all valid', async () => {
    const client = await server.connected()
    const names = ['/', 'a//b', 'a b', 'x'.repeat(65_535)]
    client.write(...names.map((name, i) => publishPacket(name, 'x', { qos: 1, id: i + 1 })))
    for (let id = 1; id <= names.length; id++) assert.equal((await client.next())?.body, u16(id))
    client.socket.destroy()
  })

  test('02-40 [MQTT-3.8.4-1, MQTT-3.8.4-2, MQTT-3.8.4-4, MQTT-3.8.4-5, MQTT-3.9.3-1, MQTT-3.9.3-2] SUBACK has the identifier and a code per filter in their order; a filter that is refused gets 0x80', async () => {
    const client = await server.connected()
    const filters: [string, number][] = [
      ['a', 2],
      ['$share//x', 1],
      ['b/+', 0],
      ['$stream/none/earliest', 1],
      ['#', 1],
    ]
    client.write(subscribePacket(0x1234, ...filters))
    assert.equal(await client.next(), { first: 0x90, body: Buffer.from([0x12, 0x34, 2, 0x80, 0, 0x80, 1]) })
    client.socket.destroy()
  })

  test('02-41 [MQTT-3.12.4-1] PINGREQ is answered with PINGRESP', async () => {
    const client = await server.connected()
    client.write(PINGREQ, PINGREQ)
    assert.equal(await client.next(), { first: 0xd0, body: Buffer.alloc(0) })
    assert.equal(await client.next(), { first: 0xd0, body: Buffer.alloc(0) })
    client.socket.destroy()
  })

  test('02-42 [MQTT-4.3.2-2] after PUBACK a PUBLISH with the same identifier is a new message, DUP or not', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['again', 0]))
    await client.next()
    for (const dup of [false, false, true]) {
      client.write(publishPacket('again', 'x', { qos: 1, id: 7, dup }))
      const both = [await client.next(), await client.next()].map((one) => one?.first).sort()
      assert.equal(both, [0x30, 0x40])
    }
    client.socket.destroy()
  })

  test('02-43 [MQTT-4.3.3-2] until PUBREL a PUBLISH with the same identifier is answered and not delivered again; after PUBCOMP it is a new one', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['once', 0]))
    await client.next()
    const send = async (dup: boolean) => {
      client.write(publishPacket('once', 'x', { qos: 2, id: 8, dup }))
      const until = []
      while (until.at(-1) !== 0x50) until.push((await client.next())?.first)
      return until.length - 1 + (await client.untilPong()).length
    }
    assert.is(await send(false), 1)
    assert.is(await send(true), 0)
    assert.is(await send(false), 0)
    client.write(pubrel(8))
    assert.is((await client.next())?.first, 0x70)
    assert.is(await send(true), 1)
    client.socket.destroy()
  })

  test('02-44 [MQTT-3.10.4-1] UNSUBSCRIBE compares byte for byte: a filter that matches the same is another', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['un/+', 0]), unsubscribePacket(2, 'un/#', 'un/a', 'UN/+', 'un/+/'))
    client.write(publishPacket('un/a', 'still'), unsubscribePacket(3, 'un/+'), publishPacket('un/a', 'no more'))
    assert.is((await client.nextPublish()).payload, 'still')
    assert.equal(
      (await client.untilPong()).map(({ first }) => first),
      [0xb0],
    )
    client.socket.destroy()
  })

  test('02-45 [MQTT-3.10.4-6] an UNSUBSCRIBE of several filters ends each, and is answered once', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['m/1', 0], ['m/2', 0], ['m/3', 0]), unsubscribePacket(2, 'm/1', 'm/3'))
    client.write(...[1, 2, 3].map((n) => publishPacket(`m/${n}`, String(n))))
    const after = await client.untilPong()
    assert.equal(
      after.map(({ first }) => first),
      [0x90, 0xb0, 0x30],
    )
    assert.is(publishOf(after[2]).payload, '2')
    client.socket.destroy()
  })

  test('02-46 packets that come byte by byte are taken as if they had come at once', async () => {
    const client = await server.connected()
    const bytes = Buffer.concat([
      subscribePacket(1, ['slow', 0]),
      publishPacket('slow', 'x'.repeat(200), { qos: 1, id: 3 }),
    ])
    for (const byte of bytes) {
      client.write([byte])
      await new Promise((resolve) => setImmediate(resolve))
    }
    const firsts = [await client.next(), await client.next(), await client.next()].map((one) => one?.first)
    assert.equal(new Set(firsts), new Set([0x30, 0x40, 0x90]))
    client.socket.destroy()
  })

  test('02-47 (section 2.2.3) a remaining length in more bytes than it takes, up to four, says what it says', async () => {
    const client = await server.connected()
    const body = publishPacket('t', 'x', { qos: 1, id: 6 }).subarray(2)
    client.write([0xc0, 0x80, 0x80, 0x80, 0], [0x32, 0x80 | body.length, 0], body)
    assert.equal(await client.next(), { first: 0xd0, body: Buffer.alloc(0) })
    assert.equal(await client.next(), { first: 0x40, body: u16(6) })
    client.socket.destroy()
  })
})
