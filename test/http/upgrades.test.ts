// Requests that ask to go on as something else, and what bridges say of their devices.

import { once } from 'node:events'
import { connect } from 'node:net'
import { duplexPair } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import { BridgeDevices } from '../../src/http/bridge-devices.js'
import { HttpServer } from '../../src/http/http-server.js'
import { jsonReply, type Route } from '../../src/http/route.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { raw } from './request-helper.js'

const ROUTES: Route[] = [
  {
    method: 'POST',
    pattern: '/v1/queues',
    scope: 'none',
    handle: async (request) => jsonReply({ got: await request.json() }),
  },
  {
    method: 'GET',
    pattern: '/v1/streams',
    scope: 'none',
    handle: () => jsonReply({ plain: true }),
    upgrade() {
      const [ours, theirs] = duplexPair()
      ours.on('data', (chunk: Buffer) => ours.write(String(chunk).toUpperCase()))
      return theirs
    },
  },
]
let server: HttpServer
test.before.each(async () => {
  server = await HttpServer.start({ listen: ['127.0.0.1:0'], routes: ROUTES, logger: silentLogger })
})
test.after.each(() => server.stop())

const ask = (head: string, body = '') =>
  raw(server.addresses[0], `${head}\r\nHost: localhost\r\nConnection: close\r\n${body}`)

test('a request that would rather speak HTTP/2 is answered as it is, body and all', async () => {
  const h2c = 'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'
  const body = '{"a":1}'
  const [host, port] = server.addresses[0].split(':')
  const socket = connect(Number(port), host)
  const post = `POST /v1/queues HTTP/1.1\r\nHost: localhost\r\n${h2c}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
  socket.write(post)
  const [first] = await once(socket, 'data')
  assert.match(String(first), /^HTTP\/1\.1 200 .*\{"got":\{"a":1\}\}/s)
  // The connection is still good, and a body that comes later is waited for.
  socket.write(post.slice(0, -3))
  socket.write(post.slice(-3))
  const [second] = await once(socket, 'data')
  assert.match(String(second), /^HTTP\/1\.1 200 .*\{"got":\{"a":1\}\}/s)
  socket.destroy()
})

test('a connection goes on in both directions, with what was sent along, until the server stops', async () => {
  const [host, port] = server.addresses[0].split(':')
  const socket = connect(Number(port), host)
  socket.write(
    'GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: sluice-bridge\r\n\r\nearly ',
  )
  let got = ''
  socket.on('data', (chunk) => (got += chunk))
  while (!got.includes('EARLY')) await once(socket, 'data')
  assert.match(got, /^HTTP\/1\.1 101 /)
  socket.write('late')
  while (!got.includes('LATE')) await once(socket, 'data')
  const closed = once(socket, 'close')
  await server.stop()
  await closed
})

test('what does not go on as a connection says so, and so does what is not there', async () => {
  const wanted = 'Upgrade: sluice-bridge\r\nConnection: Upgrade\r\n\r\n'
  assert.match(await ask('POST /v1/queues HTTP/1.1', wanted), /^HTTP\/1\.1 400 Bad Request\r\n.*INVALID_REQUEST/s)
  assert.match(await ask('GET /v1/nothing HTTP/1.1', wanted), /^HTTP\/1\.1 404 /)
  assert.match(await ask('GET /v1/streams?x=1 HTTP/1.1', wanted), /^HTTP\/1\.1 400 .*unknown|400/s)
})

const DEVICE = {
  ...{ id: 'pump-7', line: 'shed.bus', kind: 'serial', address: '/dev/ttyUSB0', connected: true },
  ...{ first_seen_ms: 1, last_seen_ms: 2, battery_percent: 80, battery_millivolts: null, signal_dbm: null },
  ...{ published: 5, resends: 1, gaps: 0, crc_errors: 2, delivered: 0, rejected: { replay: 1 } },
}
const LINE = {
  ...{ line: 'shed.bus', kind: 'serial', address: '/dev/ttyUSB0', open: true, received_bytes: 10, sent_bytes: 3 },
  ...{ damaged_frames: 2, dropped_answers: 0, rejected: {} },
}

test('what a bridge says of its devices is shown until it says otherwise, and as away once it is silent', async () => {
  const clock = new FakeClock()
  const devices = new BridgeDevices(clock)
  devices.take('shed', { devices: [DEVICE], lines: [LINE] })
  assert.equal(
    devices.list().map(({ id, connected, crcErrors }) => [id, connected, crcErrors]),
    [['pump-7', true, 2]],
  )
  await clock.advance(61_000)
  assert.equal([devices.list()[0].connected, devices.lines()[0].open], [false, false])
  devices.take('shed', { devices: [], lines: [LINE] })
  assert.equal([devices.list().length, devices.lines()[0].open], [0, true])
})

test('a bridge cannot say just anything', () => {
  const devices = new BridgeDevices(new FakeClock())
  for (const device of [
    { ...DEVICE, id: 7 },
    { ...DEVICE, published: '5' },
    { ...DEVICE, rejected: [] },
    { ...DEVICE, more: 1 },
    { ...DEVICE, id: 'a\n' },
    null,
  ])
    assert.throws(
      () => devices.take('shed', { devices: [device], lines: [] }),
      (error: unknown) => error instanceof SluiceError && error.code === 'INVALID_REQUEST',
      JSON.stringify(device),
    )
  assert.throws(() => devices.take('shed', { devices: Array(10_001).fill(DEVICE), lines: [] }), /list/)
})

test.run()
