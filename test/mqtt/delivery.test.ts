import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { DroppedRange } from '../../src/mqtt/dropped-deliveries.js'
import { tempDir } from '../helpers/temp-dir.js'
import {
  DISCONNECT,
  PINGREQ,
  packet,
  publishOf,
  publishPacket,
  pubrel,
  RawClient,
  subscribePacket,
  u16,
} from './raw-client.js'
import { nextMessage, startFront } from './start-front.js'

for (const granted of [0, 1, 2] as const)
  for (const published of [0, 1, 2] as const)
    test(`published at QoS ${published} and granted ${granted}, a message is delivered at ${Math.min(granted, published)}`, async () => {
      const { connect, stop } = await startFront()
      const subscriber = await connect()
      const [grant] = await subscriber.subscribeAsync('a/+', { qos: granted })
      assert.is(grant.qos, granted)
      const publisher = await connect()
      const message = nextMessage(subscriber)
      await publisher.publishAsync('a/b', 'x', { qos: published })
      assert.is((await message).qos, Math.min(granted, published))
      await stop()
    })

test('overlapping subscriptions deliver a message once, at the highest QoS granted', async () => {
  const { port, stop } = await startFront()
  const client = await RawClient.connected(port)
  client.write(subscribePacket(1, ['a/#', 0], ['a/+', 2], ['a/b', 1]))
  assert.equal([...(await client.next())!.body], [0, 1, 0, 2, 1])
  client.write(publishPacket('a/b', 'x', { qos: 2, id: 7 }))
  const seen: string[] = []
  let publishes = 0
  while (seen.length < 4) {
    const raw = (await client.next())!
    seen.push((raw.first >> 4).toString(16))
    if (raw.first >> 4 === 5) client.write(pubrel(7))
    if (raw.first >> 4 === 3) {
      publishes += 1
      assert.is(publishOf(raw).qos, 2)
      client.write(packet(0x50, u16(publishOf(raw).id)))
    }
    if (raw.first >> 4 === 6) client.write(packet(0x70, raw.body))
  }
  client.write(PINGREQ)
  while ((await client.next())!.first !== 0xd0) publishes += 1
  assert.is(publishes, 1)
  await stop()
})

test('one SUBSCRIBE with a filter twice is answered with a code for each', async () => {
  const { port, stop } = await startFront()
  const client = await RawClient.connected(port)
  client.write(subscribePacket(9, ['x', 1], ['x', 0], ['$share/g', 1]))
  assert.equal([...(await client.next())!.body], [0, 9, 1, 0, 0x80])
  await stop()
})

test('a durable session is sent what it missed, in order and before what is new, and session present is set', async () => {
  const { port, connect, stop } = await startFront()
  const first = await RawClient.connected(port, 'durable', false)
  first.write(subscribePacket(1, ['a/#', 1]))
  await first.next()
  first.write(DISCONNECT)
  await first.whenClosed()
  const publisher = await connect()
  for (let i = 0; i < 500; i++) publisher.publish('a/b', String(i), { qos: 1 })
  await publisher.publishAsync('a/b', '500', { qos: 1 })
  const again = await RawClient.open(port)
  again.write(packet(0x10, 'MQTT', [4, 0], u16(0), 'durable'))
  assert.equal([...(await again.next())!.body], [1, 0])
  publisher.publish('a/b', '501', { qos: 1 })
  for (let i = 0; i <= 501; i++) {
    const publish = publishOf(await again.next())
    assert.is(publish.payload, String(i))
    assert.is(publish.dup, false)
    again.write(packet(0x40, u16(publish.id)))
  }
  await stop()
})

test('what was not acknowledged is sent again with DUP and the same identifier, the rest follows', async () => {
  const { port, connect, stop } = await startFront()
  const first = await RawClient.connected(port, 'durable', false)
  first.write(subscribePacket(1, ['#', 1]))
  await first.next()
  const publisher = await connect()
  for (const payload of ['a', 'b', 'c']) await publisher.publishAsync('t', payload, { qos: 1 })
  const sent = [publishOf(await first.next()), publishOf(await first.next()), publishOf(await first.next())]
  first.write(packet(0x40, u16(sent[1].id)), PINGREQ)
  await first.next()
  first.socket.destroy()
  await publisher.publishAsync('t', 'd', { qos: 1 })
  const again = await RawClient.connected(port, 'durable', false)
  const after = [publishOf(await again.next()), publishOf(await again.next()), publishOf(await again.next())]
  assert.equal(
    after.map(({ payload, dup }) => [payload, dup]),
    [
      ['a', true],
      ['c', true],
      ['d', false],
    ],
  )
  assert.equal([after[0].id, after[1].id], [sent[0].id, sent[2].id])
  await stop()
})

