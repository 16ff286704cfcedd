// test-run: limit 60 s
import { once } from 'node:events'
import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { type Api, startApi } from '../http/api.js'
import { call } from './request-helper.js'

const test = suite('following a partition')
let api: Api
const PATH = '/v1/streams/mqtt/partitions/0/records?follow=true'
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Outside the heap, without what nobody refers to any more. */
function heldBytes(): number {
  collectGarbage()
  return process.memoryUsage().external
}

const NDJSON = { accept: 'application/x-ndjson' }

test.before.each(async () => {
  api = await startApi()
})
test.after.each(() => api.close())

test('what is stored comes, then what is written, a record a line', async () => {
  await api.append('mqtt', 0, 'a', 'b')
  const abort = new AbortController()
  const response = await fetch(`http://${api.address}${PATH}`, { headers: NDJSON, signal: abort.signal })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  const until = async (lines: number): Promise<string[]> => {
    while (text.split('\n').length <= lines) text += Buffer.from((await reader.read()).value ?? []).toString()
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line).value)
  }
  assert.equal(await until(2), ['a', 'b'])
  await api.append('mqtt', 0, 'c')
  assert.equal(await until(3), ['a', 'b', 'c'])
  abort.abort()
})

test('a reader that stops reading holds no more than a stretch, and gets the rest when it reads on', async () => {
  const value = 'x'.repeat(10_000)
  for (let i = 0; i < 40; i++) await api.append('mqtt', 0, ...Array.from({ length: 50 }, () => value))
  const [host, port] = api.address.split(':')
  const socket = connect(Number(port), host)
  await once(socket, 'connect')
  socket.write(`GET ${PATH} HTTP/1.1\r\nHost: ${api.address}\r\nAccept: application/x-ndjson\r\n\r\n`)
  await once(socket, 'readable')
  const before = heldBytes()
  await new Promise((resolve) => setTimeout(resolve, 300))
  // What was let go of may take the collector more than one round; what is held stays.
  await eventually('the rest stays in the log', () => heldBytes() - before < 8 * 1024 * 1024, 20_000)
  let bytes = 0
  socket.on('data', (chunk) => (bytes += chunk.length))
  while (bytes < 40 * 50 * 10_000) await once(socket, 'data')
  socket.destroy()
})

test('the end of the server ends the answer in good order', async () => {
  await api.append('mqtt', 0, 'a')
  const answer = call(api.address, PATH, { headers: NDJSON })
  const deadline = Date.now() + 5_000
  while (api.server.stats().waitingPolls === 0 && Date.now() < deadline) await new Promise((r) => setImmediate(r))
  await api.server.stop()
  assert.is(JSON.parse((await answer).text).value, 'a')
})

test('what cannot be followed is refused before it begins', async () => {
  const codeAt = async (path: string, headers: Record<string, string> = NDJSON) =>
    (await call(api.address, path, { headers })).json.error.code
  assert.is(await codeAt(`${PATH}&offset=7`), 'OFFSET_OUT_OF_RANGE')
  assert.is(await codeAt(`${PATH}&max_records=7`), 'INVALID_REQUEST')
  assert.is(await codeAt(PATH, {}), 'UNSUPPORTED_MEDIA_TYPE')
})

test.run()
