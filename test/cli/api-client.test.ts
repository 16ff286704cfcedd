import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { ApiClient } from '../../src/cli/api-client.js'
import { fakeNode } from './cli-helper.js'

async function failureOf(promise: Promise<unknown>): Promise<SluiceError> {
  try {
    await promise
  } catch (error) {
    assert.instance(error, SluiceError)
    return error as SluiceError
  }
  throw new Error('it succeeded')
}

test('a request carries method, path, query, body and token, and gives the parsed answer', async () => {
  const node = await fakeNode(200, { offset: 7 })
  const api = new ApiClient(`${node.url}/behind/`, 'secret')
  assert.equal(await api.post('/v1/x', { a: 'ü' }, { query: { n: 1, none: undefined, text: 'a b&c' } }), { offset: 7 })
  const [{ method, url, headers, body }] = node.requests
  assert.is(method, 'POST')
  assert.is(url, '/behind/v1/x?n=1&text=a+b%26c')
  assert.is(headers.authorization, 'Bearer secret')
  assert.is(headers['content-type'], 'application/json')
  assert.equal(JSON.parse(body), { a: 'ü' })
  api.close()
  await node.close()
})

test('an error of the node comes back as the SluiceError it left as', async () => {
  const details = { log_start_offset: 5, high_watermark: 9 }
  const node = await fakeNode(416, { error: { code: 'OFFSET_OUT_OF_RANGE', message: 'offset 3 is gone', details } })
  const error = await failureOf(new ApiClient(node.url).get('/v1/x'))
  assert.is(error.code, 'OFFSET_OUT_OF_RANGE')
  assert.is(error.message, 'offset 3 is gone')
  assert.equal(error.details, { ...details, http_status: 416 })
  await node.close()
})

test('a code this version does not know keeps its message', async () => {
  const node = await fakeNode(418, { error: { code: 'TEAPOT', message: 'short and stout' } })
  const error = await failureOf(new ApiClient(node.url).get('/'))
  assert.is(error.code, 'INTERNAL')
  assert.is(error.message, 'short and stout')
  await node.close()
})

test('something else that answers HTTP is told apart from a node', async () => {
  for (const [status, body] of [
    [404, '<html>'],
    [200, '<html>'],
    [500, '{"message":1}'],
    [302, ''],
  ] as const) {
    const node = await fakeNode(status, body)
    const error = await failureOf(new ApiClient(node.url).get('/v1/streams'))
    assert.match(error.message, /is not a Sluice node.*check --url/)
    await node.close()
  }
})

test('no node at all is NOT_REACHABLE and says how to start one', async () => {
  const node = await fakeNode(200, {})
  await node.close()
  const error = await failureOf(new ApiClient(node.url).get('/'))
  assert.is(error.code, 'NOT_REACHABLE')
  assert.match(error.message, `no node answers at ${node.url}; is it running? start one with: sluice serve`)
  assert.is((await failureOf(new ApiClient('http://no-such-host.invalid').get('/'))).code, 'NOT_REACHABLE')
})

test('a connection that is closed without an answer is NOT_REACHABLE', async () => {
  const server = createTcpServer((socket) => socket.once('data', () => socket.destroy()))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  assert.is((await failureOf(new ApiClient(`http://127.0.0.1:${port}`).get('/'))).code, 'NOT_REACHABLE')
  server.close()
})

test('an answer is taken up to the maximum and refused one byte past it', async () => {
  const node = await fakeNode(200, '"1234567"')
  assert.is(await new ApiClient(node.url, undefined, 9).get('/'), '1234567')
  assert.match((await failureOf(new ApiClient(node.url, undefined, 8).get('/'))).message, /larger than 8 bytes/)
  await node.close()
})

test('an aborted request throws the AbortError, which is no failure of the node', async () => {
  const server = createTcpServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const controller = new AbortController()
  const pending = new ApiClient(`http://127.0.0.1:${port}`).get('/', { signal: controller.signal })
  controller.abort()
  try {
    await pending
    assert.unreachable()
  } catch (error) {
    assert.is((error as Error).name, 'AbortError')
  }
  server.close()
})

test('an empty answer is null', async () => {
  const node = await fakeNode(204, '')
  assert.is(await new ApiClient(node.url).delete('/'), null)
  await node.close()
})

test.run()
