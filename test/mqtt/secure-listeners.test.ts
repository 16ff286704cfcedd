import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { test as uvuTest } from 'uvu'
import * as assert from 'uvu/assert'
import { WebSocket } from 'ws'
import { Authority, type Identity, opensslMissing } from '../helpers/certificates.js'
import { eventually } from '../helpers/eventually.js'
import { LogLines } from '../helpers/log-lines.js'
import { unlessSkipped } from '../helpers/skip.js'
import { connectPacket, publishPacket, RawClient, subscribePacket } from './raw-client.js'
import { nextMessage, startFront, type TestFront } from './start-front.js'

const test = unlessSkipped(uvuTest, opensslMissing)
const authority = opensslMissing === null ? new Authority() : null!
const server = opensslMissing === null ? authority.issue('gateway') : null!
const ca = opensslMissing === null ? readFileSync(authority.caFile) : null!

const urlOf = (front: TestFront, protocol: string): string => {
  const address = front.front.addresses.find((one) => one.startsWith(`${protocol}://`))
  if (address !== undefined) return address
  return `mqtt://${front.front.addresses.find((one) => !one.includes('://'))}`
}

async function connectTo(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  return mqtt.connectAsync(url, { reconnectPeriod: 0, ca, ...options })
}

/** Whether a client is let in. */
function isLetIn(url: string, options: IClientOptions): Promise<boolean> {
  const client = mqtt.connect(url, { reconnectPeriod: 0, ca, ...options })
  return new Promise((resolve) => {
    const tell = (letIn: boolean) => () => {
      client.end(true)
      resolve(letIn)
    }
    client.on('error', () => {})
    client.once('connect', tell(true)).once('close', tell(false))
  })
}

const pemOf = ({ certFile, keyFile }: Identity) => ({ cert: readFileSync(certFile), key: readFileSync(keyFile) })
const pem = (name: string) => pemOf(authority.issue(name))

test('mqtt, mqtts, ws and wss are served at once, and a message goes from each to each', async () => {
  const front = await startFront({
    listen: ['127.0.0.1:0', 'mqtts://127.0.0.1:0', 'ws://127.0.0.1:0', 'wss://127.0.0.1:0'],
    tls: { ...server, requireClientCert: false },
  })
  const clients: MqttClient[] = []
  for (const protocol of ['mqtt', 'mqtts', 'ws', 'wss']) clients.push(await connectTo(urlOf(front, protocol)))
  for (const client of clients) await client.subscribeAsync('all/#', { qos: 1 })
  for (const [i, client] of clients.entries()) {
    const messages = clients.map(nextMessage)
    await client.publishAsync(`all/${i}`, 'x'.repeat(60_000 + i), { qos: 1 })
    for (const message of messages) assert.is((await message).payload.length, 60_000 + i)
  }
  assert.is(front.front.stats().connections, 4)
  for (const client of clients) await client.endAsync()
  while (front.front.stats().connections > 0) await new Promise((resolve) => setImmediate(resolve))
  await front.stop()
})

test('TLS 1.1 is refused', async () => {
  const front = await startFront({ listen: ['mqtts://127.0.0.1:0'], tls: { ...server, requireClientCert: false } })
  const port = Number(new URL(urlOf(front, 'mqtts')).port)
  const error = await new Promise<Error>((resolve) => {
    const options = { port, host: '127.0.0.1', ca, minVersion: 'TLSv1' as const, maxVersion: 'TLSv1.1' as const }
    tlsConnect({ ...options, ciphers: 'DEFAULT@SECLEVEL=0' }).on('error', resolve)
  })
  assert.match(error.message, /version|protocol|alert|reset/i)
  await front.stop()
})

