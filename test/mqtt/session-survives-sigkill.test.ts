import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess } from '../helpers/node-process.js'
import { connectPacket, packet, publishPacket, RawClient, subscribePacket, text, u16 } from './raw-client.js'

/** Packet identifier and payload of a PUBLISH above QoS 0 with a topic of one character. */
const idAndPayload = (body: Buffer): [number, string] => [body.readUInt16BE(3), body.subarray(5).toString()]

test('a durable session, its backlog, retained messages and wills survive SIGKILL', async () => {
  const node = await NodeProcess.start()
  const subscriber = await RawClient.connected(node.mqttPort, 'durable', false)
  subscriber.write(subscribePacket(1, ['t', 2], ['w', 1]))
  await subscriber.next()
  const doomed = await RawClient.open(node.mqttPort)
  const will = Buffer.concat([text('w'), text('last words')])
  doomed.write(connectPacket({ clientId: 'doomed', flags: 0x0e, payload: will }))
  await doomed.next()
  const publisher = await RawClient.connected(node.mqttPort, 'publisher')
  const publish = async (payload: string, id: number, retain = false): Promise<void> => {
    publisher.write(publishPacket(retain ? 'r' : 't', payload, { qos: 1, id, retain }))
    assert.is((await publisher.next())?.first, 0x40)
  }
  await publish('first', 1)
  const [firstId] = idAndPayload((await subscriber.next())!.body)
  // Not acknowledged: it must come again.
  subscriber.socket.destroy()
  for (let i = 0; i < 200; i++) await publish(String(i), i + 2)
  await publish('kept', 999, true)
  await node.kill('SIGKILL')
  await node.startAgain()

  const again = await RawClient.open(node.mqttPort)
  again.write(connectPacket({ clientId: 'durable', clean: false }))
  assert.equal([...(await again.next())!.body], [1, 0])
  const payloads: string[] = []
  const resent: number[] = []
  while (payloads.length < 202) {
    const { first, body } = (await again.next())!
    const [id, payload] = idAndPayload(body)
    if ((first & 8) !== 0) resent.push(id)
    payloads.push(payload)
    again.write(packet(0x40, u16(id)))
  }
  assert.equal(payloads, ['first', ...Array.from({ length: 200 }, (_, i) => String(i)), 'last words'])
  assert.ok(resent.length === 0 || (resent.length === 1 && resent[0] === firstId))

  const late = await RawClient.connected(node.mqttPort, 'late')
  late.write(subscribePacket(1, ['r', 1]))
  assert.is((await late.next())?.first, 0x90)
  const retained = (await late.next())!
  assert.equal([retained.first & 1, idAndPayload(retained.body)[1]], [1, 'kept'])
  await node.kill()
})

test('a QoS 2 message is stored exactly once though the node is killed in the middle of its handshake, and its identifier is free afterwards', async () => {
  const node = await NodeProcess.start()
  const connect = () => RawClient.connected(node.mqttPort, 'twice', false)
  const restart = async (): Promise<void> => {
    await node.kill('SIGKILL')
    await node.startAgain()
  }
  const message = (payload: string, dup: boolean) => publishPacket('t', payload, { qos: 2, id: 5, dup })
  let publisher = await connect()
  publisher.write(message('once', false))
  assert.is((await publisher.next())?.first, 0x50)
  await restart()
  publisher = await connect()
  publisher.write(message('once', true))
  assert.is((await publisher.next())?.first, 0x50)
  publisher.write(packet(0x62, u16(5)))
  assert.is((await publisher.next())?.first, 0x70)
  await restart()
  publisher = await connect()
  publisher.write(message('next', false))
  assert.is((await publisher.next())?.first, 0x50)
  // A clean session ends the durable one, and with it its handshakes.
  await RawClient.connected(node.mqttPort, 'twice', true)
  publisher = await connect()
  publisher.write(message('third', false))
  assert.is((await publisher.next())?.first, 0x50)
  const response = await fetch(`${node.httpUrl}/v1/streams/mqtt/partitions/0/records?offset=earliest&max_records=10`)
  const { records } = (await response.json()) as { records: { value: string }[] }
  assert.is(records.length, 3, JSON.stringify(records))
  await node.kill()
})

test.run()
