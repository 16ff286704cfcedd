import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset } from '../../src/record/record.js'
import type { UpstreamOptions } from '../../src/replication/upstream-options.js'
import { eventually } from '../helpers/eventually.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { withSeed } from '../helpers/seeded-random.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { UpstreamBench, upstreamTo } from './upstream-bench.js'

const LIVE_FIRST: Partial<UpstreamOptions> = {
  order: 'live_first',
  backlogAfterMs: 30,
  maxInFlight: 20,
  cursorSaveDelayMs: 5,
}
/** Of 64 KB, that 4500 records of 200 bytes fill at most. */
const SEGMENTS = 20
const PATIENCE_MS = 60_000

type Body = (bench: UpstreamBench, broker: MiniBroker, proxy: TcpProxy) => Promise<void>

async function withBench(body: Body, ...streams: Parameters<typeof UpstreamBench.open>): Promise<void> {
  const bench = await UpstreamBench.open(...streams)
  const broker = await MiniBroker.start()
  const proxy = await TcpProxy.start(broker.port)
  try {
    await body(bench, broker, proxy)
  } finally {
    await bench.close()
    await proxy.stop()
    await broker.stop()
  }
}

/** The numbers that `write` gives the records, as they arrived. */
const arrived = (broker: MiniBroker): number[] =>
  broker.received.map(({ payload }) => Number.parseInt(payload.toString().split(' ')[1], 10))

function assertAllOnce(numbers: readonly number[], count: number, maxRepeated = 0): void {
  const seen = new Set(numbers)
  for (let n = 0; n < count; n++) assert.ok(seen.has(n), `${n} of ${count} is lost`)
  const repeated = numbers.length - seen.size
  assert.ok(repeated <= maxRepeated, `${repeated} arrived twice, ${maxRepeated} may`)
}

test('what is new goes ahead of the backlog, at its share, and each arrives once', () =>
  withBench(async (bench, broker, proxy) => {
    await bench.write(2000, 'telemetry', 200)
    proxy.throttle(150_000)
    // What is found at start is backlog at once; on a busy machine nothing else shall become it.
    bench.start(upstreamTo(proxy.port, { ...LIVE_FIRST, backlogAfterMs: 3_600_000 }))
    await broker.until(() => broker.received.length >= 100)
    await bench.write(400, 'telemetry', 200)
    await broker.until(() => broker.received.length >= 1000)
    const { partitions, backlogRecords } = bench.status()
    const [{ nextOffset, liveOffset = 0, ackedRanges = [] }] = partitions
    assert.ok(nextOffset < 2000 && liveOffset >= 2000, `both heads are shown: ${nextOffset}, ${liveOffset}`)
    assert.is(ackedRanges.length <= 1, true)
    assert.is(backlogRecords, 2400 - nextOffset - ackedRanges.reduce((sum, [first, next]) => sum + next - first, 0))
    await bench.drained()
    const numbers = arrived(broker)
    assertAllOnce(numbers, 2400)
    const lastNew = numbers.lastIndexOf(2399)
    const firstNew = numbers.indexOf(2000)
    const share = 400 / (lastNew - firstNew + 1)
    assert.ok(lastNew < numbers.length - 500, 'the backlog was not through by then')
    assert.ok(share > 0.5 && share < 0.95, `what is new had ${share.toFixed(2)} of the link, 0.8 is due`)
    assert.equal(bench.status().partitions[0].nextOffset, 2400)
    assert.is(bench.status().partitions[0].liveOffset, undefined, 'one again')
    await eventually('it is kept', () => bench.test.cursors.get('cloud', 'telemetry', 0) === 2400, PATIENCE_MS)
    assert.equal(bench.test.cursors.acked('cloud', 'telemetry', 0), [])
  }))

test('what lies between stretches that were acknowledged is backlog, all of it', () =>
  withBench(async (bench, _broker, proxy) => {
    proxy.refuse(true)
    await bench.write(100)
    const acked = [
      [20, 30],
      [50, 60],
      [80, 95],
    ].map(([first, next]) => ({ first: first as Offset, next: next as Offset }))
    await bench.test.cursors.set('cloud', 'telemetry', 0, 10 as Offset, acked)
    bench.start(upstreamTo(proxy.port, LIVE_FIRST))
    const { backlogRecords, partitions } = bench.status()
    const waiting = 10 + 20 + 20 + 5
    assert.equal([backlogRecords, partitions[0].backlogRecords], [waiting, waiting])
    proxy.refuse(false)
    await bench.drained()
  }))

test('a link that keeps up sends everything in order', () =>
  withBench(async (bench, broker) => {
    bench.start(upstreamTo(broker.port, { ...LIVE_FIRST, backlogAfterMs: 60_000 }))
    for (let i = 0; i < 20; i++) await bench.write(50)
    await bench.drained()
    assert.equal(
      arrived(broker),
      Array.from({ length: 1000 }, (_, i) => i),
    )
  }))

