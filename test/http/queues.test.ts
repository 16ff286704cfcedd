import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Api, startApi } from './api.js'
import { call, post } from './request-helper.js'

const test = suite('work queues over HTTP')
let api: Api
const at = '/v1/queues/jobs/workers'

test.before.each(async () => {
  const limited = {
    stream: 'jobs',
    group: 'workers',
    maxAttempts: 2,
    deadLetter: 'jobs-dead',
    visibilityTimeoutMs: 30_000,
  }
  api = await startApi([{ name: 'jobs' }, { name: 'jobs-dead', topics: [] }], { queues: [limited] })
})
test.after.each(() => api.close())

/** Resolves once so many requests wait. */
async function polls(count: number): Promise<void> {
  const deadline = Date.now() + 5_000
  while (api.server.stats().waitingPolls !== count) {
    if (Date.now() > deadline) throw new Error(`${api.server.stats().waitingPolls} requests wait, not ${count}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const receive = (body: unknown = {}) => post(api.address, `${at}/receive`, body)

test('a message is received, acknowledged and gone', async () => {
  await api.append('jobs', 0, 'a', 'b')
  const { status, json } = await receive()
  assert.is(status, 200)
  const [{ value, topic, offset, attempt, receipt }] = json.messages
  assert.equal({ value, topic, offset, attempt }, { value: 'a', topic: 'sensors/1/temp', offset: 0, attempt: 1 })
  assert.equal((await post(api.address, `${at}/ack`, { receipts: [receipt] })).json, { acked: 1, stale: [] })
  const { json: queue } = await call(api.address, at)
  assert.equal([queue.backlog, queue.in_flight, queue.max_attempts, queue.dead_letter], [0, 1, 2, 'jobs-dead'])
  assert.match(
    (await call(api.address, '/metrics')).text,
    /sluice_queue_in_flight_messages\{stream="jobs",group="workers"\} 1/,
  )
})

test('a receive that waits is answered by the next message, and by nothing when the time is up', async () => {
  assert.equal((await receive({ wait_ms: 20 })).json, { messages: [], lost: [] })
  const waiting = receive({ wait_ms: 30_000 })
  await polls(1)
  await api.append('jobs', 0, 'late')
  assert.is((await waiting).json.messages[0].value, 'late')
})

test('a worker that hangs up while it waits takes no message with it', async () => {
  const abort = new AbortController()
  const gone = call(api.address, `${at}/receive`, {
    method: 'POST',
    body: '{"wait_ms":30000}',
    headers: { 'content-type': 'application/json' },
    signal: abort.signal,
  })
  await polls(1)
  abort.abort()
  assert.is(
    await gone.then(
      () => 'answered',
      () => 'gone',
    ),
    'gone',
  )
  await polls(0)
  await api.append('jobs', 0, 'a')
  assert.is((await receive()).json.messages[0].attempt, 1)
})

test('a message given back too often is a dead letter that can be read, and redriven', async () => {
  await api.append('jobs', 0, 'poison')
  for (const reason of ['first', 'second']) {
    const [{ receipt }] = (await receive()).json.messages
    assert.equal((await post(api.address, `${at}/nack`, { receipts: [receipt], reason })).json, {
      nacked: 1,
      stale: [],
    })
  }
  assert.equal((await receive()).json.messages, [])
  const { json } = await call(api.address, '/v1/streams/jobs-dead/partitions/0/records')
  const headers = Object.fromEntries(
    json.records[0].headers.map(({ key, value }: Record<string, string>) => [key, value]),
  )
  assert.is(headers['sluice.dead.reason'], 'second')
  assert.is(headers['sluice.dead.offset'], '0')
  assert.equal((await post(api.address, `${at}/redrive`, {})).json, { redriven: 1, gone: 0 })
  assert.is((await receive()).json.messages[0].value, 'poison')
})

test('bad input is refused by name, and leaves nothing behind', async () => {
  const cases: [string, unknown, string][] = [
    ['receive', { max_messages: 0 }, 'INVALID_REQUEST'],
    ['receive', { max_messages: 1_001 }, 'INVALID_REQUEST'],
    ['receive', { visibility_timeout_ms: 1 }, 'INVALID_REQUEST'],
    ['receive', { wait_ms: 60_001 }, 'INVALID_REQUEST'],
    ['receive', { order: 'sideways' }, 'INVALID_REQUEST'],
    ['receive', { start: 'yesterday' }, 'INVALID_REQUEST'],
    ['receive', { frobnicate: 1 }, 'INVALID_REQUEST'],
    ['ack', { receipts: [] }, 'INVALID_REQUEST'],
    ['ack', { receipts: ['0-0-a'] }, 'GROUP_ID_NOT_FOUND'],
    ['nack', { receipts: ['0-0-a'], reason: 'x'.repeat(257) }, 'INVALID_REQUEST'],
    ['extend', { receipts: ['0-0-a'] }, 'INVALID_REQUEST'],
    ['redrive', {}, 'GROUP_ID_NOT_FOUND'],
  ]
  for (const [action, body, code] of cases)
    assert.is(
      (await post(api.address, `${at}/${action}`, body)).json.error.code,
      code,
      `${action} ${JSON.stringify(body)}`,
    )
  assert.is(
    (await post(api.address, '/v1/queues/nowhere/q/receive', {})).json.error.code,
    'UNKNOWN_STREAM_OR_PARTITION',
  )
  assert.equal((await call(api.address, '/v1/queues')).json, { queues: [] })
})

test('a removed queue is forgotten', async () => {
  await api.append('jobs', 0, 'a')
  await receive()
  assert.is((await call(api.address, at, { method: 'DELETE' })).status, 200)
  assert.is((await call(api.address, at)).status, 404)
})

test.run()
