import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { GatedState } from './gated-state.js'
import { puback, publishPacket, RawClient, subscribePacket } from './raw-client.js'
import { startFront } from './start-front.js'

test('a client that subscribes ten thousand times and acknowledges nothing has retained messages read once for it', async () => {
  const gated = new GatedState()
  const { port, front, stop } = await startFront({ wrapState: gated.wrap, limits: { maxInflightPerClient: 5 } })
  for (let i = 0; i < 20; i++)
    await front.publish({ mqttTopic: `r/${i}`, payload: Buffer.from(String(i)), qos: 1, retain: true }).durable()
  const client = await RawClient.connected(port, 'eager')
  const ids: number[] = []
  client.write(...Array.from({ length: 10_000 }, (_, i) => subscribePacket(i + 1, ['r/#', 1], ['r/+', 1])))
  while (ids.length < 5) ids.push((await client.nextPublish()).id)
  assert.is((await client.untilPong()).filter(({ first }) => first !== 0x90).length, 0)
  assert.is(gated.reading, 1)
  for (const id of ids) client.write(puback(id))
  // The rest of the first filter, and all of the second.
  const topics: string[] = []
  while (topics.length < 35) {
    const { id, topic } = await client.nextPublish()
    client.write(puback(id))
    topics.push(topic)
  }
  assert.is(new Set(topics).size, 20)
  await stop()
})

test('retained messages that come faster than they can be stored hold their publisher back', async () => {
  const gated = new GatedState()
  const { port, front, stop } = await startFront({ wrapState: gated.wrap })
  gated.shut.add('mqtt-retained')
  const client = await RawClient.connected(port, 'fast')
  const payload = 'x'.repeat(100_000)
  const total = 400
  for (let i = 0; i < total; i++) client.write(publishPacket(`t/${i}`, payload, { retain: true }))
  await eventually('so much has been taken', () => front.stats().receivedPayloadBytes > 7_000_000)
  const other = await RawClient.connected(port, 'other')
  for (let i = 0; i < 300; i++) await other.untilPong()
  assert.ok(front.stats().receivedPayloadBytes < 9_000_000, `${front.stats().receivedPayloadBytes} bytes taken`)
  gated.open()
  await eventually('all is taken', () => front.stats().retainedMessages === total)
  await client.untilPong()
  await stop()
})

test('of retained messages of one topic the last is kept, though one of QoS 0 need not wait for the disk', async () => {
  const { port, front, stop } = await startFront({ streams: [{ name: 'mqtt', topics: ['t/#'], lingerMs: 100 }] })
  const client = await RawClient.connected(port, 'client')
  // One is stored in the same stream, the other above QoS 0 only.
  for (const topic of ['t/a', 'u/a']) {
    client.write(publishPacket(topic, 'first', { qos: 1, id: 1, retain: true }))
    client.write(publishPacket(topic, 'last', { qos: 0, retain: true }))
    assert.is((await client.next())?.first, 0x40)
  }
  await eventually('both are kept', () => front.stats().retainedMessages === 2)
  client.write(subscribePacket(2, ['+/a', 1]))
  const payloads = [await client.nextPublish(), await client.nextPublish()].map(({ payload }) => payload)
  assert.equal(payloads, ['last', 'last'])
  await stop()
})

test.run()