test('a durable session survives a restart of the node with its backlog', async () => {
  const directory = tempDir()
  const before = await startFront({ directory })
  const first = await RawClient.connected(before.port, 'durable', false)
  first.write(subscribePacket(1, ['a/+', 2]))
  await first.next()
  first.write(DISCONNECT)
  await first.whenClosed()
  const publisher = await before.connect()
  for (let i = 0; i < 50; i++) await publisher.publishAsync('a/b', String(i), { qos: i % 2 === 0 ? 1 : 2 })
  await before.stop()
  const after = await startFront({ directory })
  const again = await RawClient.open(after.port)
  again.write(packet(0x10, 'MQTT', [4, 0], u16(0), 'durable'))
  assert.equal([...(await again.next())!.body], [1, 0])
  const byQos: string[][] = [[], [], []]
  while (byQos[1].length + byQos[2].length < 50) {
    const raw = (await again.next())!
    if (raw.first >> 4 === 6) again.write(packet(0x70, raw.body))
    if (raw.first >> 4 !== 3) continue
    const publish = publishOf(raw)
    byQos[publish.qos].push(publish.payload)
    again.write(packet(publish.qos === 1 ? 0x40 : 0x50, u16(publish.id)))
  }
  assert.equal(
    byQos[1],
    Array.from({ length: 25 }, (_, i) => String(2 * i)),
  )
  assert.equal(
    byQos[2],
    Array.from({ length: 25 }, (_, i) => String(2 * i + 1)),
  )
  await after.stop()
})

test('a QoS 2 delivery that reached PUBREC goes on with PUBREL after a restart, not with the message', async () => {
  const directory = tempDir()
  const before = await startFront({ directory })
  const first = await RawClient.connected(before.port, 'durable', false)
  first.write(subscribePacket(1, ['#', 2]))
  await first.next()
  const publisher = await before.connect()
  await publisher.publishAsync('t', 'once', { qos: 2 })
  const publish = publishOf(await first.next())
  first.write(packet(0x50, u16(publish.id)))
  assert.equal([...(await first.next())!.body], [...u16(publish.id)])
  await before.stop()
  const after = await startFront({ directory })
  const again = await RawClient.connected(after.port, 'durable', false)
  const pubrel = (await again.next())!
  assert.is(pubrel.first, 0x62)
  assert.equal([...pubrel.body], [...u16(publish.id)])
  again.write(packet(0x70, u16(publish.id)), PINGREQ)
  assert.is((await again.next())!.first, 0xd0)
  await after.stop()
})

test('a clean session forgets the durable one with the same client identifier', async () => {
  const { port, connect, stop } = await startFront()
  const first = await RawClient.connected(port, 'c', false)
  first.write(subscribePacket(1, ['#', 1]))
  await first.next()
  const second = await RawClient.connected(port, 'c', true)
  await first.whenClosed()
  const publisher = await connect()
  await publisher.publishAsync('t', 'x', { qos: 1 })
  second.write(PINGREQ)
  assert.is((await second.next())!.first, 0xd0)
  second.socket.destroy()
  const third = await RawClient.open(port)
  third.write(packet(0x10, 'MQTT', [4, 0], u16(0), 'c'))
  assert.equal([...(await third.next())!.body], [0, 0])
  await stop()
})

test('a subscriber that acknowledges nothing is sent no more than the window, and everything once it does', async () => {
  const { port, connect, stop } = await startFront({ limits: { maxInflightPerClient: 10 } })
  const subscriber = await RawClient.connected(port)
  subscriber.write(subscribePacket(1, ['#', 1]))
  await subscriber.next()
  const publisher = await connect()
  await Promise.all(Array.from({ length: 300 }, (_, i) => publisher.publishAsync('t', String(i), { qos: 1 })))
  const ids: number[] = []
  const payloads: string[] = []
  const take = (raw: { first: number; body: Buffer } | null): void => {
    ids.push(publishOf(raw).id)
    payloads.push(publishOf(raw).payload)
  }
  while (ids.length < 10) take(await subscriber.next())
  subscriber.write(PINGREQ)
  for (let raw = await subscriber.next(); raw!.first !== 0xd0; raw = await subscriber.next()) take(raw)
  assert.is(ids.length, 10)
  for (const id of ids) subscriber.write(packet(0x40, u16(id)))
  while (payloads.length < 300) {
    const publish = publishOf(await subscriber.next())
    payloads.push(publish.payload)
    subscriber.write(packet(0x40, u16(publish.id)))
  }
  assert.equal(
    payloads,
    Array.from({ length: 300 }, (_, i) => String(i)),
  )
  await stop()
})

