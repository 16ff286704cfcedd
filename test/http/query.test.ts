import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { PartitionId } from '../../src/record/record.js'
import { runCli } from '../cli/cli-helper.js'
import { recordOf } from '../helpers/open-log.js'
import { type Api, startApi } from './api.js'
import { call } from './request-helper.js'

const test = suite('queries')
let api: Api
const T0 = Date.UTC(2026, 0, 31)

test.before.each(async () => {
  api = await startApi([{ name: 'mqtt', partitions: 2 }])
  const stream = api.log.stream('mqtt')
  // 600 a partition, in commits of 100; a record a second.
  for (let i = 0; i < 600; i++) {
    const topic = Buffer.from(`plant/${i % 3}/temp`)
    let commit = null
    for (const partition of [0, 1] as PartitionId[])
      commit = stream.append(partition, recordOf(`${partition}:${i}`, { key: topic, timestampMs: T0 + i * 1_000 }))
    if (i % 100 === 99) await commit?.durable()
  }
})
test.after.each(() => api.close())

const at = '/v1/streams/mqtt/partitions/0/query'
const values = (json: { records: { value: string }[] }): string[] => json.records.map(({ value }) => value)

test('a topic filter and a time range find exactly what fits both', async () => {
  const { json } = await call(api.address, `${at}?topic=plant/1/%2B&from=@${T0 + 250_000}&until=@${T0 + 260_000}`)
  assert.equal(values(json), ['0:250', '0:253', '0:256', '0:259'])
  assert.is(json.done, true)
  const single = await call(api.address, `${at}?topic=plant/2/temp&from=590`)
  assert.equal(values(single.json), ['0:590', '0:593', '0:596', '0:599'])
})

test('a request looks at so much, and the next goes on: together they miss nothing', async () => {
  const found: string[] = []
  let offset = 0
  for (let requests = 1; ; requests++) {
    const { json } = await call(api.address, `${at}?topic=plant/0/temp&offset=${offset}&max_scan_bytes=1&max_records=7`)
    found.push(...values(json))
    assert.ok(json.next_offset > offset || json.done)
    offset = json.next_offset
    if (!json.done) continue
    assert.ok(requests > 20)
    break
  }
  assert.equal(
    found,
    Array.from({ length: 200 }, (_, i) => `0:${i * 3}`),
  )
})

test('a bad filter, time or place is refused by name', async () => {
  for (const query of ['topic=a/%23/b', 'from=yesterday', 'until=@x', 'max_records=0'])
    assert.is((await call(api.address, `${at}?${query}`)).json.error.code, 'INVALID_REQUEST', query)
  assert.is((await call(api.address, `${at}?offset=601`)).status, 416)
  assert.is(
    (await call(api.address, '/v1/streams/mqtt/partitions/9/query')).json.error.code,
    'UNKNOWN_STREAM_OR_PARTITION',
  )
})

test('sluice query looks through all partitions, or as many records as asked for', async () => {
  const url = ['--url', api.address]
  const range = ['--from', `@${T0 + 10_000}`, '--until', `@${T0 + 13_000}`]
  const all = await runCli(['query', 'mqtt', ...range, ...url])
  assert.is(all.code, 0, all.stderr)
  assert.is(all.stdout, '0:10\n0:11\n0:12\n1:10\n1:11\n1:12\n')
  const some = await runCli(['query', 'mqtt', '-t', 'plant/1/#', '--count', '3', '-p', '1', ...url])
  assert.is(some.stdout, '1:1\n1:4\n1:7\n')
  assert.is((await runCli(['query', 'mqtt', '-t', 'a/#/b', ...url])).code, 2)
  assert.is((await runCli(['query', 'mqtt', '--from', 'noon', ...url])).code, 2)
})

test.run()
