import { once } from 'node:events'
import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { Logger, silentLogger } from '../../src/base/logger.js'
import type { HttpLimits } from '../../src/http/http-limits.js'
import { HttpServer } from '../../src/http/http-server.js'
import { jsonReply, type Route } from '../../src/http/route.js'
import { call, post, raw } from './request-helper.js'

const test = suite('HTTP server')
const running: HttpServer[] = []

async function start(routes: Route[], limits: Partial<HttpLimits> = {}, logger = silentLogger) {
  const server = await HttpServer.start({ listen: ['127.0.0.1:0'], routes, logger, limits })
  running.push(server)
  return { server, address: server.addresses[0] }
}

const waitForever: Route = {
  method: 'GET',
  pattern: '/wait',
  handle: async (request) => {
    await request.wait({ ready: () => false, subscribe: () => () => {}, waitMs: 60_000 })
    return jsonReply({ waited: true })
  },
}

test.after.each(async () => {
  for (const server of running.splice(0)) await server.stop()
})

test('path parameters arrive decoded and checked', async () => {
  const { address } = await start([
    { method: 'GET', pattern: '/v1/groups/{group}', handle: (request) => jsonReply(request.params) },
  ])
  assert.equal((await call(address, '/v1/groups/plant-7.line%5F2')).json, { group: 'plant-7.line_2' })
})

test('a path that steps out, hides a separator or holds a NUL is refused with 400', async () => {
  const { address } = await start([
    { method: 'GET', pattern: '/v1/groups/{group}', handle: () => jsonReply('reached') },
    { method: 'GET', pattern: '/v1/streams/{stream}', handle: () => jsonReply('reached') },
  ])
  const paths = [
    '/v1/groups/../streams',
    '/v1/groups/..',
    '/v1/groups/%2e%2e',
    '/v1/groups/a%2fb',
    '/v1/groups/a%5cb',
    '/v1/groups/a%00',
    '/v1/groups/%zz',
    '/v1/groups/%c0%ae%c0%ae',
    '/v1/streams/a..b',
    '/v1/streams/.a',
    '/v1/streams/a.',
    '/v1/streams/a.b.c',
    `/v1/streams/${'a'.repeat(65)}`,
    '/v1/streams/a%252e',
  ]
  for (const path of paths) {
    const answer = await raw(address, `GET ${path} HTTP/1.1\r\nHost: ${address}\r\nConnection: close\r\n\r\n`)
    assert.match(answer, /^HTTP\/1\.1 400 /, path)
    assert.match(answer, 'INVALID_REQUEST', path)
  }
})

test('an unknown address is 404, a wrong method 405 with the right ones named', async () => {
  const { address } = await start([
    { method: 'GET', pattern: '/v1/streams', handle: () => jsonReply([]) },
    { method: 'POST', pattern: '/v1/streams', handle: () => jsonReply([]) },
  ])
  const unknown = await call(address, '/v2')
  assert.is(unknown.status, 404)
  assert.is(unknown.json.error.code, 'NOT_FOUND')
  const wrong = await call(address, '/v1/streams', { method: 'DELETE' })
  assert.is(wrong.status, 405)
  assert.is(wrong.headers.get('allow'), 'GET, POST')
})

test('a literal segment wins over a parameter', async () => {
  const { address } = await start([
    { method: 'GET', pattern: '/v1/groups/{group}', handle: () => jsonReply('parameter') },
    { method: 'GET', pattern: '/v1/groups/all', handle: () => jsonReply('literal') },
  ])
  assert.is((await call(address, '/v1/groups/all')).json, 'literal')
})

test('a misspelt or repeated query parameter is refused by name', async () => {
  const { address } = await start([
    { method: 'GET', pattern: '/records', query: ['offset', 'wait_ms'], handle: () => jsonReply([]) },
  ])
  const misspelt = await call(address, '/records?ofset=3')
  assert.is(misspelt.status, 400)
  assert.match(misspelt.json.error.message, 'unknown parameter "ofset": this address takes offset, wait_ms')
  assert.is((await call(address, '/records?offset=1&offset=2')).status, 400)
})