test('a QoS 2 message sent again before PUBREL, on another connection too, is stored and delivered once', async () => {
  const { port, testLog, stop } = await startFront()
  const first = await RawClient.connected(port, 'pub', false)
  first.write(publishPacket('t', 'x', { qos: 2, id: 5 }), publishPacket('t', 'x', { qos: 2, id: 5, dup: true }))
  assert.is((await first.next())!.first, 0x50)
  assert.is((await first.next())!.first, 0x50)
  const second = await RawClient.connected(port, 'pub', false)
  second.write(publishPacket('t', 'x', { qos: 2, id: 5, dup: true }), packet(0x62, u16(5)), packet(0x62, u16(5)))
  assert.equal(
    [(await second.next())!.first, (await second.next())!.first, (await second.next())!.first],
    [0x50, 0x70, 0x70],
  )
  second.write(publishPacket('t', 'y', { qos: 2, id: 5 }))
  await second.next()
  assert.is(testLog.log.stream('mqtt').nextOffset(0 as never), 2)
  await stop()
})

test('retained messages survive a restart, come at the lower QoS, and more of them than the window do too', async () => {
  const directory = tempDir()
  const before = await startFront({ directory })
  const publisher = await before.connect()
  for (let i = 0; i < 250; i++)
    await publisher.publishAsync(`r/${i}`, String(i), { qos: i === 0 ? 0 : 1, retain: true })
  await before.stop()
  const after = await startFront({ directory })
  const subscriber = await RawClient.connected(after.port)
  subscriber.write(subscribePacket(1, ['r/+', 1]))
  assert.is((await subscriber.next())!.first, 0x90)
  const seen = new Set<string>()
  while (seen.size < 250) {
    const publish = publishOf(await subscriber.next())
    assert.is(publish.retain, true)
    assert.is(publish.qos, publish.topic === 'r/0' ? 0 : 1)
    seen.add(publish.payload)
    if (publish.qos > 0) subscriber.write(packet(0x40, u16(publish.id)))
  }
  await after.stop()
})

test('retained messages that a session had not been sent when it went come when it is back, after a restart too', async () => {
  const directory = tempDir()
  const before = await startFront({ directory, limits: { maxInflightPerClient: 10 } })
  const publisher = await before.connect()
  for (let i = 0; i < 50; i++) await publisher.publishAsync(`r/${i}`, String(i), { qos: 1, retain: true })
  const first = await RawClient.connected(before.port, 'durable', false)
  first.write(subscribePacket(1, ['r/+', 1]))
  assert.is((await first.next())!.first, 0x90)
  for (let i = 0; i < 10; i++) await first.next()
  first.socket.destroy()
  await before.stop()
  const after = await startFront({ directory, limits: { maxInflightPerClient: 10 } })
  const again = await RawClient.connected(after.port, 'durable', false)
  const seen = new Set<string>()
  while (seen.size < 50) {
    const publish = publishOf(await again.next())
    seen.add(publish.payload)
    again.write(packet(0x40, u16(publish.id)))
  }
  await after.stop()
})

test('a session that is far behind does not read segments without its topics', async () => {
  const directory = tempDir()
  const streams = [
    { name: 'mqtt', topics: ['#'], retention: { maxBytes: 64 << 20, maxAgeMs: null, onFull: 'drop_oldest' as const } },
  ]
  const { port, front, testLog, stop } = await startFront({ directory, streams })
  const first = await RawClient.connected(port, 'durable', false)
  first.write(subscribePacket(1, ['rare', 1]))
  await first.next()
  first.write(DISCONNECT)
  await first.whenClosed()
  const stream = testLog.log.stream('mqtt')
  const payload = Buffer.alloc(200_000, 'x')
  await front.publish({ mqttTopic: 'rare', payload: Buffer.from('1'), qos: 1 }).durable()
  while (stream.stats().segments < 4) await front.publish({ mqttTopic: 'noise', payload, qos: 1 }).durable()
  await front.publish({ mqttTopic: 'rare', payload: Buffer.from('2'), qos: 1 }).durable()
  const fetch = stream.fetch.bind(stream)
  let read = 0
  stream.fetch = async (...args) => {
    const fetched = await fetch(...args)
    for (const batch of fetched.batches) read += batch.length
    return fetched
  }
  const again = await RawClient.connected(port, 'durable', false)
  assert.is(publishOf(await again.next()).payload, '1')
  assert.is(publishOf(await again.next()).payload, '2')
  assert.ok(read < 0.7 * stream.stats().bytes, `read ${read} of ${stream.stats().bytes} bytes`)
  await stop()
})

