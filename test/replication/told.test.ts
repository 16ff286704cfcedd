import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import type { Offset } from '../../src/record/record.js'
import { LedgerReport } from '../../src/replication/targets/ledger-report.js'
import { UpstreamEvents } from '../../src/replication/upstream-events.js'
import type { UpstreamStatus } from '../../src/replication/upstream-options.js'
import type { LedgerRow } from '../../src/state/ledger.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { recordOf } from '../helpers/open-log.js'
import { UpstreamBench, upstreamTo } from './upstream-bench.js'

const row = (n: number, destination = 'cloud'): LedgerRow => ({
  ...{ destination, stream: 'telemetry', partition: 0, reason: 'retention', records: 10, atMs: n },
  ...{ firstOffset: (n * 100) as never, lastOffset: (n * 100 + 9) as never },
})

function reportOf(rows: LedgerRow[], maxBytes = 64 * 1024) {
  const clock = new FakeClock()
  const state = { version: 0 }
  const options = { node: 'gw-17', upstream: 'cloud', mqttTopic: 'up/ledger', maxBytes, clock }
  const report = new LedgerReport({ ...options, version: () => state.version, rows: () => rows })
  return { clock, state, report }
}

test('the broker is told the ledger with each connection and whenever it has changed, and not otherwise', async () => {
  const rows = [row(1)]
  const { clock, state, report } = reportOf(rows)
  const told: unknown[] = []
  const stop = report.start((_topic, payload) => told.push(JSON.parse(payload.toString())))
  await clock.advance(10_000)
  assert.is(told.length, 1)
  rows.push(row(2), row(3, 'other'), row(4, '*'))
  state.version += 1
  await clock.advance(2000)
  assert.equal(told.at(-1), {
    node: 'gw-17',
    upstream: 'cloud',
    records: 30,
    rows: [4, 2, 1].map((n) => ({
      ...{ stream: 'telemetry', partition: 0, first_offset: n * 100, last_offset: n * 100 + 9, records: 10 },
      ...{ reason: 'retention', at_ms: n },
    })),
    rows_left_out: 0,
  })
  stop()
  state.version += 1
  await clock.advance(10_000)
  assert.is(told.length, 2)
})

test('a ledger too long for a message tells its latest rows, and how many it leaves out', () => {
  const message = JSON.parse(
    reportOf(
      Array.from({ length: 1000 }, (_, n) => row(n)),
      8000,
    )
      .report.message()
      .toString(),
  )
  assert.is(message.records, 10_000)
  assert.is(message.rows.length + message.rows_left_out, 1000)
  assert.is(message.rows[0].at_ms, 999)
  assert.ok(JSON.stringify(message).length <= 8000 && message.rows.length >= 25)
})

test('what an MQTT broker will never be sent it is told in a retained message', async () => {
  const bench = await UpstreamBench.open()
  const broker = await MiniBroker.start()
  try {
    await bench.test.log
      .stream('telemetry')
      .append(0 as never, recordOf('x', { key: null }))
      .durable()
    bench.start(upstreamTo(broker.port, { ledgerTopic: 'up/gw-17/ledger' }))
    await bench.write(5)
    await bench.drained()
    const told = (): { records: number }[] =>
      broker.received
        .filter(({ mqttTopic, retain }) => mqttTopic === 'up/gw-17/ledger' && retain)
        .map(({ payload }) => JSON.parse(payload.toString()))
    await broker.until(() => told().at(-1)?.records === 1)
    assert.equal(
      (told().at(-1) as unknown as { rows: object[] }).rows.map((one) => ({ ...one, at_ms: 0 })),
      [
        {
          stream: 'telemetry',
          partition: 0,
          first_offset: 0,
          last_offset: 0,
          records: 1,
          reason: 'rejected',
          at_ms: 0,
        },
      ],
    )
  } finally {
    await bench.close()
    await broker.stop()
  }
})

test('what an upstream will never get is shown beside what waits: its own rows, and what nobody gets of what it is sent', async () => {
  const bench = await UpstreamBench.open([{ name: 'telemetry' }, { name: 'alarms' }])
  const range = { partition: 0, firstOffset: 0 as Offset, reason: 'retention' as const, atMs: 1 }
  const lose = (destination: string, stream: string, records: number) =>
    bench.test.ledger.add([{ ...range, destination, stream, lastOffset: (records - 1) as Offset }])
  bench.start(upstreamTo(1, { streams: ['telemetry'] }))
  assert.is(bench.status().lostRecords, 0)
  await lose('cloud', 'gw-17.telemetry.1', 5)
  await lose('*', 'telemetry', 7)
  await lose('*', 'alarms', 100)
  await lose('other', 'telemetry', 1000)
  assert.is(bench.status().lostRecords, 12)
  assert.is(new Map(bench.upstreams!.sysValues()).get('$SYS/sluice/upstream/cloud/lost'), '12')
  await bench.close()
})

test('a change of state is told within a second, and one of consequence stands in the log', async () => {
  const clock = new FakeClock()
  const lines: string[] = []
  const logger = Object.assign(Object.create(silentLogger), {
    child: (component: string) => ({
      info: (event: string, fields: { from: string; to: string }) =>
        lines.push(`${component} ${event} ${fields.from} ${fields.to}`),
    }),
  })
  let state = 'connecting'
  let changes = 0
  const status = () => [{ name: 'cloud', state, backlogRecords: 3, daily: null } as UpstreamStatus]
  const events = new UpstreamEvents({ status, onChange: () => (changes += 1), clock, logger })
  for (const next of ['flowing', 'idle', 'stalled', 'stalled', 'flowing', 'over_budget']) {
    state = next
    await clock.advance(1000)
  }
  events.stop()
  assert.is(changes, 5)
  assert.equal(lines, [
    'upstream/cloud state has changed idle stalled',
    'upstream/cloud state has changed stalled flowing',
    'upstream/cloud state has changed flowing over_budget',
  ])
})

test.run()