test('where client certificates are required, none and a strange one are refused, and a good one names the user', async () => {
  const log = new LogLines()
  const asked: (string | undefined)[] = []
  const front = await startFront({
    listen: ['mqtts://127.0.0.1:0', 'wss://127.0.0.1:0'],
    tls: { ...server, caFile: authority.caFile, requireClientCert: true },
    certificateNameIsUser: true,
    authorize: ({ username }) => {
      asked.push(username)
      return true
    },
    logger: log.logger,
  })
  const { certFile, keyFile } = new Authority().issue('stranger')
  for (const protocol of ['mqtts', 'wss']) {
    const url = urlOf(front, protocol)
    for (const identity of [{}, { cert: readFileSync(certFile), key: readFileSync(keyFile) }])
      assert.not(await isLetIn(url, identity))
    const client = await connectTo(url, { ...pem('sensor-7'), username: 'admin' })
    await client.publishAsync('t', 'x', { qos: 1 })
    await client.endAsync()
  }
  assert.equal([...new Set(asked)], ['sensor-7'])
  assert.ok(log.having('client cut off').length >= 2)
  await front.stop()
})

for (const requireClientCert of [true, false])
  test(`a certificate that is not good is refused with a line that says why, and whose it is, where one is ${requireClientCert ? 'required' : 'optional'}`, async () => {
    const log = new LogLines()
    const front = await startFront({
      listen: ['mqtts://127.0.0.1:0', 'wss://127.0.0.1:0'],
      tls: { ...server, caFile: authority.caFile, requireClientCert },
      logger: log.logger,
    })
    const cases: [string, Identity, RegExp][] = [
      ['of another authority', new Authority().issue('stranger'), /not good: .*(ISSUER|VERIFY|SIGNATURE)/],
      ['that has expired', authority.issue('old', 'old', { days: -1 }), /not good: CERT_HAS_EXPIRED/],
    ]
    for (const protocol of ['mqtts', 'wss'])
      for (const [name, identity, reason] of cases) {
        assert.not(await isLetIn(urlOf(front, protocol), pemOf(identity)))
        await eventually(`one ${name} is refused`, () => log.having('client cut off').length > 0)
        const [line] = log.having('client cut off')
        assert.match(line, reason)
        assert.match(line, '127.0.0.1')
        log.lines.length = 0
      }
    await front.stop()
  })

test('who shows no certificate where one is required is told from who shows a bad one', async () => {
  const log = new LogLines()
  const tls = { ...server, caFile: authority.caFile, requireClientCert: true }
  const front = await startFront({ listen: ['mqtts://127.0.0.1:0'], tls, logger: log.logger })
  assert.not(await isLetIn(urlOf(front, 'mqtts'), {}))
  await eventually('it is refused', () => log.having('client cut off').length > 0)
  assert.match(log.having('client cut off')[0], /address=127\.0\.0\.1 reason="peer did not return a certificate"$/)
  await front.stop()
})

test('where certificates name the users, one without a common name is refused: it could take any name', async () => {
  const log = new LogLines()
  const front = await startFront({
    listen: ['mqtts://127.0.0.1:0'],
    tls: { ...server, caFile: authority.caFile, requireClientCert: true },
    certificateNameIsUser: true,
    logger: log.logger,
  })
  const nameless = pemOf(authority.issue('', 'nameless', { subject: '/O=somebody' }))
  assert.not(await isLetIn(urlOf(front, 'mqtts'), { ...nameless, username: 'admin', password: 'x' }))
  assert.match(log.having('login refused')[0], 'no common name')
  await front.stop()
})

test('a certificate that is revoked is refused, also one that is connected when the list is read again; others come back', async () => {
  const log = new LogLines()
  const own = new Authority()
  const [stolen, kept] = [own.issue('stolen'), own.issue('kept')]
  const crlFile = own.revoke([], 'revoked.pem')
  const front = await startFront({
    listen: ['mqtts://127.0.0.1:0', 'wss://127.0.0.1:0'],
    tls: { ...server, caFile: own.caFile, crlFile, requireClientCert: true },
    logger: log.logger,
  })
  const url = urlOf(front, 'mqtts')
  const clients = [await connectTo(url, pemOf(stolen)), await connectTo(urlOf(front, 'wss'), pemOf(kept))]
  const closed = clients.map((client) => new Promise<void>((resolve) => client.once('close', resolve)))
  own.revoke([stolen], 'revoked.pem')
  await front.front.reloadCertificates()
  await Promise.all(closed)
  for (const protocol of ['mqtts', 'wss']) {
    assert.not(await isLetIn(urlOf(front, protocol), pemOf(stolen)))
    assert.ok(await isLetIn(urlOf(front, protocol), pemOf(kept)))
  }
  await eventually('both are told', () => log.having('not good: CERT_REVOKED').length === 2)
  own.revoke([stolen], 'revoked.pem', '20010101000000Z')
  await front.front.reloadCertificates()
  assert.not(await isLetIn(url, pemOf(kept)))
  await eventually('it is told', () => log.having('not good: CRL_HAS_EXPIRED').length === 1)
  await front.stop()
})

