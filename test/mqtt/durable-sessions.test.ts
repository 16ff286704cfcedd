import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { tempDir } from '../helpers/temp-dir.js'
import { GatedState } from './gated-state.js'
import { DISCONNECT, puback, pubcomp, publishPacket, pubrec, RawClient, subscribePacket } from './raw-client.js'
import { startFront } from './start-front.js'

test('a QoS 2 message leaves only when a row that holds its identifier is durable, and what comes after it leaves after it', async () => {
  const gated = new GatedState()
  const { port, front, stop } = await startFront({ wrapState: gated.wrap })
  const { client } = await RawClient.durable(port, 'careful')
  client.write(subscribePacket(1, ['two', 2], ['one', 1]))
  await client.next()
  gated.shut.add('mqtt-sessions')
  const publish = (mqttTopic: string, qos: 1 | 2) =>
    front.publish({ mqttTopic, payload: Buffer.from(mqttTopic), qos }).durable()
  await publish('two', 2)
  await eventually('the row of the first message is being written', () => gated.held === 1)
  // Too late for that row.
  await publish('two', 2)
  await publish('one', 1)
  assert.equal(await client.untilPong(), [])
  gated.pass()
  assert.is((await client.nextPublish()).topic, 'two')
  await eventually('the row of the second message is being written', () => gated.held === 1)
  assert.equal(await client.untilPong(), [])
  gated.open()
  assert.equal([(await client.nextPublish()).topic, (await client.nextPublish()).topic], ['two', 'one'])
  await stop()
})

test('what is published while a session is away, and on its way to the disk when it comes back, is delivered to it', async () => {
  // Each commit gathers for a while first, in which the session comes back.
  const { port, stop } = await startFront({ streams: [{ name: 'mqtt', topics: ['#'], lingerMs: 300 }] })
  const { client: first } = await RawClient.durable(port, 'away')
  first.write(subscribePacket(1, ['a', 1]))
  await first.next()
  first.write(DISCONNECT)
  await first.whenClosed()
  // Somebody is fed from the end of the log, but with other messages.
  const other = await RawClient.connected(port, 'other')
  other.write(subscribePacket(1, ['b', 1]))
  await other.next()
  const publisher = await RawClient.connected(port, 'publisher')
  publisher.write(publishPacket('a', 'before it came back', { qos: 1, id: 1 }))
  assert.equal(await publisher.untilPong(), [])
  const { client, present } = await RawClient.durable(port, 'away')
  assert.ok(present)
  assert.equal(await client.untilPong(), [])
  publisher.write(publishPacket('a', 'after', { qos: 1, id: 2 }))
  const payloads: string[] = []
  while (payloads.at(-1) !== 'after') payloads.push((await client.nextPublish()).payload)
  assert.equal(payloads, ['before it came back', 'after'])
  await stop()
})

test('subscribing again at another QoS, several times, neither loses nor repeats what a session has still to be sent', async () => {
  const { port, front, stop } = await startFront({ limits: { maxInflightPerClient: 10 } })
  const { client } = await RawClient.durable(port, 'fickle')
  const count = 90
  const ids: number[] = []
  const received: string[] = []
  const qos = [1, 2, 1, 0, 2, 1, 0, 1, 2]
  for (let i = 0; i < count; i++) {
    if (i % 10 === 0) {
      client.write(subscribePacket(1, ['t', qos[i / 10]]))
      for (;;) {
        const answer = (await client.next())!
        if (answer.first === 0x90) break
        client.packets.unshift(answer)
        const message = await client.nextPublish()
        received.push(message.payload)
        if (message.qos > 0) ids.push(message.id)
      }
    }
    await front.publish({ mqttTopic: 't', payload: Buffer.from(String(i)), qos: 2 }).durable()
  }
  // Nothing has been acknowledged so far: all but a window of it has yet to come.
  const acknowledge = (id: number, at: number) => client.write(at === 1 ? puback(id) : pubrec(id))
  assert.is(ids.length, 10)
  for (const id of ids) acknowledge(id, 1)
  while (received.length < count) {
    const answer = (await client.next())!
    if (answer.first >> 4 === 6) client.write(pubcomp(answer.body.readUInt16BE(0)))
    if (answer.first >> 4 !== 3) continue
    client.packets.unshift(answer)
    const message = await client.nextPublish()
    received.push(message.payload)
    if (message.qos > 0) acknowledge(message.id, message.qos)
  }
  assert.equal(
    received.map(Number).sort((a, b) => a - b),
    Array.from({ length: count }, (_, i) => i),
  )
  await stop()
})

