import type { MqttClient } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { tempDir } from '../helpers/temp-dir.js'
import { DISCONNECT, PINGREQ, packet, RawClient, subscribePacket, u16 } from './raw-client.js'
import { startFront } from './start-front.js'

/** Payloads as they come; `count` of them over all clients, each acknowledged by mqtt.js. */
function collect(clients: readonly MqttClient[], count: number): Promise<string[][]> {
  const received: string[][] = clients.map(() => [])
  return new Promise((resolve) => {
    for (const [i, client] of clients.entries())
      client.on('message', (_topic, payload) => {
        received[i].push(payload.toString())
        if (received.flat().length === count) resolve(received)
      })
  })
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i))
const sorted = (lists: readonly string[][]) => lists.flat().sort((a, b) => Number(a) - Number(b))

for (const qos of [0, 1, 2] as const)
  test(`each QoS ${qos} message goes to one member of a group, in turns, and to every other subscriber`, async () => {
    const { connect, stop } = await startFront()
    const members = [await connect(), await connect(), await connect()]
    for (const member of members) await member.subscribeAsync('$share/workers/jobs/#', { qos })
    const other = await connect()
    await other.subscribeAsync('jobs/+', { qos })
    const publisher = await connect()
    const received = collect(members, 300)
    const all = collect([other], 300)
    for (const i of numbers(300)) await publisher.publishAsync('jobs/a', i, { qos })
    assert.equal(sorted(await received), numbers(300))
    for (const one of await received) assert.ok(one.length > 60, `${one.length} of 300`)
    assert.equal((await all)[0], numbers(300))
    await stop()
  })

test('two groups and different filters of one group are independent', async () => {
  const { connect, stop } = await startFront()
  const [a, b, c] = [await connect(), await connect(), await connect()]
  await a.subscribeAsync('$share/one/t', { qos: 1 })
  await b.subscribeAsync('$share/two/t', { qos: 1 })
  await c.subscribeAsync('$share/one/#', { qos: 0 })
  const received = [collect([a], 10), collect([b], 10), collect([c], 10)]
  const publisher = await connect()
  for (const i of numbers(10)) await publisher.publishAsync('t', i, { qos: 1 })
  for (const one of received) assert.equal((await one)[0], numbers(10))
  await stop()
})

test('what a member has not acknowledged when it goes is sent to another', async () => {
  const { port, connect, stop } = await startFront()
  const silent = await RawClient.connected(port, 'silent')
  silent.write(subscribePacket(1, ['$share/g/t', 1]))
  await silent.next()
  const publisher = await connect()
  for (const i of numbers(20)) await publisher.publishAsync('t', i, { qos: 1 })
  for (let i = 0; i < 20; i++) await silent.next()
  const worker = await connect()
  const received = collect([worker], 20)
  await worker.subscribeAsync('$share/g/t', { qos: 1 })
  silent.socket.destroy()
  assert.equal(sorted(await received), numbers(20))
  await stop()
})

test('what the last member that is there has not acknowledged when it goes waits for one whose session is kept', async () => {
  const { port, front, stop } = await startFront()
  const subscribe = async (client: RawClient): Promise<RawClient> => {
    client.write(subscribePacket(1, ['$share/g/t', 1]))
    assert.is((await client.next())?.first, 0x90)
    return client
  }
  const away = await subscribe((await RawClient.durable(port, 'away')).client)
  away.write(DISCONNECT)
  await away.whenClosed()
  const last = await subscribe(await RawClient.connected(port, 'last'))
  await front.publish({ mqttTopic: 't', payload: Buffer.from('message'), qos: 1 }).durable()
  assert.is((await last.nextPublish()).payload, 'message')
  last.write(DISCONNECT)
  await last.whenClosed()
  const { client } = await RawClient.durable(port, 'away')
  assert.is((await client.nextPublish()).payload, 'message')
  await stop()
})