test('when the authorities of client certificates change, who has shown one is judged again; others stay', async () => {
  const other = new Authority()
  const caFile = join(authority.folder, 'trusted.pem')
  writeFileSync(caFile, readFileSync(authority.caFile))
  const front = await startFront({
    listen: ['mqtts://127.0.0.1:0', 'wss://127.0.0.1:0'],
    tls: { ...server, caFile, requireClientCert: false },
  })
  const url = urlOf(front, 'mqtts')
  const shown = [await connectTo(url, pem('sensor-8')), await connectTo(urlOf(front, 'wss'), pem('sensor-9'))]
  const none = await connectTo(url)
  await front.front.reloadCertificates()
  for (const client of [...shown, none]) await client.publishAsync('t', 'the same authority', { qos: 1 })
  const closed = shown.map((client) => new Promise<void>((resolve) => client.once('close', resolve)))
  writeFileSync(caFile, readFileSync(other.caFile))
  await front.front.reloadCertificates()
  await Promise.all(closed)
  await none.publishAsync('t', 'still there', { qos: 1 })
  assert.not(await isLetIn(url, pem('sensor-8')))
  assert.ok(await isLetIn(url, pemOf(other.issue('sensor-8'))))
  await front.stop()
})

test('where client certificates are optional, none is let in and a strange one is not', async () => {
  const tls = { ...server, caFile: authority.caFile, requireClientCert: false }
  const front = await startFront({ listen: ['mqtts://127.0.0.1:0'], tls })
  const { certFile, keyFile } = new Authority().issue('stranger')
  const strange = { cert: readFileSync(certFile), key: readFileSync(keyFile) }
  assert.not(await isLetIn(urlOf(front, 'mqtts'), strange))
  await (await connectTo(urlOf(front, 'mqtts'))).endAsync()
  await front.stop()
})

test('a renewed certificate is shown to new connections; a broken one changes nothing and is named', async () => {
  const log = new LogLines()
  const files = authority.issue('before', 'renewed')
  const front = await startFront({
    listen: ['mqtts://127.0.0.1:0', 'wss://127.0.0.1:0'],
    tls: { ...files, requireClientCert: false },
    logger: log.logger,
  })
  const nameShown = (protocol: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = tlsConnect({ port: Number(new URL(urlOf(front, protocol)).port), host: '127.0.0.1', ca }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN))
        socket.destroy()
      }).on('error', reject)
    })
  const old = await connectTo(urlOf(front, 'mqtts'))
  assert.is(await nameShown('mqtts'), 'before')
  authority.issue('after', 'renewed')
  await front.front.reloadCertificates()
  assert.equal([await nameShown('mqtts'), await nameShown('wss')], ['after', 'after'])
  writeFileSync(files.certFile, 'not a certificate')
  await front.front.reloadCertificates()
  assert.is(await nameShown('mqtts'), 'after')
  assert.match(log.having('certificate not renewed')[0], files.certFile)
  await old.publishAsync('t', 'still connected', { qos: 1 })
  await front.stop()
})

