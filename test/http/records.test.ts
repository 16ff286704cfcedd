import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { GroupCommit } from '../../src/log/commit.js'
import type { Offset } from '../../src/record/record.js'
import { recordCountOf } from '../../src/record/record-batch.js'
import { type Api, logProducer, startApi } from './api.js'
import { call, post } from './request-helper.js'

const test = suite('records over HTTP')
let api: Api

test.before.each(async () => {
  api = await startApi([
    { name: 'telemetry', topics: ['sensors/#'], partitions: 2 },
    { name: 'mqtt', topics: ['#'] },
  ])
})
test.after.each(() => api.close())

const RECORDS = '/v1/streams/telemetry/partitions/0/records'
const valuesOf = (answer: { json: { records: { value: string }[] } }) => answer.json.records.map(({ value }) => value)

test('streams are listed with their partitions and what they hold', async () => {
  await api.append('telemetry', 1, 'a', 'b')
  const { json } = await call(api.address, '/v1/streams')
  assert.equal(
    json.streams.map(({ name }: { name: string }) => name),
    ['telemetry', 'mqtt'],
  )
  const one = await call(api.address, '/v1/streams/telemetry')
  assert.equal(one.json.topics, ['sensors/#'])
  assert.equal(one.json.partitions, [
    { partition: 0, log_start_offset: 0, high_watermark: 0 },
    { partition: 1, log_start_offset: 0, high_watermark: 2 },
  ])
  const unknown = await call(api.address, '/v1/streams/nope')
  assert.is(unknown.status, 404)
  assert.is(unknown.json.error.code, 'UNKNOWN_STREAM_OR_PARTITION')
  assert.match(unknown.json.error.message, 'telemetry')
})

test('reading goes on at next_offset until the end, without a gap or a repeat', async () => {
  for (let i = 0; i < 10; i++) await api.append('telemetry', 0, `${i}a`, `${i}b`, `${i}c`)
  const seen: string[] = []
  let offset = 0
  for (;;) {
    const answer = await call(api.address, `${RECORDS}?offset=${offset}&max_records=4`)
    if (answer.json.records.length === 0) break
    assert.ok(answer.json.records.length <= 4)
    assert.is(answer.json.records[0].offset, offset)
    seen.push(...valuesOf(answer))
    offset = answer.json.next_offset
  }
  assert.equal(
    seen,
    [...Array(10).keys()].flatMap((i) => [`${i}a`, `${i}b`, `${i}c`]),
  )
  assert.is(offset, 30)
})

test('text and JSON payloads are strings, other bytes are base64, and both come back as they were published', async () => {
  const payloads = ['21.5', '{"t":21.5}', 'größer ☃ \u0000 "quoted"\n', '', Buffer.from([0xff, 0xfe, 0, 1])]
  await api.append('telemetry', 0, ...payloads)
  const { records } = (await call(api.address, RECORDS)).json
  const bytes = records.map((record: { value?: string; value_base64?: string }) =>
    record.value_base64 === undefined ? Buffer.from(record.value ?? '') : Buffer.from(record.value_base64, 'base64'),
  )
  assert.equal(
    bytes,
    payloads.map((payload) => Buffer.from(payload)),
  )
  assert.is(records[1].value, '{"t":21.5}')
  assert.is(records[4].value, undefined)
  assert.equal(Object.keys(records[0]), [
    'stream',
    'partition',
    'offset',
    'timestamp',
    'timestamp_ms',
    'topic',
    'qos',
    'retain',
    'value',
    'headers',
  ])
  assert.is(Date.parse(records[0].timestamp), records[0].timestamp_ms)
})

test('NDJSON has one record a line and where to go on in the headers', async () => {
  await api.append('telemetry', 0, 'a\nb', 'c')
  const answer = await call(api.address, RECORDS, { headers: { accept: 'application/x-ndjson' } })
  assert.is(answer.headers.get('content-type'), 'application/x-ndjson')
  assert.equal(
    answer.text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).value),
    ['a\nb', 'c'],
  )
  assert.is(answer.headers.get('x-sluice-next-offset'), '2')
  const empty = await call(api.address, `${RECORDS}?offset=latest`, { headers: { accept: 'application/x-ndjson' } })
  assert.is(empty.text, '')
})

test('stored bytes are the batches of the log, whole', async () => {
  await api.append('telemetry', 0, 'a', 'b', 'c')
  const response = await fetch(`http://${api.address}${RECORDS}?offset=1`, {
    headers: { accept: 'application/vnd.sluice.batches' },
  })
  const bytes = Buffer.from(await response.arrayBuffer())
  const { batches } = await api.log.stream('telemetry').fetch(0 as never, 1 as never, { maxBytes: 1 << 20 })
  assert.ok(bytes.equals(Buffer.concat(batches)))
  assert.is(recordCountOf(bytes), 3)
  assert.is(response.headers.get('x-sluice-next-offset'), '3')
  assert.is(response.headers.get('x-sluice-high-watermark'), '3')
})