test('what a member has not acknowledged when it goes is sent to another at the QoS of that one, be it 0', async () => {
  const { port, front, stop } = await startFront()
  const member = async (clientId: string, qos: number): Promise<RawClient> => {
    const client = await RawClient.connected(port, clientId)
    client.write(subscribePacket(1, ['$share/g/t', qos]))
    assert.is((await client.next())?.first, 0x90)
    return client
  }
  const silent = await member('silent', 1)
  await front.publish({ mqttTopic: 't', payload: Buffer.from('message'), qos: 1 }).durable()
  assert.is((await silent.nextPublish()).payload, 'message')
  const other = await member('other', 0)
  silent.write(DISCONNECT)
  const { payload, qos } = await other.nextPublish()
  assert.equal([payload, qos], ['message', 0])
  await stop()
})

test('a member whose window is full is passed over; nothing is lost when all are, and it goes on when one has room', async () => {
  const { port, connect, stop } = await startFront({ limits: { maxInflightPerClient: 10 } })
  const slow = await RawClient.connected(port, 'slow')
  slow.write(subscribePacket(1, ['$share/g/t', 1]))
  await slow.next()
  const publisher = await connect()
  await Promise.all(numbers(500).map((i) => publisher.publishAsync('t', i, { qos: 1 })))
  const worker = await connect()
  const received = collect([worker], 490)
  await worker.subscribeAsync('$share/g/t', { qos: 1 })
  const bySlow: string[] = []
  for (let i = 0; i < 10; i++) bySlow.push((await slow.next())!.body.subarray(5).toString())
  assert.equal(sorted([...(await received), bySlow]), numbers(500))
  await stop()
})

test('a group with a durable member keeps what arrives while nobody is there, across a restart, and forgets it on UNSUBSCRIBE', async () => {
  const directory = tempDir()
  const before = await startFront({ directory })
  const member = await RawClient.connected(before.port, 'durable', false)
  member.write(subscribePacket(1, ['$share/g/t', 1]))
  await member.next()
  member.write(DISCONNECT)
  await member.whenClosed()
  const publisher = await before.connect()
  for (const i of numbers(30)) await publisher.publishAsync('t', i, { qos: 1 })
  await before.stop()

  const after = await startFront({ directory })
  const again = await RawClient.connected(after.port, 'durable', false)
  for (const i of numbers(30)) {
    const { body } = (await again.next())!
    assert.is(body.subarray(5).toString(), i)
    again.write(packet(0x40, body.subarray(3, 5)))
  }
  again.write(packet(0xa2, u16(2), '$share/g/t'))
  assert.is((await again.next())?.first, 0xb0)
  const late = await after.connect()
  await late.publishAsync('t', 'for nobody', { qos: 1 })
  assert.is(after.front.stats().sharedGroups, 0)
  again.write(subscribePacket(3, ['$share/g/t', 1]), PINGREQ)
  assert.equal([(await again.next())?.first, (await again.next())?.first], [0x90, 0xd0])
  await after.stop()
})

test('retained messages are not sent for a shared subscription, and what is malformed or forbidden is refused', async () => {
  const { port, connect, stop } = await startFront({
    authorize: (_who, kind, topic) => kind !== 'subscribe' || topic !== 'no',
  })
  const publisher = await connect()
  await publisher.publishAsync('t', 'kept', { qos: 1, retain: true })
  const client = await RawClient.connected(port)
  client.write(subscribePacket(1, ['$share/g/t', 1], ['$share/g/', 1], ['$share//t', 1], ['$share/g/no', 1]))
  client.write(PINGREQ)
  assert.equal([...(await client.next())!.body], [0, 1, 1, 0x80, 0x80, 0x80])
  assert.is((await client.next())?.first, 0xd0)
  await stop()
})

test('a member that may not receive a message is passed over', async () => {
  const { connect, stop } = await startFront({
    authorize: ({ clientId }, kind, topic) => kind !== 'receive' || clientId !== 'barred' || topic === 'open',
  })
  const [barred, free] = [await connect({ clientId: 'barred' }), await connect({ clientId: 'free' })]
  for (const member of [barred, free]) await member.subscribeAsync('$share/g/#', { qos: 1 })
  const received = collect([barred, free], 40)
  const publisher = await connect()
  for (const i of numbers(20)) {
    await publisher.publishAsync('secret', i, { qos: 1 })
    await publisher.publishAsync('secret', i, { qos: 0 })
  }
  assert.equal(
    (await received).map((one) => one.length),
    [0, 40],
  )
  await stop()
})

test.run()
