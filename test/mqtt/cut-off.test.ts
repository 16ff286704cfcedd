import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { IncidentLog } from '../../src/mqtt/incident-log.js'
import { eventually } from '../helpers/eventually.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { LogLines } from '../helpers/log-lines.js'
import {
  connectPacket,
  DISCONNECT,
  packet,
  publishPacket,
  RawClient,
  subscribePacket,
  text,
  u16,
} from './raw-client.js'
import { startFront, type TestFrontOptions } from './start-front.js'

/** What the log says of a client that sends these packets after it has connected. */
async function linesAbout(options: TestFrontOptions, ...packets: Buffer[]): Promise<string[]> {
  const log = new LogLines()
  const { port, stop } = await startFront({ ...options, logger: log.logger })
  const client = await RawClient.connected(port, 'sensor 7')
  client.write(...packets)
  await client.whenClosed()
  await stop()
  return log.having('client=')
}

for (const [name, options, packets, said] of [
  [
    'a packet over the limit',
    { limits: { maxPacketBytes: 1000 } },
    [publishPacket('t', 'x'.repeat(1000))],
    /^WARN {2}test client cut off client="sensor 7" address=127\.0\.0\.1 reason="packet of 1006 bytes is larger than the limit of 1000" raise=mqtt\.max_packet_size$/,
  ],
  [
    'a topic with a wildcard',
    {},
    [publishPacket('a/#', 'x')],
    /^WARN .* client="sensor 7" address=127\.0\.0\.1 reason="protocol violation: topic has a wildcard; \+ and # are for filters"$/,
  ],
  [
    'more QoS 2 handshakes than allowed',
    { limits: { maxQos2HandshakesPerClient: 1 } },
    [publishPacket('a', 'x', { qos: 2, id: 1 }), publishPacket('a', 'x', { qos: 2, id: 2 })],
    /^WARN .*raise=mqtt\.max_qos2_handshakes$/,
  ],
  [
    'a publish that is not allowed',
    { authorize: () => false },
    [publishPacket('secret', 'x', { qos: 1 })],
    /^WARN .*reason="not allowed to publish to secret"$/,
  ],
] as const)
  test(`one line of warning says that ${name} cost a client its connection, and what to do`, async () => {
    const lines = await linesAbout(options as TestFrontOptions, ...packets)
    assert.is(lines.length, 1, lines.join('\n'))
    assert.match(lines[0], said)
  })

test('DISCONNECT, a lost connection and a takeover are no warnings', async () => {
  const log = new LogLines('warn')
  const { port, front, stop } = await startFront({ logger: log.logger })
  ;(await RawClient.connected(port, 'polite')).write(DISCONNECT)
  ;(await RawClient.connected(port, 'lost')).socket.destroy()
  ;(await RawClient.connected(port, 'reset')).reset()
  const older = await RawClient.connected(port, 'same')
  await RawClient.connected(port, 'same')
  await older.whenClosed()
  while (front.stats().connections > 1) await new Promise((resolve) => setImmediate(resolve))
  await stop()
  assert.equal(log.lines, [])
})

test('who sends no CONNECT, or falls silent, is named by its address', async () => {
  const log = new LogLines()
  const { port, stop } = await startFront({
    logger: log.logger,
    limits: { connectTimeoutMs: 300, maxKeepaliveSeconds: 1 },
  })
  const mute = await RawClient.open(port)
  const silent = await RawClient.connected(port, 'silent')
  await mute.whenClosed()
  await silent.whenClosed()
  await stop()
  assert.match(log.having('no complete CONNECT in time')[0], 'address=127.0.0.1')
  assert.match(log.having('no complete CONNECT in time')[0], 'raise=mqtt.connect_timeout_ms')
  assert.match(log.having('silent for longer')[0], 'client=silent')
  assert.match(log.having('silent for longer')[0], 'raise=mqtt.max_keepalive')
})

test('a connection that is not let in says which limit was reached', async () => {
  const log = new LogLines()
  const { port, stop } = await startFront({
    logger: log.logger,
    limits: { maxConnections: 2, maxConnectionsPerAddress: 1 },
  })
  await RawClient.connected(port, 'first')
  await (await RawClient.open(port)).whenClosed()
  assert.match(log.having('connection refused')[0], 'raise=mqtt.max_connections_per_address')
  await stop()
})

test('connections that come faster than the rate are refused, and let in again later', async () => {
  const log = new LogLines()
  const { port, front, stop } = await startFront({ logger: log.logger, limits: { maxConnectionsPerSecond: 5 } })
  const clients = await Promise.all(Array.from({ length: 60 }, () => RawClient.open(port)))
  while (front.stats().refusedConnections < 9) await new Promise((resolve) => setImmediate(resolve))
  assert.match(log.having('connection refused')[0], 'raise=mqtt.max_connection_rate')
  for (const client of clients) client.socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 300))
  await RawClient.connected(port, 'later')
  await stop()
})

