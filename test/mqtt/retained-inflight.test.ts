// Retained messages that were sent and not acknowledged, and are not the retained ones any more when their session is back: each packet
// identifier keeps its message, [MQTT-4.4.0-1], or its handshake is ended where the message is gone.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import type { SessionRow } from '../../src/mqtt/session-store.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { eventually } from '../helpers/eventually.js'
import { tempDir } from '../helpers/temp-dir.js'
import { puback, pubcomp, pubrec, RawClient, subscribePacket } from './raw-client.js'
import { startFront, type TestFront, type TestFrontOptions } from './start-front.js'

const PUBREL = 0x62

const retain = ({ front }: TestFront, payload: string, qos: 1 | 2 = 2): Promise<void> =>
  front.publish({ mqttTopic: 'state', payload: Buffer.from(payload), qos, retain: true }).durable()

/** Small enough that retention removes what is published first. */
const SMALL: TestFrontOptions = {
  streams: [{ name: 'mqtt', topics: ['#'], retention: { maxBytes: 200_000, maxAgeMs: null, onFull: 'drop_oldest' } }],
}

async function removeOldest({ front, testLog }: TestFront): Promise<void> {
  const stream = testLog.log.stream('mqtt')
  while (stream.logStartOffset(0 as never) < 3)
    await front.publish({ mqttTopic: 'filler', payload: Buffer.alloc(10_000), qos: 1 }).durable()
}

/** A session that has been sent the retained message of `state`, has not answered, and is away. */
async function leaveUnanswered(server: TestFront, qos: 1 | 2): Promise<number> {
  const { client } = await RawClient.durable(server.port, 'away')
  client.write(subscribePacket(1, ['state', qos]))
  const { id, payload, retain } = await client.nextPublish()
  assert.equal([payload, retain], ['old', true])
  client.reset()
  await eventually('it is gone', () => server.front.stats().connections === 0)
  return id
}

const comeBack = async ({ port }: TestFront): Promise<RawClient> => (await RawClient.durable(port, 'away')).client

for (const qos of [1, 2] as const)
  for (const restarted of [false, true])
    test(`replaced before its first acknowledgement at QoS ${qos}, it is sent again as it was${restarted ? ', over a restart' : ''}`, async () => {
      const directory = tempDir()
      let server = await startFront({ directory })
      await retain(server, 'old')
      const id = await leaveUnanswered(server, qos)
      await retain(server, 'new')
      if (restarted) {
        await server.stop()
        server = await startFront({ directory })
      }
      const client = await comeBack(server)
      assert.equal(await client.nextPublish(), { topic: 'state', qos, dup: true, retain: true, id, payload: 'old' })
      const { payload, ...next } = await client.nextPublish()
      assert.equal([payload, next.dup, next.retain, next.id === id], ['new', false, false, false])
      client.write(qos === 1 ? puback(id) : pubrec(id))
      if (qos === 2) assert.is((await client.next())?.first, PUBREL)
      await server.stop()
    })

test('taken away before its first acknowledgement, it is sent again as it was', async () => {
  const server = await startFront()
  await retain(server, 'old')
  const id = await leaveUnanswered(server, 1)
  await retain(server, '')
  const client = await comeBack(server)
  assert.equal(await client.nextPublish(), { topic: 'state', qos: 1, dup: true, retain: true, id, payload: 'old' })
  await server.stop()
})

test('its record is gone, and it is still the retained one: it is sent again', async () => {
  const server = await startFront(SMALL)
  await retain(server, 'old')
  const id = await leaveUnanswered(server, 2)
  await removeOldest(server)
  const client = await comeBack(server)
  assert.equal(await client.nextPublish(), { topic: 'state', qos: 2, dup: true, retain: true, id, payload: 'old' })
  await server.stop()
})

/** What the front says retention has taken from whom; of what nobody came to, there is more. */
function overtakenBy(): { readonly rows: unknown[]; readonly options: TestFrontOptions } {
  const rows: unknown[] = []
  return { rows, options: { ...SMALL, onOvertaken: (...row) => rows.push(row) } }
}

test('replaced, and its record gone: at QoS 2 PUBREL ends the handshake before its identifier is free, over a restart as well', async () => {
  const directory = tempDir()
  const { rows, options } = overtakenBy()
  let server = await startFront({ ...options, directory })
  await retain(server, 'old')
  const id = await leaveUnanswered(server, 2)
  await retain(server, '')
  await removeOldest(server)
  for (const restarted of [false, true]) {
    if (restarted) {
      await server.stop()
      server = await startFront({ ...options, directory })
    }
    const client = await comeBack(server)
    const first = (await client.next())!
    assert.equal([first.first, first.body.readUInt16BE(0)], [PUBREL, id])
    client.reset()
    await eventually('it is gone', () => server.front.stats().connections === 0)
  }
  const client = await comeBack(server)
  assert.is((await client.next())?.first, PUBREL)
  client.write(pubcomp(id))
  assert.equal(await client.untilPong(), [])
  client.reset()
  await eventually('it is gone', () => server.front.stats().connections === 0)
  assert.equal(await (await comeBack(server)).untilPong(), [])
  assert.equal(rows[0], ['away', 'mqtt', 0, 0, 0])
  await server.stop()
})

