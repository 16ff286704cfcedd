import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SysTopics } from '../../src/mqtt/sys-topics.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { DISCONNECT, publishPacket, pubrel, RawClient, subscribePacket } from './raw-client.js'
import { nextMessage, startFront } from './start-front.js'

test('a new subscriber to $SYS is sent what the broker knows of itself, retained, and # does not match it', async () => {
  const { port, connect, testLog, stop } = await startFront()
  const durable = await RawClient.connected(port, 'durable', false)
  durable.write(subscribePacket(1, ['a', 1]))
  await durable.next()
  durable.write(DISCONNECT)
  await durable.whenClosed()
  const publisher = await connect()
  await publisher.publishAsync('a', '12345', { qos: 1 })
  const everything = await connect()
  await everything.subscribeAsync('#')
  everything.on('message', (topic) => assert.unreachable(topic))
  const watcher = await connect()
  const values = new Map<string, string>()
  const all = new Promise<void>((resolve) =>
    watcher.on('message', (topic, payload, { retain }) => {
      assert.ok(retain)
      values.set(topic, payload.toString())
      if (values.size === 17) resolve()
    }),
  )
  await watcher.subscribeAsync('$SYS/broker/#')
  await all
  assert.is(values.get('$SYS/broker/clients/connected'), '3')
  assert.is(values.get('$SYS/broker/clients/disconnected'), '1')
  assert.is(values.get('$SYS/broker/publish/messages/received'), '1')
  assert.is(values.get('$SYS/broker/publish/bytes/received'), '5')
  assert.match(values.get('$SYS/broker/uptime') ?? '', /^\d+ seconds$/)
  const one = await connect()
  const message = nextMessage(one)
  await one.subscribeAsync('$SYS/broker/version')
  assert.is((await message).payload, 'sluice')
  assert.is(testLog.log.stream('mqtt').nextOffset(0 as never), 1)
  await stop()
})

test('every ten seconds what has changed is told, and nothing else', async () => {
  const clock = new FakeClock()
  const told: string[] = []
  let connections = 1
  const sys = new SysTopics({
    stats: () => ({ connections, offlineSessions: 0 }) as never,
    deliver: (mqttTopic, payload) => told.push(`${mqttTopic} ${payload}`),
    version: '1',
    clock,
  })
  await clock.advance(10_000)
  told.length = 0
  connections = 2
  await clock.advance(10_000)
  assert.equal(told, [
    '$SYS/broker/uptime 20 seconds',
    '$SYS/broker/clients/connected 2',
    '$SYS/broker/clients/active 2',
    '$SYS/broker/clients/total 2',
    '$SYS/broker/clients/maximum 2',
  ])
  sys.stop()
  await clock.advance(60_000)
  assert.is(told.length, 5)
})

test('a client may not publish to $SYS', async () => {
  const { connect, stop } = await startFront()
  const client = await connect()
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  client.publish('$SYS/broker/version', 'x', { qos: 1 })
  await closed
  await stop()
})

test('what a bridge says of its link is retained for whoever watches; denied, it is acknowledged all the same and reaches nobody', async () => {
  const { port, connect, front, stop } = await startFront({
    authorize: ({ clientId }, kind) => kind !== 'publish' || clientId !== 'denied',
  })
  const state = '$SYS/broker/connection/plant.cloud/state'
  const denied = await RawClient.connected(port, 'denied')
  denied.write(publishPacket(state, '0', { qos: 1, id: 1, retain: true }))
  denied.write(publishPacket(state, '0', { qos: 2, id: 2, retain: true }), pubrel(2))
  assert.equal(
    [(await denied.next())?.first, (await denied.next())?.first, (await denied.next())?.first],
    [0x40, 0x50, 0x70],
  )
  assert.is(front.stats().refusedMessages, 2)
  const bridge = await connect()
  await bridge.publishAsync(state, '1', { qos: 1, retain: true })
  const watcher = await connect()
  const told = nextMessage(watcher)
  await watcher.subscribeAsync('$SYS/broker/connection/#', { qos: 1 })
  assert.equal(await told, { topic: state, payload: '1', qos: 1, retain: true, dup: false })
  assert.throws(
    () => front.publish({ mqttTopic: '$SYS/broker/version', payload: Buffer.from('x'), qos: 1 }),
    /only the node/,
  )
  await stop()
})

test.run()