test('a session and a shared group that were there before a stream and a partition get what goes to these from their beginning', async () => {
  const directory = tempDir()
  const a = { name: 'a', topics: ['a/#'] }
  let server = await startFront({ directory, streams: [a] })
  const { client } = await RawClient.durable(server.port, 'older')
  client.write(subscribePacket(1, ['+/x/+', 1], ['$share/g/+/y', 1]))
  await client.next()
  client.write(DISCONNECT)
  await client.whenClosed()
  await server.stop()

  server = await startFront({
    directory,
    streams: [
      { ...a, partitions: 8 },
      { name: 'b', topics: ['b/#'] },
    ],
  })
  const topics = ['b/x/1', ...Array.from({ length: 20 }, (_, i) => `a/x/${i}`), 'b/y', 'a/y']
  for (const mqttTopic of topics) await server.front.publish({ mqttTopic, payload: Buffer.alloc(1), qos: 1 }).durable()
  await server.stop()
  server = await startFront({
    directory,
    streams: [
      { ...a, partitions: 8 },
      { name: 'b', topics: ['b/#'] },
    ],
  })
  const again = await RawClient.durable(server.port, 'older')
  assert.ok(again.present)
  const received = []
  while (received.length < topics.length) {
    const { topic, id } = await again.client.nextPublish()
    received.push(topic)
    again.client.write(puback(id))
  }
  assert.equal(received.sort(), topics.sort())
  await server.stop()
})

test('what a session was sent and did not acknowledge is not sent again once its client may not read it', async () => {
  let revoked = false
  const { port, front, stop } = await startFront({
    authorize: (_who, kind, topic) => kind !== 'receive' || !revoked || topic !== 'secret',
  })
  const { client } = await RawClient.durable(port, 'reader')
  client.write(subscribePacket(1, ['#', 1]))
  await client.next()
  for (const mqttTopic of ['secret', 'open'])
    await front.publish({ mqttTopic, payload: Buffer.alloc(1), qos: 1 }).durable()
  assert.equal([(await client.nextPublish()).topic, (await client.nextPublish()).topic], ['secret', 'open'])
  client.socket.destroy()
  revoked = true
  front.accessChanged()
  const again = await RawClient.durable(port, 'reader')
  const first = await again.client.nextPublish()
  assert.equal([first.topic, first.dup], ['open', true])
  assert.equal(await again.client.untilPong(), [])
  await stop()
})

test('what is sent again to a client that does not read it stays within the bytes that may wait', async () => {
  const { port, front, stop } = await startFront({
    limits: { maxQueuedBytesPerConnection: 256 * 1024, maxInflightPerClient: 150 },
  })
  const { client } = await RawClient.durable(port, 'slow')
  client.write(subscribePacket(1, ['#', 1]))
  await client.next()
  const payload = Buffer.alloc(200_000)
  for (let i = 0; i < 150; i++) await front.publish({ mqttTopic: 't', payload, qos: 1 }).durable()
  for (let i = 0; i < 150; i++) await client.nextPublish()
  client.socket.destroy()
  await eventually('it is gone', () => front.stats().connections === 0)
  const before = front.stats().sentBytes
  const again = await RawClient.durable(port, 'slow')
  again.client.socket.pause()
  const other = await RawClient.connected(port, 'other')
  for (let i = 0; i < 200; i++) await other.untilPong()
  // The kernel takes some megabytes of the thirty.
  const sent = front.stats().sentBytes - before
  assert.ok(sent < 12_000_000, `${sent} bytes were given to the socket`)
  again.client.socket.resume()
  for (let i = 0; i < 150; i++) assert.ok((await again.client.nextPublish()).dup)
  await stop()
})

test('a retained message that a crash took from a QoS 2 handshake is retained when the message is sent again', async () => {
  const directory = tempDir()
  const gated = new GatedState()
  let server = await startFront({ directory, wrapState: gated.wrap })
  const first = await RawClient.durable(server.port, 'keeper')
  gated.shut.add('mqtt-retained')
  first.client.write(publishPacket('state', 'on', { qos: 2, id: 3, retain: true }))
  await eventually('the retained message is being written', () => gated.held === 1)
  // As a crash would leave it: the record is there, the retained message never came to be.
  const stopped = server.stop()
  await stopped

  server = await startFront({ directory })
  const { client } = await RawClient.durable(server.port, 'keeper')
  client.write(publishPacket('state', 'on', { qos: 2, id: 3, retain: true, dup: true }))
  assert.is((await client.next())?.first, 0x50)
  client.write(subscribePacket(4, ['state', 1]))
  const message = await client.nextPublish()
  assert.equal([message.payload, message.retain], ['on', true])
  assert.is(server.testLog.log.stream('mqtt').nextOffset(0 as never), 1)
  await server.stop()
})

test.run()
