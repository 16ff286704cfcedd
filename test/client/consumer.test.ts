// test-run: limit 120 s
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Consumer, type ConsumerOptions, type ConsumerRecord, SluiceClient } from '../../src/client/index.js'
import { errorOf } from '../helpers/rejection.js'
import { type Api, startApi } from '../http/api.js'
import { call } from '../http/request-helper.js'

const test = suite('consumer')
let api: Api
let client: SluiceClient
let consumers: Consumer[]

test.before.each(async () => {
  api = await startApi([{ name: 'mqtt', partitions: 3 }])
  client = new SluiceClient({ url: api.address })
  consumers = []
})
test.after.each(async () => {
  for (const consumer of consumers) await consumer.close()
  client.close()
  await api.close()
})

function consumerOf(more: Partial<ConsumerOptions> = {}): Consumer {
  const consumer = client.consumer({ group: 'g', streams: ['mqtt'], waitMs: 2_000, ...more })
  consumers.push(consumer)
  return consumer
}

async function fill(perPartition: number, from = 0): Promise<void> {
  for (let partition = 0; partition < 3; partition++) {
    const values = Array.from({ length: perPartition }, (_, i) => `${partition}:${from + i}`)
    await api.append('mqtt', partition, ...values)
  }
}

/** Reads so many, then leaves the loop by asking for no more. */
async function take(consumer: Consumer, count: number): Promise<ConsumerRecord[]> {
  const records: ConsumerRecord[] = []
  for await (const record of consumer) {
    records.push(record)
    if (records.length === count) {
      await consumer.commit(record)
      break
    }
  }
  return records
}

const inOrder = (records: readonly ConsumerRecord[]): void => {
  const last = new Map<number, number>()
  for (const { partition, offset } of records) {
    assert.is(offset, (last.get(partition) ?? -1) + 1, `partition ${partition} in order, nothing missing`)
    last.set(partition, offset)
  }
}

test('a loop gets every record of every partition, in order, and its group goes on behind them', async () => {
  await fill(400)
  const records = await take(consumerOf({ maxRecords: 100 }), 1_200)
  inOrder(records)
  const [first] = records
  assert.equal([first.stream, first.topic, first.qos, first.retain], ['mqtt', 'sensors/1/temp', 1, false])
  assert.is(first.text(), `${first.partition}:0`)
  await consumers[0].close()
  await fill(1, 400)
  const more = await take(consumerOf(), 3)
  assert.equal(more.map((record) => record.text()).sort(), ['0:400', '1:400', '2:400'])
})

test('a loop that was left begins again behind what it had finished', async () => {
  await fill(100)
  const consumer = consumerOf({ maxRecords: 30 })
  const records: ConsumerRecord[] = []
  for (let round = 0; round < 10; round++) records.push(...(await take(consumer, 30)))
  inOrder(records)
})

test('what the loop has not finished is not committed when it breaks', async () => {
  await fill(5)
  const consumer = consumerOf()
  let broken: ConsumerRecord | null = null
  for await (const record of consumer) {
    broken = record
    if (record.offset === 2) break
  }
  const { json } = await call(api.address, '/v1/groups/g')
  const row = json.offsets.find((each: { partition: number }) => each.partition === broken?.partition)
  assert.is(row.committed_offset, 2)
})

test('without auto commit nothing is committed but by hand', async () => {
  await fill(3)
  const consumer = consumerOf({ autoCommit: false })
  const seen: ConsumerRecord[] = []
  for await (const record of consumer) {
    seen.push(record)
    if (seen.length === 4) await consumer.commit([{ stream: 'mqtt', partition: seen[0].partition, offset: 2 }])
    if (seen.length === 9) break
  }
  await consumer.close()
  const { json } = await call(api.address, '/v1/groups/g')
  assert.equal(
    json.offsets.map((row: { partition: number; committed_offset: number }) => [row.partition, row.committed_offset]),
    [[seen[0].partition, 2]],
  )
})