test('a time finds the first record at or after it', async () => {
  await api.append('telemetry', 0, 'before')
  await new Promise((resolve) => setTimeout(resolve, 5))
  const now = Date.now()
  await api.append('telemetry', 0, 'after')
  assert.equal(valuesOf(await call(api.address, `${RECORDS}?offset=@${now}`)), ['after'])
  assert.equal(valuesOf(await call(api.address, `${RECORDS}?offset=@${new Date(now).toISOString()}`)), ['after'])
  const future = await call(api.address, `${RECORDS}?offset=@2100-01-01T00:00:00Z`)
  assert.equal([future.json.records, future.json.next_offset], [[], 2])
})

test('an offset outside the log is 416 with the range that is there', async () => {
  await api.append('telemetry', 0, 'a', 'b')
  const answer = await call(api.address, `${RECORDS}?offset=3`)
  assert.is(answer.status, 416)
  assert.is(answer.json.error.code, 'OFFSET_OUT_OF_RANGE')
  assert.is(answer.json.error.details.log_start_offset, 0)
  assert.is(answer.json.error.details.high_watermark, 2)
})

test('limits and positions that make no sense are 400, an unknown partition is 404', async () => {
  const bad = ['offset=-1', 'offset=x', 'offset=@', 'offset=@soon', 'max_records=0', 'max_records=10001']
  for (const query of [...bad, 'max_bytes=0', 'wait_ms=60001', 'wait_ms=1.5', 'offset=99999999999999999999'])
    assert.is((await call(api.address, `${RECORDS}?${query}`)).status, 400, query)
  assert.is((await call(api.address, '/v1/streams/telemetry/partitions/2/records')).status, 404)
  assert.is((await call(api.address, '/v1/streams/telemetry/partitions/x/records')).status, 400)
})

test('a long poll answers as soon as a record is durable', async () => {
  const waiting = call(api.address, `${RECORDS}?offset=latest&wait_ms=60000`)
  while (api.server.stats().waitingPolls === 0) await new Promise((resolve) => setImmediate(resolve))
  await api.append('telemetry', 1, 'elsewhere')
  assert.is(api.server.stats().waitingPolls, 1)
  await api.append('telemetry', 0, 'here')
  assert.equal(valuesOf(await waiting), ['here'])
})

test('a long poll answers with an empty list when its time is up, and when the node stops', async () => {
  const answer = await call(api.address, `${RECORDS}?offset=latest&wait_ms=20`)
  assert.equal([answer.status, answer.json.records, answer.json.next_offset], [200, [], 0])
  const waiting = call(api.address, `${RECORDS}?wait_ms=60000`)
  while (api.server.stats().waitingPolls === 0) await new Promise((resolve) => setImmediate(resolve))
  await api.server.stop()
  assert.equal((await waiting).json.records, [])
})

