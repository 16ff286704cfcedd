// MQTT 3.1.1 section 3.1 and 3.2, by behaviour; each test names the statement it holds us to.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  connectPacket,
  PINGREQ,
  packet,
  publishPacket,
  RawClient,
  subscribePacket,
  text,
  u16,
} from '../mqtt/raw-client.js'
import { startFront, type TestFront } from '../mqtt/start-front.js'

let server: TestFront
test.before(async () => {
  server = await startFront({ limits: { connectTimeoutMs: 500 } })
})
test.after(() => server.stop())

/** Sends the bytes on a fresh connection; @returns what comes back before the broker closes it. */
async function answersBeforeClose(...bytes: Buffer[]): Promise<string[]> {
  const client = await RawClient.open(server.port)
  client.write(...bytes)
  await client.whenClosed()
  return client.packets.map(({ first, body }) => Buffer.concat([Buffer.from([first]), body]).toString('hex'))
}

async function connackOf(bytes: Buffer): Promise<number[]> {
  const client = await RawClient.open(server.port)
  client.write(bytes)
  const connack = await client.next()
  client.socket.destroy()
  return [...(connack?.body ?? [])]
}

const CLOSED_WITHOUT_A_WORD: readonly [string, Buffer][] = [
  ['01-01 [MQTT-3.1.0-1] the first packet is PUBLISH', publishPacket('t', 'x')],
  ['01-02 [MQTT-3.1.0-1] the first packet is PINGREQ', PINGREQ],
  ['01-03 [MQTT-3.1.2-1] another protocol name', connectPacket({ name: 'HTTP' })],
  ['01-04 [MQTT-3.1.2-3] the reserved flag is set', connectPacket({ flags: 3 })],
  ['01-05 [MQTT-3.1.2-11] will retain without a will', connectPacket({ flags: 0x22 })],
  ['01-06 [MQTT-3.1.2-13] will QoS without a will', connectPacket({ flags: 0x0a })],
  ['01-07 [MQTT-3.1.2-14] will QoS 3', connectPacket({ flags: 0x1e, payload: Buffer.concat([text('w'), text('x')]) })],
  ['01-08 [MQTT-3.1.2-22] a password without a user name', connectPacket({ flags: 0x42, payload: text('secret') })],
  ['01-09 [MQTT-3.1.3-1] a field is missing', connectPacket({ flags: 0x82 })],
  ['01-10 bytes after the last field', connectPacket({ payload: Buffer.from([0]) })],
  ['01-11 [MQTT-1.5.3-1] the client identifier is not UTF-8', packet(0x10, 'MQTT', [4, 2], u16(0), u16(1), [0xff])],
  ['01-12 [MQTT-1.5.3-2] the client identifier holds NUL', connectPacket({ clientId: 'a\0b' })],
  [
    '01-13 a will topic with a wildcard',
    connectPacket({ flags: 0x06, payload: Buffer.concat([text('w/#'), text('x')]) }),
  ],
  ['01-14 CONNECT of two bytes', Buffer.from([0x10, 2, 0, 4])],
]
for (const [name, bytes] of CLOSED_WITHOUT_A_WORD)
  test(`${name}: the connection is closed without a word`, async () => {
    assert.equal(await answersBeforeClose(bytes), [])
  })

test('01-20 [MQTT-3.1.2-2] another protocol level is answered with return code 1, and closed', async () => {
  assert.equal(await answersBeforeClose(connectPacket({ level: 5, payload: Buffer.from([0]) })), ['200001'])
  assert.equal(await answersBeforeClose(connectPacket({ level: 3 })), ['200001'])
})

test('01-21 [MQTT-3.1.3-8] an empty client identifier with a session to keep is answered with return code 2', async () => {
  assert.equal(await answersBeforeClose(connectPacket({ clientId: '', clean: false })), ['200002'])
})

test('01-22 [MQTT-3.1.3-6] an empty client identifier with a clean session is accepted', async () => {
  assert.equal(await connackOf(connectPacket({ clientId: '' })), [0, 0])
})

test('01-23 MQTT 3.1 is accepted, with a client identifier of more than 23 characters too', async () => {
  assert.equal(await connackOf(connectPacket({ name: 'MQIsdp', level: 3, clientId: 'x'.repeat(40) })), [0, 0])
})

test('01-24 [MQTT-3.1.0-2] a second CONNECT closes the connection', async () => {
  const answers = await answersBeforeClose(connectPacket({ clientId: 'twice' }), connectPacket({ clientId: 'twice' }))
  assert.equal(answers, ['200000'])
})

test('01-25 a connection that says nothing, or only half a CONNECT, is closed after the time-out', async () => {
  assert.equal(await answersBeforeClose(Buffer.from([0x10])), [])
})

test('01-26 [MQTT-3.1.2-24] a client silent for one and a half keepalives is closed, one that pings is not', async () => {
  const silent = await RawClient.open(server.port)
  const pinging = await RawClient.open(server.port)
  silent.write(connectPacket({ clientId: 'silent', keepalive: 1 }))
  pinging.write(connectPacket({ clientId: 'pinging', keepalive: 1 }))
  const timer = setInterval(() => pinging.write(PINGREQ), 400)
  const began = performance.now()
  await silent.whenClosed()
  clearInterval(timer)
  const seconds = (performance.now() - began) / 1000
  assert.ok(seconds >= 1.4 && seconds < 4, `closed after ${seconds} s`)
  assert.not(pinging.closed)
  pinging.socket.destroy()
})

test('01-27 [MQTT-3.1.4-2] a client that connects again takes its session over from the older connection', async () => {
  const older = await RawClient.connected(server.port, 'same')
  const newer = await RawClient.connected(server.port, 'same')
  await older.whenClosed()
  newer.write(PINGREQ)
  assert.is((await newer.next())?.first, 0xd0)
  newer.socket.destroy()
})

test('01-28 [MQTT-3.1.4-5] packets sent right behind CONNECT are taken after it', async () => {
  const client = await RawClient.open(server.port)
  client.write(
    connectPacket({ clientId: 'eager' }),
    subscribePacket(1, ['e', 1]),
    publishPacket('e', 'x', { qos: 1, id: 2 }),
  )
  const firsts = [await client.next(), await client.next(), await client.next(), await client.next()].map(
    (one) => one?.first,
  )
  assert.equal(firsts.slice(0, 2), [0x20, 0x90])
  assert.equal(firsts.slice(2).sort(), [0x32, 0x40])
  client.socket.destroy()
})

test('01-29 [MQTT-3.1.2-8] the will of a connection that breaks the protocol is published', async () => {
  const watcher = await RawClient.connected(server.port, 'watcher')
  watcher.write(subscribePacket(1, ['will/#', 0]))
  await watcher.next()
  const payload = Buffer.concat([text('will/x'), text('gone')])
  const client = await RawClient.open(server.port)
  client.write(connectPacket({ clientId: 'rude', flags: 0x06, payload }))
  await client.next()
  client.write(Buffer.from([0x00, 0x00]))
  const will = await watcher.next()
  assert.is(will?.first, 0x30)
  assert.is(String(will?.body.subarray(2)), 'will/xgone')
  watcher.socket.destroy()
})

test.run()