test('who stops in the middle of a TLS or WebSocket handshake is cut off, and counts as a connection until then', async () => {
  const log = new LogLines()
  const front = await startFront({
    listen: ['mqtts://127.0.0.1:0', 'ws://127.0.0.1:0', '127.0.0.1:0'],
    tls: { ...server, requireClientCert: false },
    limits: { connectTimeoutMs: 1000, maxConnections: 2 },
    logger: log.logger,
  })
  const portOf = (protocol: string) => Number(new URL(urlOf(front, protocol)).port)
  const halves = [await RawClient.open(portOf('mqtts')), await RawClient.open(portOf('ws'))]
  halves[1].write(Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n'))
  await (await RawClient.open(portOf('mqtt'))).whenClosed()
  for (const half of halves) await half.whenClosed()
  await RawClient.connected(portOf('mqtt'))
  await front.stop()
  assert.is(log.having('no end to its TLS or WebSocket handshake').length, 2)
})

uvuTest('[MQTT-6.0.0-1] a WebSocket message that is not binary closes the connection', async () => {
  const front = await startFront({ listen: ['ws://127.0.0.1:0'] })
  const socket = new WebSocket(urlOf(front, 'ws'), 'mqtt')
  await new Promise((resolve) => socket.once('open', resolve))
  socket.send('text')
  const code = await new Promise((resolve) => socket.once('close', resolve))
  assert.is(code, 1003)
  await front.stop()
})

uvuTest('[MQTT-6.0.0-2] packets may be spread over messages, and share one', async () => {
  const front = await startFront({ listen: ['ws://127.0.0.1:0'] })
  const socket = new WebSocket(urlOf(front, 'ws'), 'mqtt')
  await new Promise((resolve) => socket.once('open', resolve))
  const bytes = Buffer.concat([
    connectPacket({}),
    subscribePacket(1, ['t', 0]),
    publishPacket('t', 'in parts', { qos: 1, id: 2 }),
  ])
  let received = Buffer.alloc(0)
  const answered = new Promise<void>((resolve) =>
    socket.on('message', (data: Buffer) => {
      received = Buffer.concat([received, data])
      if (received.length === 4 + 5 + 4 + publishPacket('t', 'in parts').length) resolve()
    }),
  )
  for (const byte of bytes.subarray(0, 20)) socket.send(Buffer.from([byte]))
  socket.send(bytes.subarray(20))
  await answered
  assert.ok(received.includes('in parts'))
  socket.close()
  await front.stop()
})

for (const [name, protocol, headers, status] of [
  ['does not ask for the subprotocol mqtt [MQTT-6.0.0-3]', [], {}, 400],
  ['comes from a web page of another host', ['mqtt'], { origin: 'https://evil.example' }, 403],
  [
    'comes from a web page whose name was made to point here',
    ['mqtt'],
    { origin: 'http://evil.example', host: 'evil.example' },
    403,
  ],
] as const)
  uvuTest(`a WebSocket client that ${name} is refused with ${status}`, async () => {
    const front = await startFront({ listen: ['ws://127.0.0.1:0'] })
    const socket = new WebSocket(urlOf(front, 'ws'), [...protocol], { headers })
    const error = await new Promise<Error>((resolve) => socket.once('error', resolve))
    assert.match(error.message, String(status))
    await front.stop()
  })

uvuTest('web pages of this host and those of the configuration may connect', async () => {
  const front = await startFront({ listen: ['ws://127.0.0.1:0'], allowedOrigins: ['https://panel.example'] })
  for (const origin of ['http://127.0.0.1:8080', 'https://panel.example']) {
    const socket = new WebSocket(urlOf(front, 'ws'), 'mqtt', { headers: { origin } })
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
    assert.is(socket.protocol, 'mqtt')
    socket.terminate()
  }
  await front.stop()
})

uvuTest('a plain HTTP request to a WebSocket listener is answered with 426', async () => {
  const front = await startFront({ listen: ['ws://127.0.0.1:0'] })
  const response = await fetch(urlOf(front, 'ws').replace('ws:', 'http:'))
  assert.is(response.status, 426)
  await front.stop()
})

uvuTest('a subscriber over WebSocket that reads nothing delays nobody, and its messages are dropped', async () => {
  const front = await startFront({
    listen: ['ws://127.0.0.1:0'],
    limits: { maxQueuedBytesPerConnection: 64 * 1024 },
  })
  const frozen = new WebSocket(urlOf(front, 'ws'), 'mqtt')
  await new Promise((resolve) => frozen.once('open', resolve))
  frozen.send(Buffer.concat([connectPacket({ clientId: 'frozen' }), subscribePacket(1, ['#', 0])]))
  await new Promise<void>((resolve) =>
    frozen.on('message', (data: Buffer) => {
      if (data.includes(0x90)) resolve()
    }),
  )
  frozen.pause()
  const publisher = await connectTo(urlOf(front, 'ws'))
  while (front.front.stats().droppedMessages < 10) await publisher.publishAsync('bulk', 'x'.repeat(20_000), { qos: 0 })
  frozen.terminate()
  await front.stop()
})

uvuTest.run()