test('replaced, and its record gone: at QoS 1 the identifier is free, and the ledger is told', async () => {
  const { rows, options } = overtakenBy()
  const server = await startFront(options)
  await retain(server, 'old')
  await leaveUnanswered(server, 1)
  await retain(server, '')
  await removeOldest(server)
  const client = await comeBack(server)
  await eventually('the ledger is told', () => rows.length > 0)
  assert.equal(rows[0], ['away', 'mqtt', 0, 0, 0])
  assert.equal(await client.untilPong(), [])
  await server.stop()
})

test('an ordinary QoS 2 message that retention has removed, or that its client may not read any more, is ended with PUBREL', async () => {
  const { rows, options } = overtakenBy()
  let revoked = false
  const server = await startFront({
    ...options,
    authorize: (_who, kind, topic) => kind !== 'receive' || !revoked || topic !== 'secret',
  })
  const { front } = server
  const { client } = await RawClient.durable(server.port, 'away')
  client.write(subscribePacket(1, ['removed', 2], ['secret', 2]))
  await client.next()
  const ids: number[] = []
  const send = async (mqttTopic: string): Promise<void> => {
    await front.publish({ mqttTopic, payload: Buffer.alloc(1), qos: 2 }).durable()
    ids.push((await client.nextPublish()).id)
  }
  await send('removed')
  await removeOldest(server)
  await send('secret')
  client.reset()
  await eventually('it is gone', () => front.stats().connections === 0)
  revoked = true
  front.accessChanged()
  const again = await comeBack(server)
  const answers = [(await again.next())!, (await again.next())!]
  assert.equal(
    answers.map(({ first, body }) => [first, body.readUInt16BE(0)]),
    ids.map((id) => [PUBREL, id]),
  )
  // What is still in the log is not lost.
  assert.equal(rows[0], ['away', 'mqtt', 0, 0, 0])
  await server.stop()
})

test('retained when a crash had come in between, its record is not known: replaced, its identifier is not used for another message', async () => {
  const server = await startFront()
  const message = { mqttTopic: 'state', payload: Buffer.from('old'), qos: 2, retain: true } as const
  await server.front.retainAgain(message).durable()
  const id = await leaveUnanswered(server, 2)
  const same = await comeBack(server)
  assert.equal(await same.nextPublish(), { topic: 'state', qos: 2, dup: true, retain: true, id, payload: 'old' })
  same.reset()
  await eventually('it is gone', () => server.front.stats().connections === 0)
  await server.front.retainAgain({ ...message, payload: Buffer.from('new') }).durable()
  const client = await comeBack(server)
  const first = (await client.next())!
  assert.equal([first.first, first.body.readUInt16BE(0)], [PUBREL, id])
  await server.stop()
})

test('a session as an earlier version has stored it is sent what is retained now', async () => {
  const directory = tempDir()
  let server = await startFront({ directory })
  await retain(server, 'old')
  const id = await leaveUnanswered(server, 1)
  await server.stop()
  const state = await LevelStateStore.open({
    directory: join(directory, 'mqtt-state'),
    logger: silentLogger,
    onFatal: () => {},
  })
  const table = state.table<SessionRow>('mqtt-sessions')
  const row = (await table.get('away'))!
  await table.put('away', { ...row, inflight: row.inflight.map((one) => one.slice(0, 5)) as never })
  await state.close()
  server = await startFront({ directory })
  const client = await comeBack(server)
  assert.equal(await client.nextPublish(), { topic: 'state', qos: 1, dup: true, retain: true, id, payload: 'old' })
  await server.stop()
})

for (const durable of [true, false])
  test(`a message of a shared group that retention removed after a ${durable ? 'kept' : 'clean'} session left it unacknowledged is told to the ledger`, async () => {
    const { rows, options } = overtakenBy()
    const server = await startFront(options)
    const { client: member } = await RawClient.durable(server.port, 'member')
    member.write(subscribePacket(1, ['$share/g/t', 1]))
    await member.next()
    let taker = member
    if (!durable) {
      member.reset()
      await eventually('it is gone', () => server.front.stats().connections === 0)
      taker = await RawClient.connected(server.port, 'taker')
      taker.write(subscribePacket(1, ['$share/g/t', 1]))
      await taker.next()
    }
    await server.front.publish({ mqttTopic: 't', payload: Buffer.alloc(1), qos: 1 }).durable()
    await taker.nextPublish()
    taker.reset()
    await eventually('it is gone', () => server.front.stats().connections === 0)
    await removeOldest(server)
    const { client } = await RawClient.durable(server.port, 'member')
    if (!durable) {
      client.write(subscribePacket(1, ['$share/g/t', 1]))
      await client.next()
    }
    await eventually('the ledger is told', () => rows.some((row) => String(row) === '$share/g/t,mqtt,0,0,0'))
    await server.stop()
  })

test.run()
