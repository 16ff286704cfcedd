import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { fakeCatalog, fakeStream } from './fake-catalog.js'
import { PINGREQ, publishPacket, RawClient, u16 } from './raw-client.js'
import { startFront } from './start-front.js'

async function startOver(...names: string[]) {
  const streams = names.map((name) => fakeStream(name, [`${name}/#`]))
  const server = await startFront({
    catalog: fakeCatalog(...streams),
    routes: streams.map(({ name, topics }) => ({ stream: name, topics, key: 'topic' })),
  })
  const client = await RawClient.connected(server.port)
  /** Everything written so far has been read by the gate. */
  const barrier = async (): Promise<void> => {
    client.write(PINGREQ)
    assert.is((await client.next())?.first, 0xd0)
  }
  return { server, streams, client, barrier }
}

test('no acknowledgement leaves before the commit, and then they leave in order of receipt', async () => {
  const { server, streams, client, barrier } = await startOver('a', 'b')
  client.write(
    publishPacket('a/1', '1', { qos: 1, id: 1 }),
    publishPacket('b/1', '2', { qos: 2, id: 2 }),
    publishPacket('a/1', '3', { qos: 1, id: 3 }),
  )
  await barrier()
  assert.is(streams[0].appended.length, 2)
  streams[1].settle()
  await barrier()
  streams[0].settle()
  assert.equal(
    [(await client.next())?.body, (await client.next())?.body, (await client.next())?.body],
    [u16(1), u16(2), u16(3)],
  )
  await server.stop()
})

test('a commit that fails is never acknowledged, nor what follows it, and the connection is closed', async () => {
  const { server, streams, client, barrier } = await startOver('a', 'b')
  client.write(publishPacket('b/1', '1', { qos: 1, id: 1 }), publishPacket('a/1', '2', { qos: 1, id: 2 }))
  client.write(publishPacket('b/1', '3', { qos: 1, id: 3 }))
  await barrier()
  streams[0].settle(new SluiceError('STORAGE_FULL', 'full'))
  streams[1].settle()
  assert.equal((await client.next())?.body, u16(1))
  assert.is(await client.next(), null)
  await server.stop()
})

test('while a stream has no room the gate does not read on, and nothing is lost or reordered', async () => {
  const { server, streams, client, barrier } = await startOver('a')
  client.write(publishPacket('a/1', '0', { qos: 1, id: 1 }))
  await barrier()
  streams[0].room = false
  for (let i = 1; i < 1000; i++) client.write(publishPacket('a/1', String(i), { qos: 1, id: i + 1 }))
  const other = await RawClient.connected(server.port, 'other')
  other.write(PINGREQ)
  await other.next()
  assert.is(streams[0].appended.length, 1)
  streams[0].makeRoom()
  await barrier()
  assert.equal(
    streams[0].appended.map(({ value }) => Number(value)),
    Array.from({ length: 1000 }, (_, i) => i),
  )
  await server.stop()
})

test('a message the log refuses is not acknowledged; QoS 0 is dropped and counted', async () => {
  const { server, streams, client, barrier } = await startOver('a')
  const append = streams[0].append
  streams[0].append = () => {
    throw new SluiceError('STORAGE_FULL', 'full')
  }
  client.write(publishPacket('a/1', '0'))
  await barrier()
  assert.is(server.front.stats().refusedMessages, 1)
  streams[0].append = append
  client.write(publishPacket('a/1', '1', { qos: 1, id: 1 }))
  await barrier()
  streams[0].append = () => {
    throw new SluiceError('STORAGE_FULL', 'full')
  }
  client.write(publishPacket('a/1', '2', { qos: 1, id: 2 }))
  const closed = client.whenClosed()
  const second = await RawClient.connected(server.port, 'second')
  second.write(PINGREQ)
  await second.next()
  streams[0].settle()
  await closed
  assert.equal(
    client.packets.map(({ body }) => body.readUInt16BE(0)),
    [1],
  )
  await server.stop()
})

test('more connections than the maximum are closed at once, and there is room again when one ends', async () => {
  const server = await startFront({ limits: { maxConnections: 2 } })
  const first = await RawClient.connected(server.port, '1')
  await RawClient.connected(server.port, '2')
  const third = await RawClient.open(server.port)
  await third.whenClosed()
  first.socket.destroy()
  while (server.front.stats().connections === 2) await new Promise((resolve) => setImmediate(resolve))
  await RawClient.connected(server.port, '4')
  await server.stop()
})

test.run()
