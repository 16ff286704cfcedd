// MQTT 3.1.1 sections 3.3 to 3.11, by behaviour; each test names the statement it holds us to.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PINGREQ, packet, publishPacket, RawClient, subscribePacket, u16 } from '../mqtt/raw-client.js'
import { startFront, type TestFront } from '../mqtt/start-front.js'

let server: TestFront
let bystander: RawClient
test.before(async () => {
  server = await startFront()
  bystander = await RawClient.connected(server.port, 'bystander')
})
test.after(() => server.stop())

const good = publishPacket('t', 'x', { qos: 1, id: 9 })
const BAD: readonly [string, Buffer][] = [
  ['02-01 [MQTT-3.3.1-4] PUBLISH with QoS 3', Buffer.from([0x36, 6, 0, 1, 0x74, 0, 1, 0x78])],
  ['02-02 [MQTT-3.3.1-2] PUBLISH QoS 0 with DUP', publishPacket('t', 'x', { dup: true })],
  ['02-03 [MQTT-3.3.2-2] a wildcard in a topic name', publishPacket('a/+/b', 'x', { qos: 1 })],
  ['02-04 [MQTT-4.7.3-1] an empty topic name', packet(0x30, '', [0x78])],
  ['02-05 [MQTT-1.5.3-1] a topic name that is not UTF-8', packet(0x30, u16(2), [0xc3, 0x28], [0x78])],
  ['02-06 [MQTT-1.5.3-2] NUL in a topic name', publishPacket('a\0', 'x')],
  ['02-07 [MQTT-2.3.1-1] packet identifier 0', publishPacket('t', 'x', { qos: 1, id: 0 })],
  ['02-08 a topic longer than its packet', Buffer.from([0x30, 4, 0, 9, 0x74, 0x78])],
  ['02-09 a topic of 65,400 slashes', publishPacket('/'.repeat(65_400), 'x')],
  ['02-10 a packet above the limit', Buffer.from([0x30, 0xff, 0xff, 0x7f])],
  ['02-11 PUBREL with packet identifier 0', packet(0x62, u16(0))],
  ['02-12 [MQTT-3.8.3-3] SUBSCRIBE without a filter', packet(0x82, u16(1))],
  ['02-13 [MQTT-3.8.3-4] SUBSCRIBE asking for QoS 3', subscribePacket(1, ['t', 3])],
  ['02-14 [MQTT-3.8.3-4] SUBSCRIBE with reserved bits set', subscribePacket(1, ['t', 0x10])],
  ['02-15 [MQTT-4.7.1-2] SUBSCRIBE to a/#/b', subscribePacket(1, ['a/#/b', 0])],
  ['02-16 [MQTT-4.7.1-3] SUBSCRIBE to a+', subscribePacket(1, ['a+', 0])],
  ['02-17 [MQTT-2.3.1-1] SUBSCRIBE with packet identifier 0', subscribePacket(0, ['t', 0])],
  ['02-18 SUBSCRIBE cut short', packet(0x82, u16(1), u16(9), [0x74])],
  ['02-19 [MQTT-3.10.3-2] UNSUBSCRIBE without a filter', packet(0xa2, u16(1))],
  ['02-20 a packet only brokers send', Buffer.from([0xd0, 0])],
]
for (const [name, bytes] of BAD)
  test(`${name} closes its sender's connection, after what came before was acknowledged, and no other`, async () => {
    const client = await RawClient.connected(server.port, 'bad')
    client.write(good)
    assert.is((await client.next())?.first, 0x40)
    client.write(bytes)
    await client.whenClosed()
    assert.equal(client.packets, [])
    bystander.write(PINGREQ)
    assert.is((await bystander.next())?.first, 0xd0)
  })

test('02-30 [MQTT-4.3.2-2] PUBACK carries the packet identifier, and PUBACKs come in the order of PUBLISH', async () => {
  const client = await RawClient.connected(server.port)
  const ids = [5, 65_535, 1, 300]
  client.write(...ids.map((id) => publishPacket('t', 'x', { qos: 1, id })))
  for (const id of ids) assert.equal((await client.next())?.body, u16(id))
  client.socket.destroy()
})

test('02-31 [MQTT-4.3.3-2] PUBREC, then PUBCOMP, each with the packet identifier; PUBREL for an unknown one is answered', async () => {
  const client = await RawClient.connected(server.port)
  client.write(publishPacket('t', 'x', { qos: 2, id: 77 }))
  assert.equal((await client.next())?.body, u16(77))
  client.write(packet(0x62, u16(77)), packet(0x62, u16(78)))
  const pubcomps = [await client.next(), await client.next()]
  assert.equal(
    pubcomps.map((one) => [one?.first, one?.body.readUInt16BE(0)]),
    [
      [0x70, 77],
      [0x70, 78],
    ],
  )
  client.socket.destroy()
})

test('02-32 [MQTT-3.10.4-4] UNSUBACK is sent, also for a filter nobody subscribed to, and deliveries end', async () => {
  const client = await RawClient.connected(server.port)
  client.write(subscribePacket(1, ['u/#', 0]), packet(0xa2, u16(2), 'u/#', 'v'), publishPacket('u/1', 'x'), PINGREQ)
  const firsts = [await client.next(), await client.next(), await client.next()].map((one) => one?.first)
  assert.equal(firsts, [0x90, 0xb0, 0xd0])
  client.socket.destroy()
})

test('02-33 [MQTT-4.7.2-1] wildcards in the first level do not match names that begin with $', async () => {
  const client = await RawClient.connected(server.port)
  client.write(subscribePacket(1, ['#', 0], ['+/x', 0]), publishPacket('$me/x', '1'), publishPacket('me/x', '2'))
  await client.next()
  assert.is(String((await client.next())?.body.subarray(6)), '2')
  client.socket.destroy()
})

test('02-34 [MQTT-3.3.1-9] a retained message reaches those already subscribed without its retain flag', async () => {
  const client = await RawClient.connected(server.port)
  client.write(subscribePacket(1, ['live', 0]), publishPacket('live', 'x', { retain: true }))
  await client.next()
  assert.is((await client.next())?.first, 0x30)
  client.socket.destroy()
})

test('02-35 [MQTT-3.3.5-2] publishing to $SYS is refused: dropped at QoS 0, above that the connection is closed', async () => {
  const client = await RawClient.connected(server.port)
  client.write(publishPacket('$SYS/x', '1'), PINGREQ)
  assert.is((await client.next())?.first, 0xd0)
  client.write(publishPacket('t', '1', { qos: 1, id: 4 }), publishPacket('$SYS/x', '1', { qos: 1, id: 5 }))
  assert.equal((await client.next())?.body, u16(4))
  assert.is(await client.next(), null)
})

test('02-36 a topic name with an empty level, a space and 65,535 bytes are all valid', async () => {
  const client = await RawClient.connected(server.port)
  const names = ['/', 'a//b', 'a b', 'x'.repeat(65_535)]
  client.write(...names.map((name, i) => publishPacket(name, 'x', { qos: 1, id: i + 1 })))
  for (let id = 1; id <= names.length; id++) assert.equal((await client.next())?.body, u16(id))
  client.socket.destroy()
})

test.run()
