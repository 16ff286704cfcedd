import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ProducerRequests, REMEMBERED_REQUESTS } from '../../src/http/producer-requests.js'
import type { PartitionId } from '../../src/record/record.js'
import { readAll, recordOf } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'
import { type Api, logProducer, startApi } from './api.js'
import { post } from './request-helper.js'

const test = suite('numbered requests')
const PATH = '/v1/streams/mqtt/records'
let api: Api
let directory: string
let retained: string[]

const start = async () => {
  api = await startApi([{ name: 'mqtt', partitions: 3 }], {
    directory,
    producer: (log) => {
      const producer = logProducer(log)
      retained = producer.retainedTopics
      return producer
    },
  })
}
test.before.each(async () => {
  directory = tempDir()
  await start()
})
test.after.each(() => api.close())

const records = (...values: string[]) => values.map((value) => ({ topic: 't', value }))
const send = (sequence: number, values: string[], more: object = {}) =>
  post(api.address, PATH, { producer_id: 'pump', sequence, records: records(...values), ...more })
const stored = async (partition = 0) =>
  (await readAll(api.log, 'mqtt', partition)).map(({ value }) => Buffer.from(value ?? []).toString())

test('a request that is sent again makes no second record and gets the same answer', async () => {
  const first = await send(0, ['a', 'b'])
  assert.equal(first.json, { records: [0, 1].map((offset) => ({ partition: 0, offset })), duplicate: false })
  const again = await send(0, ['a', 'b'])
  assert.is(again.status, 200)
  assert.equal(again.json, { ...first.json, duplicate: true })
  assert.equal((await send(2, ['c'])).json.records, [{ partition: 0, offset: 2 }])
  assert.equal(await stored(), ['a', 'b', 'c'])
})

test('it is known after a restart, over several partitions too', async () => {
  const body = {
    producer_id: 'pump',
    sequence: 0,
    records: ['p/2/x', 'p/0/x', 'p/2/y', 'p/1/x'].map((topic) => ({ topic, value: topic })),
  }
  const first = await post(api.address, PATH, body)
  assert.equal(
    first.json.records.map(({ partition, offset }: { partition: number; offset: number }) => [partition, offset]),
    [
      [2, 0],
      [0, 0],
      [2, 1],
      [1, 0],
    ],
  )
  await api.close()
  await start()
  assert.equal((await post(api.address, PATH, body)).json, { ...first.json, duplicate: true })
  assert.equal(await stored(2), ['p/2/x', 'p/2/y'])
  assert.is((await post(api.address, PATH, { ...body, sequence: 4 })).json.duplicate, false)
})

test('two copies at the same moment make one record, and both answers wait for the disk', async () => {
  const answers = await Promise.all([send(0, ['a']), send(0, ['a']), send(0, ['a'])])
  assert.equal(
    answers.map(({ json }) => json.duplicate),
    [false, true, true],
  )
  assert.equal(await stored(), ['a'])
})

test('a gap, an overlap and what is too old to be known are out of order, with the sequence that is next', async () => {
  await send(0, ['a', 'b'])
  for (const [sequence, values] of [
    [3, ['d']],
    [1, ['b', 'c']],
    [0, ['a']],
  ] as const) {
    const { status, json } = await send(sequence, [...values])
    assert.is(status, 409)
    assert.is(json.error.code, 'OUT_OF_ORDER_SEQUENCE')
    assert.is(json.error.details.expected, 2)
  }
  for (let i = 0; i < REMEMBERED_REQUESTS; i++) assert.is((await send(2 + i, ['x'])).status, 200)
  assert.is((await send(2, ['x'])).json.duplicate, true)
  assert.is((await send(0, ['a', 'b'])).json.error.code, 'OUT_OF_ORDER_SEQUENCE')
  assert.is((await stored()).length, 2 + REMEMBERED_REQUESTS)
})

