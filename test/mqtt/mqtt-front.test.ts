import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { readAll } from '../helpers/open-log.js'
import { nextMessage, startFront } from './start-front.js'

for (const qos of [0, 1, 2] as const)
  test(`a QoS ${qos} message is stored in its stream and delivered to a subscriber`, async () => {
    const { connect, testLog, stop } = await startFront()
    const subscriber = await connect()
    await subscriber.subscribeAsync('sensors/+/temp', { qos })
    const publisher = await connect()
    const message = nextMessage(subscriber)
    await publisher.publishAsync('sensors/1/temp', '21.5', { qos })
    assert.is((await message).payload, '21.5')
    assert.is((await message).topic, 'sensors/1/temp')
    await testLog.log.close()
    const records = await readAll(testLog.log, 'mqtt')
    assert.equal(
      records.map(({ key, value, attributes }) => [String(key), String(value), (attributes & 3) ^ 1]),
      [['sensors/1/temp', '21.5', qos]],
    )
    await stop()
  })

test('a message no stream takes goes to unrouted at QoS 1 and is only delivered at QoS 0', async () => {
  const { connect, testLog, stop } = await startFront({ streams: [{ name: 'sensors', topics: ['sensors/#'] }] })
  const client = await connect()
  await client.subscribeAsync('other/#')
  const first = nextMessage(client)
  await client.publishAsync('other/a', 'zero', { qos: 0 })
  assert.is((await first).payload, 'zero')
  await client.publishAsync('other/b', 'one', { qos: 1 })
  const records = await readAll(testLog.log, 'unrouted')
  assert.equal(
    records.map(({ value }) => String(value)),
    ['one'],
  )
  await stop()
})

test('10,000 QoS 1 messages in flight are all acknowledged and stored in order', async () => {
  const { connect, testLog, stop } = await startFront()
  const client = await connect()
  const count = 10_000
  await Promise.all(Array.from({ length: count }, (_, i) => client.publishAsync('a', String(i), { qos: 1 })))
  const records = await readAll(testLog.log, 'mqtt')
  assert.equal(
    records.map(({ value }) => Number(value)),
    Array.from({ length: count }, (_, i) => i),
  )
  await stop()
})

test('2,000 QoS 2 messages in flight are stored exactly once', async () => {
  const { connect, testLog, stop } = await startFront()
  const client = await connect()
  await Promise.all(Array.from({ length: 2000 }, (_, i) => client.publishAsync('a', String(i), { qos: 2 })))
  const records = await readAll(testLog.log, 'mqtt')
  assert.is(records.length, 2000)
  assert.is(new Set(records.map(({ value }) => String(value))).size, 2000)
  await stop()
})

test('a retained message is sent to a later subscriber with its retain flag set, and an empty payload takes it away', async () => {
  const { connect, stop } = await startFront()
  const publisher = await connect()
  await publisher.publishAsync('state/1', 'on', { qos: 1, retain: true })
  const subscriber = await connect()
  const message = nextMessage(subscriber)
  await subscriber.subscribeAsync('state/#')
  assert.equal([(await message).payload, (await message).retain], ['on', true])
  await publisher.publishAsync('state/1', '', { qos: 1, retain: true })
  const late = await connect()
  const next = nextMessage(late)
  await late.subscribeAsync('#')
  await publisher.publishAsync('state/2', 'live', { qos: 0 })
  assert.equal([(await next).payload, (await next).retain], ['live', false])
  await stop()
})

test('a will is published when its connection breaks, and not after DISCONNECT', async () => {
  const { connect, testLog, stop } = await startFront()
  const watcher = await connect()
  await watcher.subscribeAsync('wills/#')
  const will = (name: string) => ({
    topic: `wills/${name}`,
    payload: Buffer.from('gone'),
    qos: 1 as const,
    retain: false,
  })
  const polite = await connect({ will: will('polite') })
  await polite.endAsync()
  const message = nextMessage(watcher)
  const broken = await connect({ will: will('broken') })
  broken.stream.destroy()
  assert.is((await message).topic, 'wills/broken')
  await testLog.log.close()
  assert.equal(
    (await readAll(testLog.log, 'mqtt')).map(({ key }) => String(key)),
    ['wills/broken'],
  )
  await stop()
})

test('a taken port is reported with its address and the way out', async () => {
  const { port, stop } = await startFront()
  try {
    await startFront({ listen: [`127.0.0.1:${port}`] })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SluiceError)
    assert.is((error as SluiceError).code, 'ADDRESS_IN_USE')
    assert.match((error as SluiceError).message, `127.0.0.1:${port}`)
    assert.match((error as SluiceError).message, 'mqtt.listen')
  }
  await stop()
})

test('publish() stores headers with its record, and with that record only', async () => {
  const { front, connect, testLog, stop } = await startFront()
  const headers = [{ key: 'unit', value: Buffer.from('°C') }]
  await front.publish({ mqttTopic: 'a', payload: Buffer.from('1'), qos: 1, headers }).durable()
  await (await connect()).publishAsync('a', '2', { qos: 1 })
  const records = await readAll(testLog.log, 'mqtt')
  assert.equal(
    records.map((record) => record.headers.map(({ key, value }) => [key, String(value)])),
    [[['unit', '°C']], []],
  )
  await stop()
})

test('publish() stores and delivers a message as if a client had sent it', async () => {
  const { front, connect, testLog, stop } = await startFront()
  const subscriber = await connect()
  await subscriber.subscribeAsync('cmd/#')
  const message = nextMessage(subscriber)
  await front.publish({ mqttTopic: 'cmd/valve', payload: Buffer.from('open'), qos: 1 }).durable()
  assert.is((await message).payload, 'open')
  assert.is((await readAll(testLog.log, 'mqtt')).length, 1)
  assert.throws(
    () => front.publish({ mqttTopic: 'a/+', payload: Buffer.alloc(0), qos: 0 }),
    (error: unknown) => error instanceof SluiceError && error.code === 'INVALID_TOPIC',
  )
  await stop()
})

test.run()