test('through outages, cuts and restarts nothing is lost, and never more than eight stretches are kept', () =>
  withSeed((random) =>
    withBench(async (bench, broker, proxy) => {
      const options = upstreamTo(proxy.port, { ...LIVE_FIRST, backlogAfterMs: 0 })
      let most = 0
      let cuts = 0
      bench.start(options)
      for (let round = 0; round < 24; round++) {
        proxy.refuse(round % 2 === 0)
        if (round % 2 === 0) cuts += 1
        proxy.throttle(20_000)
        await bench.write(30 + random.below(60))
        await new Promise((resolve) => setTimeout(resolve, random.below(80)))
        if (random.chance(0.2)) {
          await bench.reopen()
          bench.start(options)
          cuts += 1
        }
        most = Math.max(most, bench.test.cursors.acked('cloud', 'telemetry', 0).length)
      }
      proxy.refuse(false)
      proxy.throttle(null)
      await bench.drained()
      assertAllOnce(arrived(broker), Number(bench.status().partitions[0].highWatermark), cuts * 20)
      assert.ok(most <= 8, `${most} stretches`)
    }),
  ))

test('what retention takes from the backlog is in the ledger, and what has arrived is not', () =>
  withBench(
    async (bench, broker, proxy) => {
      proxy.throttle(100_000)
      await bench.write(1500, 'telemetry', 200)
      bench.start(upstreamTo(proxy.port, LIVE_FIRST))
      await broker.until(() => broker.received.length >= 50)
      for (let i = 0; i < 10; i++) await bench.write(300, 'telemetry', 200)
      proxy.throttle(null)
      await bench.drained()
      const seen = new Set(arrived(broker))
      const rows = bench.test.ledger.list().filter(({ destination }) => destination === 'cloud')
      const inLedger = new Set(
        rows.flatMap(({ firstOffset, lastOffset }) =>
          Array.from({ length: lastOffset - firstOffset + 1 }, (_, i) => firstOffset + i),
        ),
      )
      assert.ok(inLedger.size > 0, 'retention took something')
      for (let n = 0; n < 4500; n++) assert.ok(seen.has(n) || inLedger.has(n), `${n} is neither here nor there`)
      const both = [...inLedger].filter((n) => seen.has(n)).length
      // With each segment that goes, what is under way on either lane may be both.
      assert.ok(both <= SEGMENTS * 2 * 20, `${both} are in the ledger although they arrived`)
    },
    [{ name: 'telemetry', retention: { maxBytes: 600_000, maxAgeMs: null, onFull: 'drop_oldest' } }],
    { destinations: ['cloud'], segmentBytes: 64 * 1024 },
  ))

test('a rewind sends again what lies above it, of the new as of the old, and nothing below', () =>
  withBench(async (bench, broker, proxy) => {
    await bench.write(600, 'telemetry', 200)
    proxy.throttle(60_000)
    const upstreams = bench.start(upstreamTo(proxy.port, LIVE_FIRST))
    await broker.until(() => broker.received.length >= 40)
    await bench.write(100, 'telemetry', 200)
    await eventually('new ones have arrived', () => arrived(broker).includes(650), PATIENCE_MS)
    upstreams.pause('cloud')
    await eventually('paused', () => !bench.status().connected, PATIENCE_MS)
    const before = broker.received.length
    const below = new Set(arrived(broker))
    const [moved] = await upstreams.rewind('cloud', { stream: 'telemetry', offset: 620 })
    assert.is(moved.toOffset, 620)
    proxy.throttle(null)
    await upstreams.resume('cloud')
    await bench.drained()
    const again = arrived(broker).slice(before)
    for (let n = 620; n < 700; n++) assert.ok(again.includes(n), `${n} was not sent again`)
    assert.equal(
      again.filter((n) => n < 620 && below.has(n)),
      [],
    )
    assertAllOnce(arrived(broker), 700, 80)
  }))

test('a record the broker hangs up on does not stop either', () =>
  withBench(async (bench, broker) => {
    await bench.write(300)
    broker.hangUpOn = ({ payload }) => payload.toString().endsWith(' 150')
    bench.start(upstreamTo(broker.port, { ...LIVE_FIRST, maxAttempts: 2 }))
    await broker.until(() => broker.received.length >= 100)
    await bench.write(100)
    await bench.drained()
    const seen = new Set(arrived(broker))
    for (let n = 0; n < 400; n++) assert.is(seen.has(n), n !== 150, String(n))
    assert.equal(
      bench.test.ledger.list().map(({ firstOffset, lastOffset, reason }) => [firstOffset, lastOffset, reason]),
      [[150, 150, 'rejected']],
    )
  }))

test.run()
