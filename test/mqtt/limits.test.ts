// Each limit of the MQTT front, at its maximum and one past it. Elsewhere: connections in all (gate.test.ts), their rate, keepalive and bytes that wait to
// be sent (cut-off.test.ts), bytes received and not whole (read-memory.test.ts), client identifiers (conformance 01-32), replays (replay.test.ts).

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  connectPacket,
  puback,
  publishPacket,
  pubrel,
  RawClient,
  subscribePacket,
  text,
  u16,
  unsubscribePacket,
} from './raw-client.js'
import { startFront, type TestFront } from './start-front.js'

const LIMITS = {
  maxPacketBytes: 4000,
  maxConnectPacketBytes: 300,
  maxSubscriptionsPerClient: 3,
  maxQos2HandshakesPerClient: 3,
  maxUnacknowledged: 4,
  maxInflightPerClient: 3,
  maxDurableSessions: 2,
  maxSharedGroups: 2,
  maxRetainedMessages: 2,
}
let server: TestFront
test.before(async () => {
  server = await startFront({ limits: LIMITS })
})
test.after(() => server.stop())

/** A QoS 1 PUBLISH of so many bytes, header and all. */
function publishOfSize(bytes: number): Buffer {
  const packet = publishPacket('t', 'x'.repeat(bytes - 8), { qos: 1, id: 5 })
  assert.is(packet.length, bytes)
  return packet
}

const refusedAt = async (client: RawClient, id: number, filter: string): Promise<number> => {
  client.write(subscribePacket(id, [filter, 1]))
  return (await client.next())!.body[2]
}

test('mqtt.max_packet_size: a packet of the maximum is taken, one byte more closes the connection', async () => {
  const client = await RawClient.connected(server.port, 'size')
  client.write(publishOfSize(LIMITS.maxPacketBytes))
  assert.is((await client.next())?.first, 0x40)
  client.write(publishOfSize(LIMITS.maxPacketBytes + 1).subarray(0, 10))
  assert.is(await client.next(), null)
})

test('a CONNECT of the maximum is taken, one byte more closes the connection before it is whole', async () => {
  const userOfSize = (bytes: number) => {
    const packet = connectPacket({ clientId: 'c', flags: 0x82, payload: text('u'.repeat(bytes - 18)) })
    assert.is(packet.length, bytes)
    return packet
  }
  const fits = await RawClient.open(server.port)
  fits.write(userOfSize(LIMITS.maxConnectPacketBytes))
  assert.equal((await fits.next())?.body, Buffer.from([0, 0]))
  const tooLarge = await RawClient.open(server.port)
  tooLarge.write(userOfSize(LIMITS.maxConnectPacketBytes + 1).subarray(0, 10))
  assert.is(await tooLarge.next(), null)
  fits.socket.destroy()
})

test('a topic and a filter of 201 levels are taken, one of 202 closes the connection', async () => {
  const levels = (count: number) => 'a/'.repeat(count - 1)
  const client = await RawClient.connected(server.port, 'levels')
  client.write(subscribePacket(1, [levels(201), 0]), publishPacket(levels(201), 'x', { qos: 1, id: 2 }))
  assert.is((await client.nextPublish()).payload, 'x')
  client.write(publishPacket(levels(202), 'x', { qos: 1, id: 3 }))
  await client.whenClosed()
  const other = await RawClient.connected(server.port, 'levels')
  other.write(subscribePacket(1, [levels(202), 0]))
  assert.is(await other.next(), null)
})

test('mqtt.max_connections_per_address: as many as the maximum are let in, one more is not, and again when one has gone', async () => {
  const { port, front, stop } = await startFront({ limits: { maxConnectionsPerAddress: 2 } })
  const first = await RawClient.connected(port, 'one')
  const second = await RawClient.connected(port, 'two')
  const third = await RawClient.open(port)
  await third.whenClosed()
  first.socket.destroy()
  while (front.stats().connections > 1) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(await (await RawClient.connected(port, 'three')).untilPong(), [])
  assert.equal(await second.untilPong(), [])
  await stop()
})

test('mqtt.max_subscriptions: one more is refused with 0x80, the same ones again are not, and there is room after UNSUBSCRIBE', async () => {
  const client = await RawClient.connected(server.port, 'subscriptions')
  assert.equal(
    [await refusedAt(client, 1, 's/1'), await refusedAt(client, 2, 's/2'), await refusedAt(client, 3, 's/3')],
    [1, 1, 1],
  )
  assert.equal([await refusedAt(client, 4, 's/4'), await refusedAt(client, 5, 's/3')], [0x80, 1])
  client.write(unsubscribePacket(6, 's/1'))
  await client.next()
  assert.is(await refusedAt(client, 7, 's/4'), 1)
  client.socket.destroy()
})

