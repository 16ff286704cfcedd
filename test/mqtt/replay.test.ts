import type { MqttClient } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Replay } from '../../src/mqtt/replay.js'
import type { SessionPump } from '../../src/mqtt/session-pump.js'
import type { StoredPartition } from '../../src/mqtt/stored-partition.js'
import type { LogRecord, Offset, PartitionId } from '../../src/record/record.js'
import { MemoryStream } from '../helpers/memory-streams.js'
import { recordOf } from '../helpers/open-log.js'
import { PINGREQ, packet, RawClient, subscribePacket, u16 } from './raw-client.js'
import { startFront, type TestFront } from './start-front.js'

const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => String(from + i))

async function fill(
  { testLog }: TestFront,
  values: readonly string[],
  more: { partition?: number; topic?: string; atMs?: number } = {},
) {
  const { partition = 0, topic = 'sensors/1/temp', atMs = 1_700_000_000_000 } = more
  const commits = values.map((value) =>
    testLog.log
      .stream('mqtt')
      .append(partition as PartitionId, recordOf(value, { key: Buffer.from(topic), timestampMs: atMs })),
  )
  await Promise.all(commits.map((commit) => commit.durable()))
}

function collect(
  client: MqttClient,
  count: number,
): Promise<{ topic: string; payload: string; qos: number; retain: boolean }[]> {
  const received: { topic: string; payload: string; qos: number; retain: boolean }[] = []
  return new Promise((resolve) => {
    client.on('message', (topic, payload, { qos, retain }) => {
      received.push({ topic, payload: payload.toString(), qos, retain })
      if (received.length === count) resolve(received)
    })
  })
}

const payloads = (messages: readonly { readonly payload: string }[]) => messages.map(({ payload }) => payload)
/** SUBACK's code for one filter. */
const codeFor = async (client: RawClient, filter: string) => {
  client.write(subscribePacket(7, [filter, 1]))
  return (await client.next())?.body[2]
}

for (const qos of [0, 1, 2] as const)
  test(`$stream/NAME/earliest delivers what is stored, in order, under its own topics, and then what comes, at QoS ${qos}`, async () => {
    const node = await startFront()
    await fill(node, numbers(500))
    const client = await node.connect()
    const received = collect(client, 700)
    await client.subscribeAsync('$stream/mqtt/earliest', { qos })
    await fill(node, numbers(200, 500), { topic: 'sensors/2/temp' })
    const messages = await received
    assert.equal(payloads(messages), numbers(700))
    assert.equal(messages[0], { topic: 'sensors/1/temp', payload: '0', qos: Math.min(qos, 1), retain: false })
    assert.is(messages[699].topic, 'sensors/2/temp')
    await node.stop()
  })

test('it begins at an offset, a time, the end, in all partitions or in one', async () => {
  const node = await startFront({ streams: [{ name: 'mqtt', topics: ['#'], partitions: 2 }] })
  await fill(node, numbers(10), { atMs: 1_000 })
  await fill(node, numbers(10, 10), { atMs: Date.parse('2030-01-01T00:00:00Z') })
  await fill(node, ['other'], { partition: 1, atMs: 1_000 })
  for (const [filter, expected] of [
    ['$stream/mqtt/15/0', numbers(5, 15)],
    ['$stream/mqtt/@2029-12-31T00:00:00Z', numbers(10, 10)],
    ['$stream/mqtt/@1893369600000', numbers(10, 10)],
    ['$stream/mqtt/earliest/1', ['other']],
    ['$stream/mqtt/earliest', [...numbers(20), 'other']],
    ['$stream/mqtt/0/1', ['other']],
  ] as const) {
    const client = await node.connect()
    const received = collect(client, expected.length)
    await client.subscribeAsync(filter, { qos: 1 })
    assert.equal(payloads(await received), expected, filter)
    client.end(true)
  }
  const late = await node.connect()
  const received = collect(late, 1)
  await late.subscribeAsync('$stream/mqtt/latest', { qos: 1 })
  await fill(node, ['new'], { partition: 1 })
  assert.equal(payloads(await received), ['new'])
  await node.stop()
})

test('what names no stream, partition or place is refused, and so is one too many', async () => {
  const node = await startFront({ limits: { maxReplaysPerClient: 2, maxReplays: 3 } })
  const client = await RawClient.connected(node.port)
  for (const filter of [
    '$stream/nope/earliest',
    '$stream/mqtt/earliest/1',
    '$stream/mqtt/soon',
    '$stream/mqtt/-1',
    '$stream/mqtt/@tomorrow',
    '$stream/mqtt',
    '$stream/../earliest',
    '$stream/mqtt/earliest/0/x',
    '$stream/mqtt/+',
    '$stream/#',
  ])
    assert.is(await codeFor(client, filter), 0x80, filter)
  assert.is(await codeFor(client, '$stream/mqtt/latest'), 1)
  assert.is(await codeFor(client, '$stream/mqtt/0'), 1)
  assert.is(await codeFor(client, '$stream/mqtt/1'), 0x80, 'two are the most for one client')
  assert.is(await codeFor(client, '$stream/mqtt/0'), 1, 'the same again is not one more')
  const others = [await RawClient.connected(node.port, 'b'), await RawClient.connected(node.port, 'c')]
  assert.is(await codeFor(others[0], '$stream/mqtt/0'), 1)
  assert.is(await codeFor(others[1], '$stream/mqtt/0'), 0x80, 'three are the most for all')
  others[0].socket.destroy()
  await others[0].whenClosed()
  while ((await codeFor(others[1], '$stream/mqtt/0')) !== 1);
  await node.stop()
})