test('a fault of ours answers 500 without a word about its inside, and the log has the stack', async () => {
  const lines: string[] = []
  const logger = new Logger('http', 'info', (line) => lines.push(line))
  const fails: Route = {
    method: 'GET',
    pattern: '/fails',
    handle: () => {
      throw new Error('secret /var/lib/sluice/state')
    },
  }
  const { address } = await start([fails], {}, logger)
  const answer = await call(address, '/fails')
  assert.is(answer.status, 500)
  assert.is(answer.json.error.code, 'INTERNAL')
  assert.not.match(answer.text, 'secret')
  assert.not.match(answer.text, '.js')
  assert.match(lines.join(''), 'secret')
})

test('an operating error answers with its code, its details and the status of the catalogue', async () => {
  const full: Route = {
    method: 'POST',
    pattern: '/records',
    handle: () => {
      throw new SluiceError('STORAGE_FULL', 'the disk is full', { freeBytes: 0 })
    },
  }
  const { address } = await start([full])
  const answer = await post(address, '/records', {})
  assert.is(answer.status, 507)
  assert.equal(answer.json, {
    error: { code: 'STORAGE_FULL', message: 'the disk is full', details: { free_bytes: 0 } },
  })
})

test('a body at the limit passes, one byte more is refused, whether its length was declared or not', async () => {
  const length: Route = {
    method: 'POST',
    pattern: '/length',
    handle: async (request) => jsonReply((await request.body()).length),
  }
  const { address } = await start([length], { maxBodyBytes: 100_000 })
  const send = (body: string | ReadableStream) =>
    call(address, '/length', { method: 'POST', body, duplex: 'half' } as RequestInit & { duplex: 'half' })
  assert.is((await send('x'.repeat(100_000))).json, 100_000)
  const refused = await send('x'.repeat(100_001))
  assert.is(refused.status, 413)
  assert.is(refused.json.error.message, 'the body is larger than 100000 bytes: send less at once')
  const chunked = (bytes: number) => new Blob(['x'.repeat(bytes)]).stream()
  assert.is((await send(chunked(100_000))).json, 100_000)
  assert.is((await send(chunked(100_001))).status, 413)
})

test('a body that is not JSON, or says it is something else, is refused', async () => {
  const echo: Route = { method: 'POST', pattern: '/echo', handle: async (request) => jsonReply(await request.json()) }
  const { address } = await start([echo])
  const send = (body: string, type: string) =>
    call(address, '/echo', { method: 'POST', body, headers: { 'content-type': type } })
  assert.equal((await send('{"a":1}', 'application/json; charset=utf-8')).json, { a: 1 })
  assert.is((await send('{"a":', 'application/json')).status, 400)
  assert.is((await send('<a/>', 'text/xml')).status, 415)
})

test('an address that is too long is refused', async () => {
  const { address } = await start([{ method: 'GET', pattern: '/a', handle: () => jsonReply('a') }], {
    maxUrlBytes: 100,
  })
  assert.is((await call(address, `/a?${'x'.repeat(98)}`)).status, 400)
})

test('a request that is not HTTP gets one 400 and no more', async () => {
  const { address } = await start([])
  const answer = await raw(address, '\x10\x20\x00\x04MQTT')
  assert.match(answer, /^HTTP\/1\.1 400 /)
  assert.match(answer, '"code":"INVALID_REQUEST"')
})

test('a request whose headers do not arrive in time is closed with 408', async () => {
  const { address } = await start([], { headersTimeoutMs: 50 })
  const answer = await raw(address, 'GET / HTTP/1.1\r\nHost: localhost\r\n')
  assert.match(answer, /^HTTP\/1\.1 408 /)
})

test('a page that rebinds its own name to loopback, or posts across sites, is turned away', async () => {
  const { address } = await start([
    { method: 'GET', pattern: '/a', handle: () => jsonReply('a') },
    { method: 'POST', pattern: '/a', handle: () => jsonReply('a') },
  ])
  const ask = (method: string, headers: string) =>
    raw(address, `${method} /a HTTP/1.1\r\n${headers}Connection: close\r\nContent-Length: 0\r\n\r\n`)
  assert.match(await ask('GET', 'Host: evil.example:7883\r\n'), /^HTTP\/1\.1 403 /)
  assert.match(await ask('GET', 'Host: localhost:7883\r\n'), /^HTTP\/1\.1 200 /)
  assert.match(await ask('GET', 'Host: [::1]:7883\r\n'), /^HTTP\/1\.1 200 /)
  assert.match(await ask('POST', 'Host: localhost\r\nOrigin: https://evil.example\r\n'), /^HTTP\/1\.1 403 /)
  assert.match(await ask('POST', 'Host: localhost\r\nOrigin: http://localhost\r\n'), /^HTTP\/1\.1 200 /)
})