test('a reader that stops reading in the middle of an answer holds up nobody else', async () => {
  const payload = 'x'.repeat(100_000)
  for (let i = 0; i < 40; i++) await api.append('telemetry', 0, payload)
  const slow = connect(Number(api.address.split(':')[1]), '127.0.0.1')
  slow.pause()
  slow.write(`GET ${RECORDS}?max_bytes=8000000 HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  for (let i = 0; i < 5; i++) assert.is((await call(api.address, `${RECORDS}?max_records=1`)).status, 200)
  slow.destroy()
})

test('produced records are durable and readable when the answer comes, with topic, QoS, retain and headers', async () => {
  const answer = await post(api.address, '/v1/streams/telemetry/records', {
    records: [
      { topic: 'sensors/1/temp', value: '21.5', qos: 2, retain: true, headers: [{ key: 'unit', value: 'C' }] },
      { topic: 'sensors/2/temp', value_base64: Buffer.from([1, 255]).toString('base64') },
    ],
  })
  assert.is(answer.status, 200)
  assert.equal(answer.json, {
    records: [
      { partition: 0, offset: 0 },
      { partition: 0, offset: 1 },
    ],
  })
  const { records } = (await call(api.address, RECORDS)).json
  assert.equal([records[0].topic, records[0].qos, records[0].retain], ['sensors/1/temp', 2, true])
  assert.equal(records[0].headers, [{ key: 'unit', value: 'C' }])
  assert.equal([records[1].value_base64, records[1].qos, records[1].headers], ['Af8=', 1, []])
})

test('one record may stand alone, and a raw body is the payload', async () => {
  const one = await post(api.address, '/v1/streams/mqtt/records', { topic: 'other', value: 'x' })
  assert.equal(one.json.records, [{ partition: 0, offset: 0 }])
  const body = Buffer.from([0, 159, 146, 150])
  const raw = await call(api.address, '/v1/streams/telemetry/records?topic=sensors/raw&qos=0', { method: 'POST', body })
  assert.is(raw.status, 200)
  assert.is((await call(api.address, RECORDS)).json.records[0].value_base64, body.toString('base64'))
})

test('a topic that belongs to another stream, or is none, is INVALID_TOPIC and nothing of the request is written', async () => {
  for (const topic of ['other/1', 'sensors/+', '', 'sensors/\0']) {
    const answer = await post(api.address, '/v1/streams/telemetry/records', {
      records: [
        { topic: 'sensors/1', value: 'good' },
        { topic, value: 'bad' },
      ],
    })
    assert.is(answer.status, 400, topic)
    assert.is(answer.json.error.code, 'INVALID_TOPIC', topic)
    assert.is(answer.json.error.details.index, 1)
  }
  assert.is((await call(api.address, '/v1/streams/telemetry')).json.partitions[0].high_watermark, 0)
})

test('a produce request that is not well-formed says where', async () => {
  const bad: [unknown, string][] = [
    [{}, 'the record.topic'],
    [{ records: [] }, 'records'],
    [{ records: [{ topic: 'sensors/1' }] }, 'records[0]'],
    [{ records: [{ topic: 'sensors/1', value: 'a', value_base64: 'YQ==' }] }, 'records[0]'],
    [{ records: [{ topic: 'sensors/1', value_base64: 'no base64!' }] }, 'records[0].value_base64'],
    [{ records: [{ topic: 'sensors/1', value: 'a', qos: 3 }] }, 'records[0].qos'],
    [{ records: [{ topic: 'sensors/1', value: 'a', qoss: 1 }] }, 'records[0]'],
    [{ records: [{ topic: 'sensors/1', value: 21.5 }] }, 'records[0].value'],
    [[], 'the record'],
  ]
  for (const [body, where] of bad) {
    const answer = await post(api.address, '/v1/streams/telemetry/records', body)
    assert.is(answer.status, 400, JSON.stringify(body))
    assert.ok(answer.json.error.message.startsWith(`${where} `), answer.json.error.message)
  }
  const large = await post(api.address, '/v1/streams/mqtt/records', { topic: 't', value: 'x'.repeat(256 * 1024 + 1) })
  assert.is(large.status, 413)
})

test('when the disk is full the answer is 507 and says which records were written', async () => {
  await api.close()
  api = await startApi([{ name: 'mqtt' }], {
    producer: (log) => ({
      ...logProducer(log),
      publish: () =>
        [null, new SluiceError('STORAGE_FULL', 'the disk is full')].map((failure, i) => {
          const commit = new GroupCommit()
          commit.settle(failure)
          return { partition: 0, offset: i as Offset, commit }
        }),
    }),
  })
  const answer = await post(api.address, '/v1/streams/mqtt/records', {
    records: [
      { topic: 'a', value: 'yes' },
      { topic: 'a', value: 'no' },
    ],
  })
  assert.is(answer.status, 507)
  assert.equal(answer.json.error.details.records, [{ partition: 0, offset: 0 }, { error: 'STORAGE_FULL' }])
})

test('health, metrics and the ledger answer', async () => {
  await api.append('telemetry', 0, 'a')
  assert.equal((await call(api.address, '/healthz')).json, { status: 'ready', reasons: [] })
  api.health.ready = false
  api.health.reasons.push('the disk is full')
  const unready = await call(api.address, '/healthz')
  assert.equal([unready.status, unready.json.reasons], [503, ['the disk is full']])
  const metrics = await call(api.address, '/metrics')
  assert.match(metrics.text, /^# TYPE sluice_stream_appended_records_total counter$/m)
  assert.match(metrics.text, /^sluice_partition_high_watermark\{stream="telemetry",partition="0"\} 1$/m)
  assert.match(metrics.text, /^process_resident_memory_bytes \d+$/m)
  await api.ledger.add([
    {
      destination: 'cloud',
      stream: 'telemetry',
      partition: 0,
      firstOffset: 5 as never,
      lastOffset: 9 as never,
      reason: 'retention',
      atMs: 0,
    },
  ])
  const { json } = await call(api.address, '/v1/ledger')
  assert.is(json.total_records, 5)
  assert.equal(json.entries[0], {
    destination: 'cloud',
    stream: 'telemetry',
    partition: 0,
    first_offset: 5,
    last_offset: 9,
    records: 5,
    reason: 'retention',
    at: '1970-01-01T00:00:00.000Z',
    at_ms: 0,
  })
  assert.equal((await call(api.address, '/v1/ledger?stream=mqtt')).json.entries, [])
  // Of some rows not all of the range is meant.
  const range = { firstOffset: 100 as never, lastOffset: 199 as never, records: 3 }
  await api.ledger.add([
    { destination: 'subscribers', stream: 'telemetry', partition: 0, ...range, reason: 'qos0_dropped', atMs: 0 },
  ])
  const dropped = (await call(api.address, '/v1/ledger?destination=subscribers')).json
  assert.equal([dropped.entries[0].records, dropped.total_records], [3, 3])
})

test.run()