test('a producer that begins anew with a higher epoch fences the one before', async () => {
  await send(0, ['a'])
  assert.is((await send(1, ['b'], { producer_epoch: 1 })).json.error.details.expected, 0)
  assert.is((await send(0, ['b'], { producer_epoch: 1 })).json.duplicate, false)
  const { status, json } = await send(1, ['zombie'])
  assert.is(status, 409)
  assert.is(json.error.code, 'FENCED_EPOCH')
  assert.equal(await stored(), ['a', 'b'])
})

test('a request that is refused uses no sequence up', async () => {
  await send(0, ['a'])
  const large = await send(1, ['x'.repeat(256 * 1024 + 1)])
  assert.is(large.json.error.code, 'RECORD_TOO_LARGE')
  const headers = await send(1, ['x'], {
    records: [{ topic: 't', value: 'x', headers: [{ key: 'k', value: 'x'.repeat(256 * 1024) }] }],
  })
  assert.is(headers.json.error.code, 'RECORD_TOO_LARGE')
  assert.is((await send(1, ['b'])).json.duplicate, false)
  assert.equal(await stored(), ['a', 'b'])
})

test('producers do not know of each other, nor does one in two streams; the raw body has the numbers in the query', async () => {
  const raw = (query: string) => post(api.address, `${PATH}?topic=t&${query}`, 'raw')
  assert.is((await raw('producer_id=a&sequence=7')).json.duplicate, false)
  assert.is((await raw('producer_id=a&sequence=7')).json.duplicate, true)
  assert.is((await raw('producer_id=b&sequence=7')).json.duplicate, false)
  assert.is((await stored()).length, 2)
})

test('a retained message is retained again when its request comes again, for a crash may have come between', async () => {
  const one = { producer_id: 'pump', sequence: 0, records: [{ topic: 't', value: 'a', retain: true }] }
  await post(api.address, PATH, one)
  assert.equal(retained, [])
  await post(api.address, PATH, one)
  assert.equal(retained, ['t'])
  await send(1, ['b'])
  await post(api.address, PATH, one)
  assert.equal(retained, ['t'], 'an older one does not replace what came later')
})

test('numbers that are no numbers are refused by name', async () => {
  for (const [body, word] of [
    [{ producer_id: 'a', records: records('x') }, 'sequence'],
    [{ sequence: 1, records: records('x') }, 'producer_id'],
    [{ producer_id: '../a', sequence: 1, records: records('x') }, 'producer_id'],
    [{ producer_id: 'a\u0000', sequence: 1, records: records('x') }, 'producer_id'],
    [{ producer_id: 'a', sequence: -1, records: records('x') }, 'sequence'],
    [{ producer_id: 'a', sequence: 1.5, records: records('x') }, 'sequence'],
    [{ producer_id: 'a', sequence: 1, producer_epoch: 32768, records: records('x') }, 'producer_epoch'],
  ] as const) {
    const { status, json } = await post(api.address, PATH, body)
    assert.is(status, 400)
    assert.match(json.error.message, word)
  }
  const twice = await post(api.address, `${PATH}?producer_id=a&sequence=0`, {
    producer_id: 'a',
    sequence: 0,
    records: [],
  })
  assert.match(twice.json.error.message, 'use one')
  const half = await post(api.address, `${PATH}?sequence=0`, { records: records('x') })
  assert.match(half.json.error.message, 'producer_id is missing')
})

test('where records of an earlier request lie is not made up when partitions were added since', async () => {
  const requests = new ProducerRequests(Date.now)
  const stream = api.log.stream('mqtt')
  const publish = () => {
    const offset = stream.nextOffset(0 as PartitionId)
    return [{ partition: 0, offset, commit: stream.append(0 as PartitionId, recordOf('x')) }]
  }
  const number = { producerId: 'p', epoch: 0, sequence: 0 }
  requests.append(stream, number, [0], publish)
  assert.equal(requests.append(stream, number, [1], publish).places, [{ partition: 1, offset: null }])
})

test.run()