test('members share partitions, and who stays takes over from who leaves', async () => {
  await fill(50)
  const events: string[] = []
  const seen = new Map<string, number>()
  let total = 0
  let isFull: () => void = () => {}
  const full = new Promise<void>((resolve) => (isFull = resolve))
  const loop = async (name: string, consumer: Consumer): Promise<void> => {
    for await (const record of consumer) {
      assert.ok(consumer.partitions.some(({ partition }) => partition === record.partition))
      seen.set(`${record.partition}:${record.offset}`, (seen.get(`${record.partition}:${record.offset}`) ?? 0) + 1)
      events.push(name)
      if (seen.size === ++total && seen.size === 300) isFull()
    }
  }
  const watched = (name: string) =>
    consumerOf({
      onAssigned: (partitions) => void events.push(`${name} has ${partitions.length}`),
      onRevoked: (partitions) => void events.push(`${name} gives ${partitions.length}`),
    })
  const [a, b] = [watched('a'), watched('b')]
  const first = loop('a', a)
  while (!events.includes('a has 3')) await new Promise((resolve) => setImmediate(resolve))
  const second = loop('b', b)
  while (!events.some((event) => /^b has/.test(event))) await new Promise((resolve) => setImmediate(resolve))
  assert.ok(events.includes('a gives 3'))
  await b.close()
  await second
  await fill(50, 50)
  await full
  await a.close()
  await first
  assert.equal(
    [...seen.values()].filter((count) => count !== 1),
    [],
    'with nobody killed each record comes once',
  )
})

test('of two under one static id the earlier ends and says why, and the later keeps the place', async () => {
  await fill(10)
  const earlier = consumerOf({ instanceId: 'pump', waitMs: 200 })
  const reading = (async () => {
    for await (const _ of earlier) {
      // Until it is told that another has its place.
    }
  })()
  const ended = errorOf(reading)
  while (earlier.partitions.length < 3) await new Promise((resolve) => setTimeout(resolve, 10))
  let assignments = 0
  const later = consumerOf({ instanceId: 'pump', onAssigned: () => void (assignments += 1) })
  const got: ConsumerRecord[] = []
  const readingOn = (async () => {
    for await (const record of later) if (got.push(record) >= 1 && record.text() === '2:19') break
  })()
  assert.is((await ended).code, 'FENCED_INSTANCE_ID')
  await fill(10, 10)
  await readingOn
  assert.is(assignments, 1, 'it was never put out')
})

test('a loop that is slow holds the node back: one answer is ahead of it and no more', async () => {
  for (let i = 0; i < 20; i++) await fill(100, i * 100)
  const consumer = consumerOf({ maxRecords: 100 })
  for await (const batch of consumer.batches()) {
    assert.ok(batch.isCurrent && batch.records.length <= 600)
    const before = api.server.stats().requests
    await new Promise((resolve) => setTimeout(resolve, 150))
    assert.ok(api.server.stats().requests - before <= 1, 'nothing more is asked for while the loop is busy')
    break
  }
})

test('what cannot be helped ends the loop with its code, what can is tried again', async () => {
  const error = await errorOf(take(consumerOf({ streams: ['nowhere'] }), 1))
  assert.is(error.code, 'UNKNOWN_STREAM_OR_PARTITION')
  const troubles: string[] = []
  const lost = new SluiceClient({ url: 'http://127.0.0.1:1' })
  const consumer = lost.consumer({ group: 'g', streams: ['mqtt'], onTrouble: ({ code }) => troubles.push(code) })
  const ended = take(consumer, 1)
  while (troubles.length === 0) await new Promise((resolve) => setImmediate(resolve))
  await consumer.close()
  assert.equal(await ended, [])
  assert.is(troubles[0], 'NOT_REACHABLE')
})

test('a reader of one partition begins where the program says and ends where it is told to', async () => {
  await fill(300)
  const offsets: number[] = []
  for await (const records of client.readPartition({
    stream: 'mqtt',
    partition: 1,
    from: 17,
    untilEnd: true,
    maxBytes: 1_000,
  }))
    offsets.push(...records.map(({ offset }) => offset))
  assert.equal(
    offsets,
    Array.from({ length: 283 }, (_, i) => 17 + i),
  )
})

test.run()