test('records of topics that a client may not read are not delivered to it', async () => {
  const node = await startFront({
    authorize: (_who, kind, topic) => kind !== 'receive' || !topic.startsWith('secret/'),
  })
  await fill(node, ['a'], { topic: 'secret/key' })
  await fill(node, ['b'], { topic: 'public' })
  await fill(node, ['c'], { topic: 'secret/key' })
  await fill(node, ['d'], { topic: 'public' })
  const client = await node.connect()
  const received = collect(client, 2)
  await client.subscribeAsync('$stream/mqtt/earliest', { qos: 1 })
  assert.equal(payloads(await received), ['b', 'd'])
  await node.stop()
})

test('a client that stops reading is not read for: 20 MB behind it cost no memory, and it gets all of them later', async () => {
  const node = await startFront({ limits: { maxQueuedBytesPerConnection: 256 * 1024 } })
  const stream = node.testLog.log.stream('mqtt')
  const value = 'x'.repeat(20_000)
  for (let i = 0; i < 10; i++) await fill(node, new Array(100).fill(value))
  let readBytes = 0
  const { fetch } = stream
  stream.fetch = async (...args) => {
    const fetched = await fetch.apply(stream, args)
    for (const { length } of fetched.batches) readBytes += length
    return fetched
  }
  const client = await RawClient.connected(node.port)
  client.socket.pause()
  client.write(subscribePacket(1, ['$stream/mqtt/earliest', 0]))
  // Until what was read stands still: the kernel's buffers for a loopback socket take a few MB.
  for (
    let before = -1;
    before !== readBytes || readBytes === 0;
    await new Promise((resolve) => setTimeout(resolve, 200))
  )
    before = readBytes
  assert.ok(readBytes < 12_000_000, `${readBytes} bytes were read for a client that takes nothing`)
  client.socket.resume()
  let got = 0
  while (got < 1_000) {
    const packet = await client.next()
    if (packet !== null && packet.first >> 4 === 3) got += 1
  }
  await node.stop()
})

test('unsubscribing ends it, and subscribing again begins again', async () => {
  const node = await startFront()
  await fill(node, numbers(5))
  const client = await node.connect()
  const first = collect(client, 5)
  await client.subscribeAsync('$stream/mqtt/earliest', { qos: 1 })
  await first
  await client.unsubscribeAsync('$stream/mqtt/earliest')
  client.removeAllListeners('message')
  const again = collect(client, 6)
  await fill(node, ['5'])
  await client.subscribeAsync('$stream/mqtt/earliest', { qos: 1 })
  assert.equal(payloads(await again), numbers(6))
  assert.is(node.testLog.log.stream('mqtt').highWatermark(0 as PartitionId), 6 as Offset)
  await node.stop()
})

test('above QoS 0 no more than the window is on its way, and what was not acknowledged comes again to a session that is back', async () => {
  const node = await startFront({ limits: { maxInflightPerClient: 10 } })
  await fill(node, numbers(30))
  const client = await RawClient.connected(node.port, 'keeper', false)
  client.write(subscribePacket(1, ['$stream/mqtt/earliest', 1]))
  await client.next()
  const idOf = (body: Buffer) => body.readUInt16BE(2 + body.readUInt16BE(0))
  const payloadOf = (body: Buffer) => body.subarray(4 + body.readUInt16BE(0)).toString()
  const ids: number[] = []
  for (let i = 0; i < 10; i++) ids.push(idOf((await client.next())!.body))
  client.write(packet(0x40, u16(ids[0])))
  assert.is(payloadOf((await client.next())!.body), '10')
  client.write(PINGREQ)
  assert.is((await client.next())!.first, 0xd0, 'nothing else came in between')
  client.socket.destroy()
  await client.whenClosed()
  const back = await RawClient.connected(node.port, 'keeper', false)
  const again: string[] = []
  for (let i = 0; i < 10; i++) {
    const { first, body } = (await back.next())!
    assert.is(first & 8, 8)
    again.push(payloadOf(body))
    back.write(packet(0x40, u16(idOf(body))))
  }
  assert.equal(again, numbers(10, 1))
  back.write(PINGREQ)
  assert.is((await back.next())!.first, 0xd0, 'the replay itself went with its connection')
  await node.stop()
})

test('what retention takes from under it is named, and it goes on with what is left', async () => {
  const stream = new MemoryStream('mqtt')
  for (const value of numbers(20)) stream.add(0, value)
  const overtaken: number[][] = []
  const sent: string[] = []
  let reached = (): void => {}
  const pump = {
    whenRoom: async () => true,
    sendStored(_partition: StoredPartition, record: LogRecord) {
      sent.push(Buffer.from(record.value ?? []).toString())
      // While it is at work on what it has read.
      if (record.offset === 19) stream.dropBelow(0, 25)
      if (record.offset === 29) reached()
      return true
    },
    overtaken: (_partition: StoredPartition, from: number, to: number) => overtaken.push([from, to]),
    failed: (error: unknown) => assert.unreachable(String(error)),
  } as unknown as SessionPump
  const partition = {
    stream,
    partition: 0,
    get highWatermark() {
      return stream.highWatermark(0 as PartitionId)
    },
  } as unknown as StoredPartition
  const replay = new Replay({
    positions: [{ partition, next: 0 }],
    qos: 1,
    pump,
    mayReceive: () => true,
    onEnd: () => {},
  })
  const atTheEnd = new Promise<void>((resolve) => {
    reached = resolve
  })
  const running = replay.run()
  for (const value of numbers(10, 20)) stream.add(0, value)
  await atTheEnd
  replay.end()
  await running
  assert.equal(sent, [...numbers(20), ...numbers(5, 25)])
  assert.equal(overtaken, [[20, 25]])
  assert.is(stream.listenerCount, 0)
})

test.run()