test('a taken port is named, with the way out', async () => {
  const { address } = await start([])
  try {
    await start([]).then(() => HttpServer.start({ listen: [address], routes: [], logger: silentLogger }))
    assert.unreachable()
  } catch (error) {
    assert.instance(error, SluiceError)
    assert.is((error as SluiceError).code, 'ADDRESS_IN_USE')
    assert.match((error as SluiceError).message, address)
    assert.match((error as SluiceError).message, '[http] listen')
  }
})

test('a start that fails at its second address frees the first', async () => {
  const { address } = await start([])
  const other = await start([])
  await other.server.stop()
  const free = other.address
  let failed = false
  await HttpServer.start({ listen: [free, address], routes: [], logger: silentLogger }).catch(() => (failed = true))
  assert.ok(failed)
  running.push(await HttpServer.start({ listen: [free], routes: [], logger: silentLogger }))
})

test('long polls past their maximum are told to come back', async () => {
  const { server, address } = await start([waitForever], { maxWaitingPolls: 2 })
  const waiting = [call(address, '/wait'), call(address, '/wait')]
  while (server.stats().waitingPolls < 2) await new Promise((resolve) => setImmediate(resolve))
  const refused = await call(address, '/wait')
  assert.is(refused.status, 429)
  assert.is(refused.headers.get('retry-after'), '1')
  await server.stop()
  assert.equal(
    (await Promise.all(waiting)).map((answer) => answer.json),
    [{ waited: true }, { waited: true }],
  )
})

test('answers that clients leave where they are have a maximum, and those clients are cut off after the idle time-out', async () => {
  const big = Buffer.alloc(8 * 1024 * 1024, 0x61)
  const { server, address } = await start(
    [
      { method: 'GET', pattern: '/big', handle: () => ({ body: big }) },
      { method: 'GET', pattern: '/small', handle: () => jsonReply('small') },
      { method: 'GET', pattern: '/healthz', scope: 'none', handle: () => jsonReply('well') },
    ],
    { maxUnsentBytes: 2 * big.length, idleTimeoutMs: 3_000 },
  )
  const stuck = Array.from({ length: 2 }, () => {
    const socket = connect(Number(address.split(':')[1]), '127.0.0.1')
    socket.on('error', () => {})
    socket.pause()
    socket.write('GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n')
    return socket
  })
  while (server.stats().unsentBytes < 2 * big.length) await new Promise((resolve) => setImmediate(resolve))
  const refused = await call(address, '/small')
  assert.equal([refused.status, refused.json.error.code], [429, 'TOO_MANY_REQUESTS'])
  assert.is((await call(address, '/healthz')).status, 200, 'whoever watches the node still gets an answer')
  // Nothing but the time-out ends them: they neither read nor hang up.
  while (server.stats().unsentBytes > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.is((await call(address, '/small')).status, 200)
  assert.is((await call(address, '/big')).text.length, big.length)
  for (const socket of stuck) socket.destroy()
})

test('an answer that is read leaves nothing behind in the account', async () => {
  const { server, address } = await start([{ method: 'GET', pattern: '/a', handle: () => jsonReply('a') }])
  for (let i = 0; i < 20; i++) await call(address, '/a')
  while (server.stats().unsentBytes > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.is(server.stats().unsentBytes, 0)
})

test('a long poll ends when its client hangs up', async () => {
  const { server, address } = await start([waitForever])
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1')
  socket.write('GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (server.stats().waitingPolls < 1) await new Promise((resolve) => setImmediate(resolve))
  socket.destroy()
  await once(socket, 'close')
  while (server.stats().waitingPolls > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.is(server.stats().waitingPolls, 0)
})

test('stopping closes idle connections and stops listening', async () => {
  const { server, address } = await start([{ method: 'GET', pattern: '/a', handle: () => jsonReply('a') }])
  const socket = connect(Number(address.split(':')[1]), '127.0.0.1')
  socket.write('GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await once(socket, 'data')
  const closed = once(socket, 'close')
  await server.stop()
  await closed
  let refused = false
  await call(address, '/a').catch(() => (refused = true))
  assert.ok(refused)
})

test.run()
