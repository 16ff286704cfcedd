// test-run: limit 120 s
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GiveUp, SluiceClient, type WorkerOptions, type WorkMessage } from '../../src/client/index.js'
import { codeOf } from '../helpers/rejection.js'
import { type Api, startApi } from '../http/api.js'
import { call } from '../http/request-helper.js'

const test = suite('producer and worker')
let api: Api
let client: SluiceClient

test.before.each(async () => {
  const limited = { stream: 'jobs', group: 'limited', maxAttempts: 2, deadLetter: 'dead', visibilityTimeoutMs: 30_000 }
  api = await startApi([{ name: 'jobs' }, { name: 'dead', topics: [] }], { queues: [limited] })
  client = new SluiceClient({ url: api.address })
})
test.after.each(async () => {
  client.close()
  await api.close()
})

async function produce(count: number): Promise<void> {
  const producer = client.producer({ stream: 'jobs' })
  await producer.sendAllOf(Array.from({ length: count }, (_, i) => ({ topic: `t/${i % 3}`, value: `m${i}` })))
  await producer.close()
}

/** Works until the handler has been asked so often. */
async function workUntil(
  calls: number,
  options: Partial<WorkerOptions>,
  handler: (message: WorkMessage) => unknown,
): Promise<void> {
  let count = 0
  let enough: () => void = () => {}
  const done = new Promise<void>((resolve) => (enough = resolve))
  const standard = { stream: 'jobs', group: 'q', retryDelayMs: () => 1, waitMs: 1_000 }
  const worker = client.worker({ ...standard, ...options }, async (message) => {
    try {
      await handler(message)
    } finally {
      if (++count === calls) enough()
    }
  })
  await Promise.race([done, worker.ended])
  await worker.close()
}

test('records sent in one go are stored in order, each with its position', async () => {
  const producer = client.producer({ stream: 'jobs' })
  const sent = Array.from({ length: 2_500 }, (_, i) =>
    producer.send({ topic: 'a', value: Buffer.from([i & 255, 255]) }),
  )
  const positions = await Promise.all(sent)
  assert.equal(
    positions.map(({ offset }) => offset),
    Array.from({ length: 2_500 }, (_, i) => i),
  )
  assert.ok(api.server.stats().requests < 20)
  assert.is(await codeOf(producer.send({ topic: 'a/#', value: 'x' })), 'INVALID_TOPIC')
  await producer.close()
  assert.is(await codeOf(producer.send({ topic: 'a', value: 'x' })), 'SHUTTING_DOWN')
})

test('every message is worked on once, by as many hands as asked for and no more', async () => {
  await produce(60)
  const seen: string[] = []
  let atWork = 0
  let most = 0
  await workUntil(60, { concurrency: 4 }, async ({ record }) => {
    most = Math.max(most, ++atWork)
    await new Promise((resolve) => setImmediate(resolve))
    atWork -= 1
    seen.push(record.text())
  })
  assert.is(new Set(seen).size, 60)
  assert.is(seen.length, 60)
  assert.is(most, 4)
  const { json } = await call(api.address, '/v1/queues/jobs/q')
  assert.equal([json.backlog, json.in_flight, json.waiting], [0, 0, 0])
})

test('what a handler throws comes again, and is a dead letter when it has been tried often enough', async () => {
  await produce(1)
  const attempts: number[] = []
  await workUntil(2, { group: 'limited' }, ({ attempt }) => {
    attempts.push(attempt)
    throw new Error('no such address')
  })
  assert.equal(attempts, [1, 2])
  const { json } = await call(api.address, '/v1/streams/dead/partitions/0/records')
  assert.is(
    json.records[0].headers.find(({ key }: { key: string }) => key === 'sluice.dead.reason').value,
    'no such address',
  )
})

test('a handler may give a message up at once', async () => {
  await produce(1)
  await workUntil(1, { group: 'limited' }, () => {
    throw new GiveUp('not JSON')
  })
  assert.is((await call(api.address, '/v1/queues/jobs/limited')).json.dead_lettered, 1)
})

test('a message that takes long stays with its worker', async () => {
  await produce(1)
  const attempts: number[] = []
  await workUntil(1, { visibilityTimeoutMs: 300 }, async ({ attempt }) => {
    attempts.push(attempt)
    await new Promise((resolve) => setTimeout(resolve, 900))
    const other = await call(api.address, '/v1/queues/jobs/q')
    assert.is(other.json.in_flight, 1)
  })
  assert.equal(attempts, [1])
})

test('a worker for a stream that is not there ends with its code', async () => {
  const worker = client.worker({ stream: 'nowhere', group: 'q' }, () => {})
  assert.is(await codeOf(worker.ended), 'UNKNOWN_STREAM_OR_PARTITION')
  await worker.close()
})

test.run()
