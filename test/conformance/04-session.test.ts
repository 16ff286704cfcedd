// test-run: limit 300 s
// Sessions, MQTT 3.1.1 sections 3.1.2.4, 3.2.2, 4.1, 4.4 and 4.6, over connections that end and a node that is killed; each test holds the
// node to the statement it names.

import * as assert from 'uvu/assert'
import {
  connectPacket,
  DISCONNECT,
  puback,
  pubcomp,
  publishOf,
  publishPacket,
  pubrec,
  pubrel,
  subscribePacket,
  u16,
} from '../mqtt/raw-client.js'
import { servedOver } from './served-over.js'

servedOver(['mqtt'], (test, server) => {
  const leave = async ({ client }: Awaited<ReturnType<typeof server.session>>) => {
    client.write(DISCONNECT)
    await client.whenClosed()
  }

  test('04-01 [MQTT-3.2.2-1, MQTT-3.2.2-2, MQTT-3.2.2-3, MQTT-3.1.2-4, MQTT-3.1.2-6, MQTT-3.1.4-3] session present is set for a session that was kept, even without a subscription, and for no other', async () => {
    const connections: [clean: boolean, present: boolean][] = [
      [false, false],
      [false, true],
      [true, false],
      [false, false],
      [false, true],
    ]
    for (const [clean, present] of connections) {
      const session = await server.session('keeper', clean)
      assert.is(session.present, present, `clean ${clean}`)
      await leave(session)
    }
  })

  test('04-02 [MQTT-3.1.2-5, MQTT-4.1.0-1, MQTT-3.1.3-2] what came at QoS 1 and 2 while a client was away is sent to it, in order, whether it left with DISCONNECT or not', async () => {
    const publisher = await server.connected('publisher')
    for (const goodbye of [true, false]) {
      const session = await server.session('away', false)
      session.client.write(subscribePacket(1, ['away/#', 2]))
      await session.client.next()
      if (goodbye) session.client.write(DISCONNECT)
      else session.client.socket.destroy()
      await session.client.whenClosed()
      for (let n = 1; n <= 6; n++) {
        publisher.write(publishPacket('away/x', String(n), { qos: 1 + (n % 2), id: n }))
        await publisher.next()
        publisher.write(pubrel(n))
        await publisher.next()
      }
      const { client, present } = await server.session('away', false)
      assert.ok(present)
      const payloads: string[] = []
      for (let done = 0; done < 6; ) {
        const one = await client.next()
        if (one === null) throw new Error('closed')
        if (one.first === 0x62) {
          client.write(pubcomp(one.body.readUInt16BE(0)))
          done += 1
          continue
        }
        const message = publishOf(one)
        payloads.push(message.payload)
        assert.equal([message.qos, message.dup], [1 + (Number(message.payload) % 2), false])
        client.write(message.qos === 1 ? puback(message.id) : pubrec(message.id))
        if (message.qos === 1) done += 1
      }
      assert.equal(payloads, ['1', '2', '3', '4', '5', '6'])
      await leave({ client, present })
      await leave(await server.session('away', true))
    }
    publisher.socket.destroy()
  })

  test('04-03 [MQTT-3.1.2-6] a clean session leaves nothing behind, and ends what was kept under its name', async () => {
    const kept = await server.session('forgotten', false)
    kept.client.write(subscribePacket(1, ['f', 1]))
    await kept.client.next()
    await leave(kept)
    await leave(await server.session('forgotten', true))
    const publisher = await server.connected('publisher')
    publisher.write(publishPacket('f', 'x', { qos: 1, id: 1 }))
    await publisher.next()
    const { client, present } = await server.session('forgotten', false)
    assert.not(present)
    publisher.write(publishPacket('f', 'y', { qos: 1, id: 2 }))
    await publisher.next()
    assert.equal(await client.untilPong(), [])
    await leave({ client, present })
    publisher.socket.destroy()
  })

  test('04-04 [MQTT-4.4.0-1, MQTT-3.3.1-1, MQTT-4.6.0-1, MQTT-2.3.1-3] PUBLISH and PUBREL without an acknowledgement are sent again, with their identifiers and in order, PUBLISH with DUP; over a SIGKILL of the node too', async () => {
    const first = await server.session('again', false)
    first.client.write(subscribePacket(1, ['again', 2]))
    await first.client.next()
    const publisher = await server.connected('publisher')
    const qosOf = (n: number) => (n === 3 ? 1 : 2)
    for (let n = 1; n <= 4; n++) {
      publisher.write(publishPacket('again', String(n), { qos: qosOf(n), id: n }))
      assert.is((await publisher.next())?.first, qosOf(n) === 1 ? 0x40 : 0x50)
    }
    const sent = []
    while (sent.length < 4) sent.push(await first.client.nextPublish())
    // The first is done, the second half done, the third and fourth are not.
    first.client.write(pubrec(sent[0].id))
    assert.equal(await first.client.next(), { first: 0x62, body: u16(sent[0].id) })
    first.client.write(pubcomp(sent[0].id), pubrec(sent[1].id))
    assert.equal(await first.client.next(), { first: 0x62, body: u16(sent[1].id) })

    for (const killed of [false, true]) {
      if (killed) {
        await server.node.kill('SIGKILL')
        await server.node.startAgain()
      }
      const { client, present } = await server.session('again', false)
      assert.ok(present)
      const packets = [await client.next(), await client.next(), await client.next()]
      const pubrelAt = packets.findIndex((one) => one?.first === 0x62)
      assert.equal(packets.splice(pubrelAt, 1)[0]?.body, u16(sent[1].id))
      assert.equal(
        packets.map((one) => one?.first),
        [0x3a, 0x3c],
      )
      assert.equal(
        packets.map((one) => one?.body.readUInt16BE(2 + 'again'.length)),
        [sent[2].id, sent[3].id],
      )
      assert.equal(await client.untilPong(), [])
    }
    const { client } = await server.session('again', true)
    assert.equal(await client.untilPong(), [])
    client.socket.destroy()
  })

  test('04-05 [MQTT-4.1.0-2, MQTT-3.1.2-6] a clean session ends with its connection, and no earlier than it', async () => {
    const client = await server.connected('short')
    client.write(subscribePacket(1, ['short', 1]))
    await client.next()
    client.socket.destroy()
    const back = await server.connected('short')
    const publisher = await server.connected('publisher')
    publisher.write(publishPacket('short', 'x', { qos: 1, id: 1 }))
    await publisher.next()
    assert.equal(await back.untilPong(), [])
    back.socket.destroy()
    publisher.socket.destroy()
  })

  test('04-06 [MQTT-4.3.3-2] a QoS 2 handshake goes on over connections and a SIGKILL: the message is delivered once', async () => {
    const watcher = await server.session('watcher', false)
    watcher.client.write(subscribePacket(1, ['exactly', 1]))
    await watcher.client.next()
    await leave(watcher)
    const send = async () => {
      const { client } = await server.session('sender', false)
      client.write(publishPacket('exactly', 'once', { qos: 2, id: 9, dup: true }))
      assert.equal(await client.next(), { first: 0x50, body: u16(9) })
      client.socket.destroy()
    }
    await send()
    await send()
    await server.node.kill('SIGKILL')
    await server.node.startAgain()
    await send()
    const { client } = await server.session('sender', false)
    client.write(pubrel(9))
    assert.equal(await client.next(), { first: 0x70, body: u16(9) })
    client.write(publishPacket('exactly', 'last', { qos: 1, id: 10 }))
    await client.next()
    const back = await server.session('watcher', false)
    const payloads: string[] = []
    while (payloads.at(-1) !== 'last') {
      const message = await back.client.nextPublish()
      payloads.push(message.payload)
      back.client.write(puback(message.id))
    }
    assert.equal(payloads, ['once', 'last'])
    client.socket.destroy()
    back.client.socket.destroy()
  })

  test('04-07 [MQTT-3.3.1-9] what is retained while a client is away comes to it without the retain flag, and once', async () => {
    const session = await server.session('away-07', false)
    session.client.write(subscribePacket(1, ['away-07', 2]))
    await session.client.next()
    await leave(session)
    const publisher = await server.connected('publisher')
    publisher.write(publishPacket('away-07', 'x', { qos: 1, id: 1, retain: true }))
    await publisher.next()
    const { client } = await server.session('away-07', false)
    const message = publishOf(await client.next())
    assert.equal([message.payload, message.retain, message.dup], ['x', false, false])
    client.write(puback(message.id))
    assert.equal(await client.untilPong(), [])
    client.socket.destroy()
  })

  test('04-08 MQTT 3.1 knows no session present: the byte stays 0, and the session is there', async () => {
    const connect = connectPacket({ name: 'MQIsdp', level: 3, clientId: 'old-08', clean: false })
    for (const attempt of ['first', 'second']) {
      const client = await server.open()
      client.write(connect)
      assert.equal(await client.next(), { first: 0x20, body: Buffer.from([0, 0]) })
      if (attempt === 'first') {
        client.write(subscribePacket(1, ['old-08', 1]))
        await client.next()
      } else {
        client.write(publishPacket('old-08', 'x'))
        assert.is((await client.nextPublish()).payload, 'x')
      }
      client.socket.destroy()
    }
  })
})
