// test-run: limit 300 s
// Retained messages, MQTT 3.1.1 section 3.3.1.3; each test holds the node to the statement it names.

import * as assert from 'uvu/assert'
import {
  connectPacket,
  puback,
  pubcomp,
  publishPacket,
  pubrec,
  pubrel,
  type RawClient,
  subscribePacket,
  text,
} from '../mqtt/raw-client.js'
import { servedOver } from './served-over.js'

servedOver(['mqtt', 'ws'], (test, server) => {
  let publisher: RawClient

  /** Resolves once it is acknowledged. */
  const publish = async (topic: string, payload: string, qos: number, retain = true) => {
    if (publisher === undefined || publisher.closed) publisher = await server.connected('publisher')
    publisher.write(publishPacket(topic, payload, { qos, id: 1, retain }))
    if (qos === 2) {
      await publisher.next()
      publisher.write(pubrel(1))
    }
    if (qos > 0) await publisher.next()
    else await publisher.untilPong()
  }
  const payloadsOf = async (topic: string) =>
    (await server.retainedOf(topic)).map(({ payload, qos }) => `${payload} ${qos}`)

  for (const qos of [0, 1, 2])
    test(`05-0${qos} [MQTT-3.3.1-5, MQTT-3.3.1-6, MQTT-3.3.1-8] a message retained at QoS ${qos} is sent to a new subscriber with its QoS and the retain flag set; the last one only`, async () => {
      const topic = `r/${qos}`
      await publish(topic, 'first', 1)
      await publish(topic, 'last', qos)
      const messages = await server.retainedOf(topic)
      assert.equal(
        messages.map(({ payload, qos, retain, dup }) => [payload, qos, retain, dup]),
        [['last', qos, true, false]],
      )
    })

  test('05-03 [MQTT-3.3.1-7] a QoS 0 message with the retain flag takes the place of what was retained', async () => {
    await publish('r/zero', 'one', 1)
    await publish('r/zero', 'zero', 0)
    assert.equal(await payloadsOf('r/zero'), ['zero 0'])
  })

  test('05-04 [MQTT-3.3.1-9] those already subscribed get it without the retain flag', async () => {
    const client = await server.connected()
    client.write(subscribePacket(1, ['live', 1]))
    await client.next()
    for (const qos of [0, 1, 2]) {
      await publish('live', 'x', qos)
      const message = await client.nextPublish()
      assert.not(message.retain)
      if (message.qos > 0) client.write(puback(message.id))
    }
    client.socket.destroy()
  })

  test('05-05 [MQTT-3.3.1-10, MQTT-3.3.1-11] an empty retained message is delivered, removes what was retained and is not retained itself', async () => {
    for (const qos of [0, 1, 2]) {
      await publish('empty', 'x', 1)
      const client = await server.connected()
      client.write(subscribePacket(1, ['empty', 0]))
      assert.is((await client.nextPublish()).payload, 'x')
      await publish('empty', '', qos)
      const message = await client.nextPublish()
      assert.equal([message.payload, message.retain], ['', false])
      client.socket.destroy()
      assert.equal(await payloadsOf('empty'), [])
    }
  })

  test('05-06 [MQTT-3.3.1-12] a message without the retain flag changes nothing that is retained', async () => {
    await publish('stays', 'kept', 1)
    await publish('stays', 'passing', 1, false)
    await publish('stays', '', 1, false)
    assert.equal(await payloadsOf('stays'), ['kept 1'])
    await publish('never', 'passing', 1, false)
    assert.equal(await payloadsOf('never'), [])
  })

  test('05-07 [MQTT-3.1.2-7] retained messages outlive the session that sent them, and the node', async () => {
    await publish('outlives', 'kept', 2)
    publisher.socket.destroy()
    assert.equal(await payloadsOf('outlives'), ['kept 2'])
  })

  test('05-08 [MQTT-3.1.2-17, MQTT-3.3.1-10] an empty will with the retain flag takes away what was retained', async () => {
    await publish('doomed', 'x', 1)
    const watcher = await server.connected('watcher')
    watcher.write(subscribePacket(1, ['doomed', 0]))
    assert.is((await watcher.nextPublish()).payload, 'x')
    const client = await server.open()
    client.write(connectPacket({ clientId: 'doomed', flags: 0x26, payload: Buffer.concat([text('doomed'), text('')]) }))
    await client.next()
    client.socket.destroy()
    assert.is((await watcher.nextPublish()).payload, '')
    watcher.socket.destroy()
    assert.equal(await payloadsOf('doomed'), [])
  })

  test('05-09 [MQTT-3.8.4-6] a retained message comes at the lower of its QoS and the one granted', async () => {
    for (const qos of [0, 1, 2]) await publish(`lower/${qos}`, String(qos), qos)
    const client = await server.connected()
    for (const granted of [0, 1, 2]) {
      client.write(subscribePacket(1, ['lower/+', granted]))
      const seen: string[] = []
      while (seen.length < 3) {
        const { payload, qos, id } = await client.nextPublish()
        seen.push(`${payload} at ${qos}`)
        if (qos === 1) client.write(puback(id))
        if (qos === 2) client.write(pubrec(id), pubcomp(id))
      }
      assert.equal(
        seen.sort(),
        [0, 1, 2].map((qos) => `${qos} at ${Math.min(qos, granted)}`),
      )
    }
    client.socket.destroy()
  })
})