test('what matches no subscription above QoS 0 is not read back from the log', async () => {
  const { port, connect, testLog, stop } = await startFront()
  const subscriber = await RawClient.connected(port)
  subscriber.write(subscribePacket(1, ['rare', 1], ['noise', 0]))
  await subscriber.next()
  const stream = testLog.log.stream('mqtt')
  const fetch = stream.fetch.bind(stream)
  let read = 0
  stream.fetch = async (...args) => {
    const fetched = await fetch(...args)
    read += fetched.nextOffset - args[1]
    return fetched
  }
  const publisher = await connect()
  for (let i = 0; i < 200; i++) await publisher.publishAsync('other', String(i), { qos: 1 })
  await publisher.publishAsync('rare', 'x', { qos: 1 })
  assert.is(publishOf(await subscriber.next()).topic, 'rare')
  assert.ok(read < 20, `read ${read} records`)
  await stop()
})

test('a session that retention has overtaken goes on with what is left, and what it missed is named', async () => {
  const directory = tempDir()
  const overtaken: [number, number][] = []
  const streams = [
    { name: 'mqtt', topics: ['#'], retention: { maxBytes: 2 << 20, maxAgeMs: null, onFull: 'drop_oldest' as const } },
  ]
  const { port, front, testLog, stop } = await startFront({
    directory,
    streams,
    onOvertaken: (_client, _stream, _partition, first, last) => overtaken.push([first, last]),
  })
  const first = await RawClient.connected(port, 'durable', false)
  first.write(subscribePacket(1, ['#', 1]))
  await first.next()
  first.write(DISCONNECT)
  await first.whenClosed()
  const stream = testLog.log.stream('mqtt')
  const payload = Buffer.alloc(20_000, 'x')
  let count = 0
  while (stream.logStartOffset(0 as never) === 0 || count % 50 !== 0) {
    await front.publish({ mqttTopic: 't', payload, qos: 1 }).durable()
    count += 1
  }
  const again = await RawClient.connected(port, 'durable', false)
  let left = 0
  const start = stream.logStartOffset(0 as never)
  while (left < count - start) {
    again.write(packet(0x40, u16(publishOf(await again.next()).id)))
    left += 1
  }
  assert.equal(overtaken, [[0, start - 1]])
  await stop()
})

test('stored messages that a slow subscriber at QoS 0 was not given are named, one range per partition', async () => {
  const dropped: DroppedRange[] = []
  const { front, port, connect, testLog, stop } = await startFront({
    limits: { maxQueuedBytesPerConnection: 64 * 1024 },
    onDropped: (range) => dropped.push(range),
  })
  const frozen = await RawClient.connected(port, 'frozen')
  frozen.write(subscribePacket(1, ['bulk', 0]))
  await frozen.next()
  frozen.socket.pause()
  const publisher = await connect()
  const payload = 'x'.repeat(20_000)
  while (front.stats().droppedMessages < 50) {
    await publisher.publishAsync('bulk', payload, { qos: 0 })
    await publisher.publishAsync('other', 'x', { qos: 0 })
  }
  await publisher.publishAsync('bulk', payload, { qos: 1 })
  const count = front.stats().droppedMessages
  const next = testLog.log.stream('mqtt').nextOffset(0 as never)
  await stop()
  assert.is(
    dropped.reduce((sum, { records }) => sum + records, 0),
    count,
  )
  for (const { first, last, records } of dropped) assert.ok(first + records - 1 <= last && last < next)
  assert.ok(dropped.length < 5)
})

test('a subscriber that reads nothing delays neither the publisher nor the others, and is closed in the end', async () => {
  const { front, port, connect, stop } = await startFront({
    limits: { maxQueuedBytesPerConnection: 64 * 1024, onQueueFull: 'disconnect' },
  })
  const frozen = await RawClient.connected(port, 'frozen')
  frozen.write(subscribePacket(1, ['#', 0]))
  await frozen.next()
  frozen.socket.pause()
  const reader = await connect()
  await reader.subscribeAsync('last')
  const last = nextMessage(reader)
  const publisher = await connect()
  const payload = 'x'.repeat(20_000)
  for (let i = 0; i < 1000; i++) await publisher.publishAsync('bulk', payload, { qos: 0 })
  await publisher.publishAsync('last', 'x', { qos: 1 })
  await last
  while (front.stats().connections > 2) await new Promise((resolve) => setImmediate(resolve))
  await stop()
})

test.run()