test('mqtt.max_qos2_handshakes: one more than the maximum closes the connection; one that is ended makes room', async () => {
  const client = await RawClient.connected(server.port, 'handshakes')
  const begin = async (id: number) => {
    client.write(publishPacket('q', 'x', { qos: 2, id }))
    return (await client.next())?.first
  }
  assert.equal([await begin(1), await begin(2), await begin(3)], [0x50, 0x50, 0x50])
  client.write(pubrel(2))
  assert.is((await client.next())?.first, 0x70)
  assert.is(await begin(4), 0x50)
  assert.is(await begin(5), undefined)
})

test('acknowledgements owed: reading stops at the maximum, and a client with ten times as much on its way loses nothing', async () => {
  const client = await RawClient.connected(server.port, 'owed')
  const ids = Array.from({ length: 10 * LIMITS.maxUnacknowledged }, (_, i) => i + 1)
  client.write(...ids.map((id) => publishPacket('t', 'x', { qos: 1, id })))
  for (const id of ids) assert.equal(await client.next(), { first: 0x40, body: u16(id) })
  client.socket.destroy()
})

test('mqtt.max_in_flight: as many as the maximum are sent, the next one when one is acknowledged', async () => {
  const client = await RawClient.connected(server.port, 'flight')
  client.write(subscribePacket(1, ['flight', 1]))
  await client.next()
  const publisher = await RawClient.connected(server.port, 'publisher')
  for (let id = 1; id <= 5; id++) {
    publisher.write(publishPacket('flight', String(id), { qos: 1, id }))
    await publisher.next()
  }
  const sent = [await client.nextPublish(), await client.nextPublish(), await client.nextPublish()]
  assert.equal(await client.untilPong(), [])
  client.write(puback(sent[0].id))
  assert.is((await client.nextPublish()).payload, '4')
  assert.equal(await client.untilPong(), [])
  client.socket.destroy()
  publisher.socket.destroy()
})

test('mqtt.max_sessions: one more is told that the server is unavailable, those there are come back, and clean ones are let in', async () => {
  const durable = (clientId: string) => RawClient.durable(server.port, clientId)
  for (const clientId of ['kept 1', 'kept 2']) (await durable(clientId)).client.socket.destroy()
  const third = await RawClient.open(server.port)
  third.write(connectPacket({ clientId: 'kept 3', clean: false }))
  assert.equal((await third.next())?.body, Buffer.from([0, 3]))
  assert.is(await third.next(), null)
  const back = await durable('kept 2')
  assert.ok(back.present)
  back.client.socket.destroy()
  ;(await RawClient.connected(server.port, 'kept 3')).socket.destroy()
})

test('shared groups: one more than the maximum is refused with 0x80, another member of one there is is not', async () => {
  const client = await RawClient.connected(server.port, 'groups')
  assert.equal(
    [
      await refusedAt(client, 1, '$share/g1/x'),
      await refusedAt(client, 2, '$share/g2/x'),
      await refusedAt(client, 3, '$share/g3/x'),
    ],
    [1, 1, 0x80],
  )
  const member = await RawClient.connected(server.port, 'member')
  assert.is(await refusedAt(member, 1, '$share/g1/x'), 1)
  client.socket.destroy()
  member.socket.destroy()
})

test('mqtt.max_retained: one more is delivered but not kept; those there are can be replaced, and one that is removed makes room', async () => {
  const client = await RawClient.connected(server.port, 'retained')
  const retain = async (topic: string, payload: string) => {
    client.write(publishPacket(topic, payload, { qos: 1, id: 9, retain: true }))
    assert.is((await client.next())?.first, 0x40)
  }
  await retain('kept/1', 'a')
  await retain('kept/2', 'a')
  await retain('kept/3', 'a')
  assert.is(server.front.stats().retainedMessages, 2)
  await retain('kept/2', 'b')
  await retain('kept/1', '')
  await retain('kept/4', 'a')
  client.write(subscribePacket(1, ['kept/+', 0]))
  await client.next()
  const kept = [await client.nextPublish(), await client.nextPublish()].map(
    ({ topic, payload }) => `${topic} ${payload}`,
  )
  assert.equal(kept.sort(), ['kept/2 b', 'kept/4 a'])
  assert.equal(await client.untilPong(), [])
  client.socket.destroy()
})

test.run()