test('a client that reads too slowly is named once, not once per message it loses', async () => {
  const log = new LogLines()
  const limits = { maxQueuedBytesPerConnection: 64 * 1024 }
  const { port, front, connect, stop } = await startFront({ logger: log.logger, limits })
  const frozen = await RawClient.connected(port, 'frozen')
  frozen.write(subscribePacket(1, ['#', 0]))
  await frozen.next()
  frozen.socket.pause()
  const publisher = await connect()
  while (front.stats().droppedMessages < 100) await publisher.publishAsync('bulk', 'x'.repeat(20_000), { qos: 0 })
  const lines = log.having('being dropped')
  assert.is(lines.length, 1)
  assert.match(lines[0], 'client=frozen')
  assert.match(lines[0], 'raise=mqtt.max_pending_bytes')
  await stop()
})

test('what a client is refused and stays for is a line: a subscription, a QoS 0 message, a will', async () => {
  const log = new LogLines('warn')
  const { port, stop } = await startFront({
    logger: log.logger,
    limits: { maxSubscriptionsPerClient: 1 },
    authorize: (_who, _kind, topic) => !topic.startsWith('secret'),
  })
  const client = await RawClient.open(port)
  const will = Buffer.concat([text('secret/will'), text('gone')])
  client.write(connectPacket({ clientId: 'nosy', flags: 0x06, payload: will }))
  await client.next()
  client.write(subscribePacket(1, ['secret/a', 0], ['a', 0], ['b', 0], ['$share/x', 0], ['$stream/none/earliest', 0]))
  assert.equal([...(await client.next())!.body], [0, 1, 0x80, 0, 0x80, 0x80, 0x80])
  client.write(publishPacket('secret/b', 'x'), publishPacket('secret/b', 'y'), publishPacket('a', 'last'))
  assert.is((await client.nextPublish()).payload, 'last')
  client.reset()
  await eventually('the will is due', () => log.having('will not published').length > 0)
  await stop()
  const who = 'client=nosy address=127.0.0.1'
  assert.equal(
    log.lines.map((line) => line.slice(25).trim().replace(who, 'WHO')),
    [
      'WARN  test subscription refused WHO reason="not allowed to subscribe to secret/a"',
      'WARN  test subscription refused WHO reason="it has 1 subscriptions already" raise=mqtt.max_subscriptions',
      'WARN  test subscription refused WHO reason="$stream/none/earliest names no stream or place, or there are too many of its kind"',
      'WARN  test QoS 0 messages of a client are not taken WHO reason="not allowed to publish to secret/b"',
      'WARN  test will not published client=nosy mqtt_topic=secret/will error="its client may not publish to this topic"',
    ],
  )
})

test('an MQTT 5 client finds out from the log, too, why it does not get in', async () => {
  const log = new LogLines()
  const { port, stop } = await startFront({ logger: log.logger })
  const client = await RawClient.open(port)
  client.write(connectPacket({ level: 5, payload: Buffer.from([0]) }))
  await client.whenClosed()
  assert.match(log.having('client cut off')[0], 'protocol level 5 is not supported')
  await stop()
})

test('ten lines a second are written and the rest is counted', async () => {
  const clock = new FakeClock()
  const log = new LogLines()
  const incidents = new IncidentLog(log.logger, clock)
  for (let i = 0; i < 500; i++) incidents.warn('client cut off', { client: String(i) })
  assert.is(log.lines.length, 10)
  await clock.advance(1000)
  assert.is(log.lines.length, 11)
  assert.match(log.lines[10], 'count=490')
  incidents.warn('client cut off', { client: 'next' })
  assert.is(log.lines.length, 12)
  await clock.advance(5000)
  incidents.stop()
  assert.is(log.lines.length, 12)
})

test('what a client meets with at each attempt is said once, and then a minute at a time', async () => {
  const clock = new FakeClock()
  const log = new LogLines()
  const incidents = new IncidentLog(log.logger, clock)
  const full = { client: 'gw-17', reason: 'the disk is full' }
  for (let seconds = 0; seconds < 150; seconds++) {
    incidents.warn('client cut off', full)
    await clock.advance(1000)
  }
  incidents.warn('client cut off', { ...full, reason: 'another' })
  incidents.warn('client cut off', { ...full, client: 'gw-18' })
  assert.is(log.lines.length, 5)
  assert.not.match(log.lines[0], 'times=')
  assert.match(log.lines[1], /the disk is full.* times=59/)
  assert.match(log.lines[2], /times=60/)
  await clock.advance(60_000)
  assert.match(log.lines[5], /times=30/)
  await clock.advance(600_000)
  assert.is(log.lines.length, 6)
  incidents.warn('client cut off', full)
  assert.is(log.lines.length, 7, 'after a minute without it is news')
  incidents.stop()
})

test('a packet identifier of 0 in an acknowledgement is a violation that names the client', async () => {
  const [line] = await linesAbout({}, packet(0x40, u16(0)))
  assert.match(line, 'packet identifier is 0')
})

test.run()
