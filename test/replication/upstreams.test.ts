import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { eventually } from '../helpers/eventually.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { withSeed } from '../helpers/seeded-random.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { checkArrived, UpstreamBench, upstreamTo } from './upstream-bench.js'

const WAIT_MS = 60_000

type Streams = Parameters<typeof UpstreamBench.open>
async function withBench(
  body: (bench: UpstreamBench, broker: MiniBroker, proxy: TcpProxy) => Promise<void>,
  ...streams: Streams
): Promise<void> {
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
const payloadsOf = (broker: MiniBroker): string[] => broker.received.map(({ payload }) => payload.toString())
const codeOf = async (action: () => unknown): Promise<string | undefined> => {
  try {
    await action()
  } catch (error) {
    return error instanceof SluiceError ? error.code : String(error)
  }
  return undefined
}

test('what was stored before the link and what comes later is delivered, each once and in order', () =>
  withBench(async (bench, broker) => {
    await bench.write(2000)
    bench.start(upstreamTo(broker.port))
    await bench.drained()
    await bench.write(1000)
    await bench.drained()
    assert.is(checkArrived(payloadsOf(broker), 3000, 0), 0)
    assert.is(broker.received.length, 3000)
    const status = bench.status()
    assert.equal([status.state, status.connected, status.backlogRecords, status.inFlight], ['idle', true, 0, 0])
    assert.is(status.deliveredTotal, 3000)
    assert.ok(status.ratePerSecond > 0)
    assert.is(status.oldestWaitingTimestampMs, null)
    assert.is(status.drainForecastMs, 0)
    assert.equal(status.partitions, [
      { stream: 'telemetry', partition: 0, nextOffset: 3000, highWatermark: 3000, backlogRecords: 0 },
    ])
  }))

test('an orderly restart goes on where it was, without sending anything twice', () =>
  withBench(async (bench, broker) => {
    await bench.write(500)
    bench.start(upstreamTo(broker.port))
    await broker.until(() => broker.received.length >= 100)
    await bench.reopen()
    const before = broker.received.length
    assert.ok(before < 500 || before === 500)
    await bench.write(200)
    bench.start(upstreamTo(broker.port))
    await bench.drained()
    assert.is(broker.received.length, 700)
    assert.is(checkArrived(payloadsOf(broker), 700, 0), 0)
    assert.ok(broker.disconnects >= 1, 'says goodbye')
  }))

// In a window of 640 messages go ten at a time.
for (const maxInFlight of [40, 640])
  test(`cuts at random moments, also within a packet, lose nothing, keep the order and repeat no more than a window of ${maxInFlight}`, () =>
    withSeed((random) =>
      withBench(
        async (bench, broker, proxy) => {
          broker.reorder = (ids) => (random.chance(0.3) ? random.shuffle(ids) : ids)
          bench.start(upstreamTo(proxy.port, { maxInFlight }))
          let cuts = 0
          for (let written = 0; written < 6000; written += 200) {
            await bench.write(200)
            if (random.chance(0.7)) {
              cuts += 1
              if (random.chance(0.5)) proxy.cutAfter(1 + random.below(3000), random.chance(0.5) ? 'up' : 'down')
              else proxy.cutAll()
            }
            if (random.chance(0.3)) proxy.halfClose()
            await new Promise((resolve) => setTimeout(resolve, random.below(15)))
          }
          await bench.drained()
          assert.ok(cuts > 5 && broker.connects.length > 3, `${cuts} cuts, ${broker.connects.length} connections`)
          const repeated = checkArrived(payloadsOf(broker), 6000, maxInFlight)
          assert.ok(repeated <= broker.connects.length * maxInFlight)
        },
        [{ name: 'telemetry', partitions: 3 }],
        { destinations: ['cloud'] },
      ),
    ))

test('a link that is connected but does not move is given up after the ack deadline, and another one delivers', () =>
  withBench(async (bench, broker, proxy) => {
    bench.start(upstreamTo(proxy.port, { ackTimeoutMs: 150 }))
    await bench.write(10)
    await bench.drained()
    proxy.blackHole(true)
    await bench.write(300)
    await eventually('the link is called stalled', () => bench.status().state === 'stalled', WAIT_MS)
    const first = proxy.accepted
    await eventually('it is given up', () => !bench.status().connected, WAIT_MS)
    assert.match(bench.status().lastError ?? '', /nothing was acknowledged.*in flight/)
    proxy.blackHole(false)
    await bench.drained()
    assert.ok(proxy.accepted > first)
    checkArrived(payloadsOf(broker), 310, 100)
  }))

test('an idle link that is dead is found out by its keepalive', () =>
  withBench(async (bench, broker, proxy) => {
    bench.start(upstreamTo(proxy.port, { keepaliveSeconds: 1 }))
    await bench.write(10)
    await bench.drained()
    proxy.blackHole(true)
    await eventually('the link is lost', () => !bench.status().connected, WAIT_MS)
    assert.match(bench.status().lastError ?? '', /Keepalive/)
    proxy.blackHole(false)
    await eventually('it is connected again', () => bench.status().connected, WAIT_MS)
    assert.is(broker.received.length, 10)
  }))

test('an acknowledgement that never comes while others do does not hold up its partition for ever', () =>
  withBench(async (bench, broker) => {
    let forgotten = -1
    broker.reorder = (ids) => {
      if (forgotten !== -1 || ids.length < 3) return ids
      forgotten = ids[0]
      return ids.slice(1)
    }
    await bench.write(500)
    bench.start(upstreamTo(broker.port, { maxInFlight: 20, ackTimeoutMs: 100 }))
    await bench.drained()
    assert.is.not(forgotten, -1)
    checkArrived(payloadsOf(broker), 500, 20)
  }))

test('no more than the window is ever in flight, over all partitions, and each gets its share of it', () =>
  withBench(
    async (bench, broker) => {
      await bench.write(3000, 'busy')
      await bench.write(30, 'quiet')
      broker.holdAcks = true
      bench.start(upstreamTo(broker.port, { maxInFlight: 40, streams: ['busy', 'quiet'] }))
      // The fourth quarter of the window is for what is acknowledged and not yet saved.
      await broker.until(() => broker.received.length === 30)
      await new Promise((resolve) => setTimeout(resolve, 30))
      assert.is(broker.received.length, 30)
      assert.is(bench.status().inFlight, 30)
      broker.releaseAcks()
      await bench.drained()
      const payloads = payloadsOf(broker)
      const lastQuiet = payloads.findLastIndex((payload) => payload.startsWith('quiet'))
      assert.ok(lastQuiet < 400, `the quiet stream was through after ${lastQuiet} records`)
    },
    [
      { name: 'busy', partitions: 2 },
      { name: 'quiet', topics: ['quiet/#'] },
    ],
    { destinations: ['cloud'] },
  ))

test('cursors are never saved ahead of the acknowledgements', () =>
  withBench(async (bench, broker) => {
    const { cursors } = bench.test
    const set = cursors.set.bind(cursors)
    const ahead: number[] = []
    let acked = 0
    let saves = 0
    broker.reorder = (ids) => {
      acked += ids.length
      return ids
    }
    cursors.set = (destination, stream, partition, next) => {
      saves += 1
      if (next > acked) ahead.push(next)
      return set(destination, stream, partition, next)
    }
    await bench.write(5000)
    bench.start(upstreamTo(broker.port))
    await bench.drained()
    await bench.upstreams?.stop()
    assert.equal(ahead, [])
    assert.is(cursors.get('cloud', 'telemetry', 0), 5000)
    assert.ok(saves < 300, `${saves} writes for 5,000 records: they are grouped`)
  }))

test('what retention takes while the link is down is in the ledger, and everything else is delivered', () =>
  withBench(
    async (bench, broker, proxy) => {
      proxy.refuse(true)
      bench.start(upstreamTo(proxy.port))
      await bench.write(20_000, 'telemetry', 500)
      const stream = bench.test.log.stream('telemetry')
      await eventually('retention has dropped', () => stream.stats().bytes < 3_000_000, WAIT_MS)
      proxy.refuse(false)
      await bench.drained()
      const lost = bench.test.ledger.list()
      const missing = lost.reduce((sum, row) => sum + row.records, 0)
      assert.ok(missing > 0 && missing < 20_000, `${missing} lost`)
      const arrived = new Set(payloadsOf(broker))
      assert.is(arrived.size + missing, 20_000)
      assert.equal(
        lost.map((row) => `${row.destination} ${row.firstOffset} ${row.reason}`),
        ['cloud 0 retention'],
      )
    },
    [{ name: 'telemetry', retention: { maxBytes: 2_100_000, maxAgeMs: null, onFull: 'drop_oldest' } }],
    { destinations: ['cloud'], segmentBytes: 256 * 1024 },
  ))

test('pause ends the connection without sending anything twice, resume goes on', () =>
  withBench(async (bench, broker) => {
    await bench.write(3000)
    const upstreams = bench.start(upstreamTo(broker.port, { maxInFlight: 10 }))
    await broker.until(() => broker.received.length > 200)
    await upstreams.pause('cloud')
    await eventually('both ends know', () => broker.open === 0 && !bench.status().connected, WAIT_MS)
    assert.is(bench.status().state, 'paused')
    const before = broker.received.length
    await bench.write(100)
    await new Promise((resolve) => setTimeout(resolve, 30))
    assert.is(broker.received.length, before)
    assert.ok(bench.status().backlogRecords > 0)
    await upstreams.resume('cloud')
    await bench.drained()
    assert.is(broker.received.length, 3100)
    assert.is(checkArrived(payloadsOf(broker), 3100, 0), 0)
  }))

test('a pause survives a restart, and so does its end', () =>
  withBench(async (bench, broker) => {
    await bench.write(100)
    await bench.start(upstreamTo(broker.port)).pause('cloud')
    await bench.reopen()
    const connections = broker.connects.length
    const upstreams = bench.start(upstreamTo(broker.port))
    assert.is(bench.status().state, 'paused')
    await bench.write(100)
    assert.is(broker.connects.length, connections)
    await upstreams.resume('cloud')
    await bench.drained()
    await bench.reopen()
    bench.start(upstreamTo(broker.port))
    await bench.write(100)
    await bench.drained()
    assert.is(new Set(payloadsOf(broker)).size, 300)
  }))

test('rewind sends again from an offset or a time, and refuses what would skip', () =>
  withBench(
    async (bench, broker) => {
      await bench.write(200)
      const upstreams = bench.start(upstreamTo(broker.port))
      await bench.drained()
      const rewound = await upstreams.rewind('cloud', { stream: 'telemetry', partition: 1, offset: 90 })
      assert.equal(rewound, [{ stream: 'telemetry', partition: 1, fromOffset: 100, toOffset: 90 }])
      assert.ok((bench.test.cursors.get('cloud', 'telemetry', 1) ?? 0) >= 90)
      await bench.drained()
      assert.equal(
        payloadsOf(broker).slice(200),
        Array.from({ length: 10 }, (_, i) => `telemetry/1 ${(90 + i) * 2 + 1}`),
      )
      await upstreams.rewind('cloud', { stream: 'telemetry', timestampMs: 0 })
      await bench.drained()
      assert.is(broker.received.length, 410)
      assert.equal(await upstreams.rewind('cloud', { stream: 'telemetry', timestampMs: 9e12 }), [])
      const refusal = (request: object) => codeOf(() => upstreams.rewind('cloud', { stream: 'telemetry', ...request }))
      assert.is(await refusal({ offset: 101 }), 'OFFSET_OUT_OF_RANGE')
      assert.is(await refusal({}), 'INVALID_REQUEST')
      assert.is(await refusal({ offset: 1, timestampMs: 1 }), 'INVALID_REQUEST')
      assert.is(await refusal({ offset: 1, partition: 7 }), 'UNKNOWN_STREAM_OR_PARTITION')
      assert.is(await codeOf(() => upstreams.rewind('sky', { stream: 'telemetry', offset: 1 })), 'UNKNOWN_UPSTREAM')
      await upstreams.pause('cloud')
      await upstreams.rewind('cloud', { stream: 'telemetry', partition: 0, offset: 10 })
      assert.is(await refusal({ offset: 50, partition: 0 }), 'INVALID_REQUEST')
      assert.is(bench.status().backlogRecords, 90)
    },
    [{ name: 'telemetry', partitions: 2 }],
    { destinations: ['cloud'] },
  ))

test('a broker that is away is tried again with growing pauses, and shown as such', () =>
  withBench(async (bench, broker, proxy) => {
    proxy.refuse(true)
    await bench.write(50)
    bench.start(upstreamTo(proxy.port, { reconnectMinMs: 1, reconnectMaxMs: 20 }))
    await eventually('it waits for the next attempt', () => bench.status().state === 'waiting', WAIT_MS)
    const status = bench.status()
    assert.is(status.connected, false)
    assert.ok((status.nextAttemptInMs ?? -1) >= 0 && (status.nextAttemptInMs ?? 21) <= 20)
    assert.type(status.lastError, 'string')
    assert.is(status.backlogRecords, 50)
    assert.ok(status.backlogBytes > 50)
    await eventually(
      'the oldest is known',
      () => bench.status().oldestWaitingTimestampMs === 1_700_000_000_000,
      WAIT_MS,
    )
    assert.is(status.drainForecastMs, null)
    proxy.refuse(false)
    await bench.drained()
    checkArrived(payloadsOf(broker), 50, 0)
    const attempts = bench.logLines.filter((line) => line.includes('WARN'))
    assert.is(attempts.length, 1, `an outage is one line: ${attempts.join('')}`)
  }))

test('a broker that takes the login and hangs up is not hammered', () =>
  withBench(async (bench, broker) => {
    broker.hangUpOn = () => true
    await bench.write(5)
    bench.start(upstreamTo(broker.port, { reconnectMinMs: 20, reconnectMaxMs: 10_000 }))
    await new Promise((resolve) => setTimeout(resolve, 600))
    assert.ok(broker.connects.length < 15, `${broker.connects.length} connections in 0.6 s`)
  }))

test('a bandwidth limit holds, and the forecast knows it', () =>
  withBench(async (bench, broker) => {
    await bench.write(400, 'telemetry', 90)
    bench.start(upstreamTo(broker.port, { bandwidthBytesPerSecond: 10_000, maxInFlight: 10 }))
    const startedMs = performance.now()
    await broker.until(() => broker.received.length >= 100)
    await eventually('a rate is shown', () => bench.status().ratePerSecond > 0, WAIT_MS)
    assert.ok((bench.status().drainForecastMs ?? 0) > 1000)
    await broker.until(() => broker.received.length >= 200)
    const seconds = (performance.now() - startedMs) / 1000
    // 200 records of 99 bytes, the first second's worth at once.
    assert.ok(seconds > 0.85 && seconds < 3, `${seconds} s`)
  }))

test('records that no broker can take are in the ledger as rejected and hold nothing up', () =>
  withBench(async (bench, broker) => {
    const stream = bench.test.log.stream('telemetry')
    const value = Buffer.from('x')
    const record = (key: string) => ({
      ...{ timestampMs: 1, key: Buffer.from(key), value, valueStart: 0, valueEnd: 1, headers: [], attributes: 0 },
    })
    for (const key of ['a', 'b/#', 'c/+', 'd']) stream.append(0 as never, record(key))
    await stream.append(0 as never, record('e')).durable()
    bench.start(upstreamTo(broker.port))
    await bench.drained()
    assert.equal(
      broker.received.map(({ mqttTopic }) => mqttTopic),
      ['a', 'd', 'e'],
    )
    const [row] = bench.test.ledger.list()
    assert.equal([row.destination, row.firstOffset, row.lastOffset, row.reason], ['cloud', 1, 2, 'rejected'])
    assert.is(bench.status().rejectedTotal, 2)
  }))

test('a configuration that cannot work is refused before anything is started', () =>
  withBench(async (bench, broker) => {
    assert.is(await codeOf(() => bench.start(upstreamTo(broker.port), upstreamTo(broker.port))), 'INVALID_CONFIG')
    const unknown = upstreamTo(broker.port, { streams: ['nowhere'] })
    assert.is(await codeOf(() => bench.start(unknown)), 'UNKNOWN_STREAM_OR_PARTITION')
    assert.is(broker.connects.length, 0)
  }))

test('the log says that a backlog has drained, of what has waited for the link only', () =>
  withBench(async (bench, broker) => {
    const drained = () => bench.logLines.filter((line) => line.includes('backlog drained'))
    bench.start(upstreamTo(broker.port, { maxInFlight: 20 }))
    await eventually('connected', () => bench.status().connected, WAIT_MS)
    await bench.write(300)
    await bench.drained()
    assert.equal(drained(), [])
    await bench.upstreams?.stop()
    await bench.write(100)
    bench.start(upstreamTo(broker.port, { maxInFlight: 20 }))
    await bench.drained()
    await eventually('it is said', () => drained().length > 0, WAIT_MS)
    assert.match(drained()[0], /records=100 /)
  }))

test.run()
