// What has been held against MQTT brokers in public, each with the answer of this one. Others are where they belong: `#` in a client identifier
// with %c patterns and empty ACL and password files in file-auth.test.ts, oversize packets in cut-off.test.ts.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readAll } from '../helpers/open-log.js'
import {
  connectPacket,
  PINGREQ,
  packet,
  publishPacket,
  pubrel,
  RawClient,
  subscribePacket,
  text,
  u16,
} from './raw-client.js'
import { nextMessage, startFront } from './start-front.js'

/** Sends the packet on a connection of its own, which must be closed, and looks that another is still served. */
async function costsOnlyItsSender(bytes: Buffer): Promise<void> {
  const { port, stop } = await startFront()
  const good = await RawClient.connected(port, 'good')
  const bad = await RawClient.connected(port, 'bad')
  bad.write(bytes)
  await bad.whenClosed()
  good.write(publishPacket('t', 'x', { qos: 1, id: 9 }))
  assert.is((await good.next())?.first, 0x40)
  await stop()
}

for (const [name, bytes] of [
  ['a topic of no length', packet(0x30, u16(0), Buffer.from('payload'))],
  ['a topic of 65,400 slashes', publishPacket('/'.repeat(65_400), 'x')],
  ['a filter of 65,400 slashes', subscribePacket(1, ['/'.repeat(65_400), 0])],
  ['a filter of 202 levels', subscribePacket(1, [`${'a/'.repeat(201)}a`, 0])],
  ['a filter of no length', subscribePacket(1, ['', 0])],
  ['a SUBSCRIBE without filters', packet(0x82, u16(1))],
  ['a remaining length of five bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x7f])],
  ['a packet type that is reserved', Buffer.from([0xf0, 0])],
] as const)
  test(`${name} costs only its sender the connection`, () => costsOnlyItsSender(bytes))

for (const name of ['constructor', '__proto__', 'hasOwnProperty', 'toString'])
  test(`"${name}" is a client identifier, a topic, a user name and a group like any other`, async () => {
    const { port, connect, stop } = await startFront()
    const client = await connect({ clientId: name, clean: false, username: name })
    await client.subscribeAsync([name, `$share/${name}/shared/${name}`], { qos: 2 })
    const message = nextMessage(client)
    await client.publishAsync(name, 'x', { qos: 2, retain: true })
    assert.is((await message).topic, name)
    const shared = nextMessage(client)
    await client.publishAsync(`shared/${name}`, 'y', { qos: 1 })
    assert.is((await shared).payload, 'y')
    client.end(true)
    const again = await RawClient.open(port)
    again.write(connectPacket({ clientId: name, clean: false }))
    assert.equal([...(await again.next())!.body], [1, 0])
    await stop()
  })

test('a flood of QoS 2 messages that are never released ends at the limit and is remembered no further', async () => {
  const { port, front, testLog, stop } = await startFront({ limits: { maxDurableQos2HandshakesPerClient: 100 } })
  const client = await RawClient.connected(port, 'flood', false)
  for (let id = 1; id <= 200; id++) client.write(publishPacket('t', 'x', { qos: 2, id }))
  await client.whenClosed()
  // Durable after all that came before.
  await front.publish({ mqttTopic: 'last', payload: Buffer.alloc(0), qos: 1 }).durable()
  assert.is((await readAll(testLog.log, 'mqtt')).length, 101)
  assert.is(testLog.log.stream('mqtt').facts('qos2/').size, 100)
  await stop()
})

test('bytes that come one by one do not keep a connection alive beyond its keepalive', async () => {
  const { port, stop } = await startFront()
  const client = await RawClient.open(port)
  client.write(connectPacket({ clientId: 'trickle', keepalive: 1 }))
  await client.next()
  client.write(Buffer.from([0x30, 0xff, 0x7f]))
  const timer = setInterval(() => client.write(Buffer.from([0])), 100)
  const began = performance.now()
  await client.whenClosed()
  clearInterval(timer)
  assert.ok(performance.now() - began < 4000)
  await stop()
})

test('a CONNECT that comes byte by byte is cut off at the time-out, not renewed by each byte', async () => {
  const { port, stop } = await startFront({ limits: { connectTimeoutMs: 500 } })
  const client = await RawClient.open(port)
  const bytes = connectPacket({ clientId: 'x'.repeat(200) })
  let at = 0
  const timer = setInterval(() => client.write(bytes.subarray(at, ++at)), 50)
  await client.whenClosed()
  clearInterval(timer)
  assert.equal(client.packets, [])
  await stop()
})

test('a retained message is not sent to who may not read its topic any more, nor its will published by who may not write', async () => {
  let revoked = false
  const { port, front, connect, testLog, stop } = await startFront({
    authorize: (_who, kind) => kind === 'subscribe' || !revoked,
  })
  const publisher = await connect()
  await publisher.publishAsync('secret', 'kept', { qos: 1, retain: true })
  const doomed = await RawClient.open(port)
  doomed.write(connectPacket({ clientId: 'doomed', flags: 0x0e, payload: Buffer.concat([text('will'), text('gone')]) }))
  await doomed.next()
  revoked = true
  front.accessChanged()
  doomed.socket.destroy()
  const reader = await RawClient.connected(port, 'reader')
  reader.write(subscribePacket(1, ['#', 1]), PINGREQ)
  assert.equal([(await reader.next())?.first, (await reader.next())?.first], [0x90, 0xd0])
  while (front.stats().connections > 2) await new Promise((resolve) => setImmediate(resolve))
  assert.is((await readAll(testLog.log, 'mqtt')).length, 1)
  await stop()
})

test('what a client has retained goes with its right to publish there, over a restart, and comes back with it; what others retained stays', async () => {
  const rights = { revoked: false }
  const options = {
    authorize: ({ clientId, username }: { clientId: string; username?: string | undefined }, kind: string) =>
      kind !== 'publish' || !rights.revoked || !(clientId === 'eve' || username === 'mallory'),
  }
  let { port, front, directory, stop } = await startFront(options)
  const retain = async (client: RawClient, ...topics: string[]) => {
    for (const [i, topic] of topics.entries()) {
      client.write(
        publishPacket(topic, 'kept', { qos: i % 3, id: i + 1, retain: true }),
        i % 3 === 2 ? pubrel(i + 1) : [],
      )
      await client.untilPong()
    }
  }
  await retain(await RawClient.connected(port, 'eve'), 'by/eve/0', 'by/eve/1', 'by/eve/2')
  await retain(await RawClient.connected(port, 'ada'), 'by/ada/0', 'by/ada/1', 'by/ada/2')
  const named = await RawClient.open(port)
  const flags = 2 | 0x80 | 0x04 | 0x20
  named.write(
    connectPacket({ clientId: 'm', flags, payload: Buffer.concat(['by/m/will', 'gone', 'mallory'].map(text)) }),
  )
  await named.next()
  await retain(named, 'by/m/0')
  named.reset()
  front.publish({ mqttTopic: 'by/program', payload: Buffer.from('kept'), qos: 1, retain: true })
  const all = ['ada/0', 'ada/1', 'ada/2', 'eve/0', 'eve/1', 'eve/2', 'm/0', 'm/will', 'program'].map(
    (end) => `by/${end}`,
  )
  while (front.stats().retainedMessages < all.length) await new Promise((resolve) => setImmediate(resolve))
  for (const start of ['before a restart', 'after it']) {
    for (const revoked of [false, true, false]) {
      rights.revoked = revoked
      front.accessChanged()
      const expected = revoked ? all.filter((topic) => !/eve|m\//.test(topic)) : all
      assert.equal(await retainedTopics(port), expected, `${revoked ? 'revoked' : 'allowed'} ${start}`)
    }
    await stop()
    if (start === 'before a restart') ({ port, front, stop } = await startFront({ ...options, directory }))
  }
})

/** Topics that a new subscriber is sent retained messages of. */
async function retainedTopics(port: number): Promise<string[]> {
  const reader = await RawClient.connected(port, 'reader')
  // The last in the order of topics.
  reader.write(publishPacket('z', 'last', { retain: true }), subscribePacket(1, ['by/#', 0], ['z', 0]))
  const topics: string[] = []
  while (topics.at(-1) !== 'z') topics.push((await reader.nextPublish()).topic)
  reader.socket.destroy()
  return topics.slice(0, -1).sort()
}

test.run()
