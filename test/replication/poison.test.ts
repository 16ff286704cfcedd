import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset } from '../../src/record/record.js'
import { AckLine } from '../../src/replication/ack-line.js'
import { PoisonWatch } from '../../src/replication/poison-watch.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { readAll, recordOf } from '../helpers/open-log.js'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { checkArrived, UpstreamBench, upstreamTo } from './upstream-bench.js'

const DEAD = { name: 'upstream-dead', topics: [] }
const headersOf = ({ headers }: { headers: readonly { key: string; value: Uint8Array | null }[] }) =>
  Object.fromEntries(headers.map(({ key, value }) => [key.replace('sluice.dead.', ''), Buffer.from(value!).toString()]))

// In a window of 1000 messages go fifteen at a time.
for (const maxInFlight of [100, 1000])
  test(`a record on which the broker hangs up each time is found in a window of ${maxInFlight} and becomes a dead letter`, () =>
    withSeed(async (random) => {
      const bench = await UpstreamBench.open([{ name: 'telemetry', partitions: 3 }, DEAD])
      const broker = await MiniBroker.start()
      const poison = new Set([random.below(900), random.below(900), random.below(900)])
      broker.hangUpOn = ({ payload }) => poison.has(Number(payload.toString().split(' ')[1]))
      try {
        bench.start(upstreamTo(broker.port, { deadLetter: DEAD.name, maxAttempts: 3, maxInFlight }))
        await bench.write(900)
        await bench.drained()
        const arrived = broker.received.map(({ payload }) => payload.toString())
        const dead = await readAll(bench.test.log, DEAD.name)
        assert.equal(
          new Set(dead.map(({ value }) => Number(Buffer.from(value!).toString().split(' ')[1]))),
          poison,
          'each of them, and no other',
        )
        assert.is(dead.length, poison.size)
        checkArrived([...arrived, ...[...poison].map((n) => `poison${n} ${n}`)], 900, maxInFlight)
        const { stream, partition, offset, upstream, attempts, reason } = headersOf(dead[0])
        const [where, n] = Buffer.from(dead[0].value!).toString().split(' ')
        assert.equal([`${stream}/${partition}`, offset], [where, String(Math.floor(Number(n) / 3))])
        assert.equal([upstream, attempts, reason], ['cloud', '3', 'makes the far side close the connection'])
        const rows = bench.test.ledger.list().filter(({ reason }) => reason === 'rejected')
        assert.is(
          rows.reduce((sum, { records }) => sum + records, 0),
          poison.size,
        )
        assert.is(bench.status().rejectedTotal, poison.size)
        assert.ok(broker.connects.length <= poison.size * 12, `${broker.connects.length} connections`)
      } finally {
        await bench.close()
        await broker.stop()
      }
    }))

test('a record that is left without an acknowledgement while later ones have theirs becomes a dead letter as well', async () => {
  const bench = await UpstreamBench.open([{ name: 'telemetry' }, DEAD])
  const broker = await MiniBroker.start()
  broker.forget = ({ payload }) => payload.toString().endsWith(' 7')
  try {
    bench.start(upstreamTo(broker.port, { deadLetter: DEAD.name, maxAttempts: 2, maxInFlight: 10, ackTimeoutMs: 100 }))
    await bench.write(30)
    await bench.drained()
    const [letter] = await readAll(bench.test.log, DEAD.name)
    assert.is(headersOf(letter)['reason'], 'is never acknowledged, although later ones are')
    assert.is(headersOf(letter)['offset'], '7')
  } finally {
    await bench.close()
    await broker.stop()
  }
})

test('cuts of the link condemn nobody, however many there are', () =>
  withSeed(async (random) => {
    const bench = await UpstreamBench.open([{ name: 'telemetry', partitions: 2 }, DEAD])
    const broker = await MiniBroker.start()
    broker.hangUpOn = () => random.chance(0.05)
    try {
      bench.start(upstreamTo(broker.port, { deadLetter: DEAD.name, maxAttempts: 5 }))
      await bench.write(2000)
      await bench.drained()
      assert.ok(broker.connects.length > 20, `${broker.connects.length} connections`)
      checkArrived(
        broker.received.map(({ payload }) => payload.toString()),
        2000,
        100,
      )
      assert.is(bench.status().rejectedTotal, 0)
    } finally {
      await bench.close()
      await broker.stop()
    }
  }))

unlessSkipped(test, mosquittoMissing)(
  'a real mosquitto with a packet limit that it does not tell gets everything but what is over it',
  async () => {
    const bench = await UpstreamBench.open([{ name: 'telemetry' }, DEAD])
    const mosquitto = await Mosquitto.start({ config: ['max_packet_size 1000'] })
    try {
      const stream = bench.test.log.stream('telemetry')
      for (let n = 0; n < 50; n++) {
        const commit = stream.append(0 as never, recordOf(`telemetry/0 ${n}`.padEnd(n % 20 === 13 ? 2000 : 20, '.')))
        if (n === 49) await commit.durable()
      }
      bench.start(upstreamTo(mosquitto.port, { deadLetter: DEAD.name, maxAttempts: 2 }))
      await bench.drained()
      const dead = await readAll(bench.test.log, DEAD.name)
      assert.equal(
        dead.map((letter) => headersOf(letter)['offset']),
        ['13', '33'],
      )
      assert.is(dead[0].value!.length, 2000, 'as it was')
    } finally {
      await bench.close()
      await mosquitto.kill()
    }
  },
)

test('what was never tried alone is never condemned; the window grows again with what is acknowledged', () => {
  const lane = { acks: new AckLine(0 as Offset, 10) }
  const watch = new PoisonWatch<typeof lane>(8, 2)
  const flights = [0, 1, 2].map((offset) => lane.acks.sent(offset as Offset, (offset + 1) as Offset, 0))
  for (let i = 0; i < 10; i++)
    assert.is(
      watch.hungUp(flights, () => lane),
      null,
    )
  assert.is(watch.limit, 1)
  assert.is(watch.mostSuspicious, lane)
  assert.is(
    watch.hungUp([flights[0]], () => lane),
    null,
  )
  assert.is(watch.hungUp([flights[0]], () => lane)?.attempts, 2)
  for (let i = 0; i < 20; i++) watch.acked()
  assert.is(watch.limit, 8)
  assert.is(watch.mostSuspicious, null)
})

test.run()
