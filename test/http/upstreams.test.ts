import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { HttpServer } from '../../src/http/http-server.js'
import { upstreamRoutes } from '../../src/http/routes/upstreams.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { UpstreamBench, upstreamTo } from '../replication/upstream-bench.js'
import { call, post } from './request-helper.js'

const test = suite('upstreams over HTTP')
let bench: UpstreamBench
let broker: MiniBroker
let server: HttpServer
let address: string

test.before.each(async () => {
  bench = await UpstreamBench.open()
  broker = await MiniBroker.start()
  const upstreams = bench.start(upstreamTo(broker.port))
  const routes = upstreamRoutes({ upstreams })
  server = await HttpServer.start({ listen: ['127.0.0.1:0'], routes, logger: silentLogger })
  address = server.addresses[0]
})
test.after.each(async () => {
  await server.stop()
  await bench.close()
  await broker.stop()
})

test('an upstream says where it goes, how it is, and how far each partition has come', async () => {
  await bench.write(20)
  await bench.drained()
  const { json } = await call(address, '/v1/upstreams')
  const { connected_since_ms, rate_per_second, ...rest } = json.upstreams[0]
  assert.type(connected_since_ms, 'number')
  assert.ok(rate_per_second > 0)
  assert.equal(rest, {
    name: 'cloud',
    type: 'mqtt',
    url: broker.url,
    state: 'idle',
    connected: true,
    backlog_records: 0,
    backlog_bytes: 0,
    in_flight: 0,
    delivered_total: 20,
    lost_records: 0,
    rejected_total: 0,
    downlink_total: null,
    downlink_refused_total: 0,
    oldest_waiting_timestamp_ms: null,
    drain_forecast_ms: 0,
    daily: null,
    partitions: [{ stream: 'telemetry', partition: 0, next_offset: 20, high_watermark: 20, backlog_records: 0 }],
  })
  const one = await call(address, '/v1/upstreams/cloud')
  assert.equal(Object.keys(one.json), Object.keys(json.upstreams[0]))
})

test('pause, resume and rewind do what they say', async () => {
  await bench.write(20)
  await bench.drained()
  const paused = await post(address, '/v1/upstreams/cloud/pause', {})
  assert.equal([paused.status, paused.json.state], [200, 'paused'])
  await broker.until(() => broker.open === 0)
  const tried = await post(address, '/v1/upstreams/cloud/rewind', { stream: 'telemetry', offset: 5, dry_run: true })
  assert.equal(tried.json, { rewound: [{ stream: 'telemetry', partition: 0, from_offset: 20, to_offset: 5 }] })
  assert.is((await call(address, '/v1/upstreams/cloud')).json.backlog_records, 0, 'nothing was moved')
  const rewound = await post(address, '/v1/upstreams/cloud/rewind', { stream: 'telemetry', offset: 5 })
  assert.equal(rewound.json, { rewound: [{ stream: 'telemetry', partition: 0, from_offset: 20, to_offset: 5 }] })
  assert.is((await call(address, '/v1/upstreams/cloud')).json.backlog_records, 15)
  assert.is((await post(address, '/v1/upstreams/cloud/resume', {})).status, 200)
  await bench.drained()
  assert.is(broker.received.length, 35)
})

test('what cannot be done is refused with the reason', async () => {
  const rewind = (body: unknown) => post(address, '/v1/upstreams/cloud/rewind', body)
  for (const [answer, status, code] of [
    [await call(address, '/v1/upstreams/sky'), 404, 'UNKNOWN_UPSTREAM'],
    [await post(address, '/v1/upstreams/sky/pause', {}), 404, 'UNKNOWN_UPSTREAM'],
    [await rewind({ offset: 5 }), 400, 'INVALID_REQUEST'],
    [await rewind({ stream: 'telemetry' }), 400, 'INVALID_REQUEST'],
    [await rewind({ stream: 'telemetry', offset: -1 }), 400, 'INVALID_REQUEST'],
    [await rewind({ stream: 'telemetry', offset: 1, datetime: 'x' }), 400, 'INVALID_REQUEST'],
    [await rewind({ stream: 'telemetry', offset: 1 }), 416, 'OFFSET_OUT_OF_RANGE'],
    [await rewind({ stream: 'nope', offset: 0 }), 404, 'UNKNOWN_STREAM_OR_PARTITION'],
    [await call(address, '/v1/upstreams/cloud/pause'), 405, 'METHOD_NOT_ALLOWED'],
  ] as const)
    assert.equal([answer.status, answer.json.error.code], [status, code])
})

test.run()
