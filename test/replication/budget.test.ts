import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Budget } from '../../src/replication/budget.js'
import { type AllowanceState, DAY_MS, DailyAllowance, waitForDaysMs } from '../../src/replication/daily-allowance.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MiniBroker } from '../helpers/mini-broker.js'
import { withSeed } from '../helpers/seeded-random.js'
import { UpstreamBench, upstreamTo } from './upstream-bench.js'

test('in no second go more messages than the rate says, whatever the rate, and over time nearly all of them', async () => {
  for (const messagesPerSecond of [1, 2, 7, 100]) {
    const clock = new FakeClock()
    const budget = new Budget(clock, { messagesPerSecond })
    const sentAt: number[] = []
    while (clock.monotonicMs() < 60_000) {
      while (budget.waitMs() === 0) {
        budget.spend(100)
        sentAt.push(clock.monotonicMs())
      }
      await clock.advance(1)
    }
    for (let i = messagesPerSecond; i < sentAt.length; i++)
      assert.ok(sentAt[i] - sentAt[i - messagesPerSecond] >= 1000, `${messagesPerSecond}/s at ${sentAt[i]} ms`)
    assert.ok(sentAt.length >= 60 * messagesPerSecond * 0.45, `${sentAt.length} in a minute`)
  }
})

/** A node whose clock stops while it is off, and forgets up to a minute in a crash. */
function powered(bytesPerDay: number) {
  let nowMs = 1000
  let saved: AllowanceState | undefined
  const start = (): DailyAllowance =>
    new DailyAllowance({ bytesPerDay, poweredOnMs: () => nowMs, state: saved, save: (state) => (saved = state) })
  return { start, pass: (ms: number) => (nowMs += ms), saved: () => saved }
}

test('a day has its bytes and no more, over any number of crashes and restarts', () =>
  withSeed(async (random) => {
    const node = powered(100_000)
    let allowance = node.start()
    let spent = 0
    let crashes = 0
    for (;;) {
      if (allowance.waitMs() > 0) break
      const bytes = 1 + random.below(500)
      allowance.spend(bytes)
      spent += bytes
      node.pass(random.below(60_000))
      if (random.chance(0.05)) {
        const crash = random.chance(0.5)
        if (!crash) allowance.settle()
        else {
          crashes += 1
          node.pass(-random.below(30_000))
        }
        allowance = node.start()
      }
    }
    assert.ok(spent <= 100_000 + 500, `${spent} spent`)
    assert.ok(spent >= 100_000 - crashes * 1_001 - 1_001, `${spent} spent, ${crashes} crashes`)
    const waitMs = allowance.waitMs()
    assert.ok(waitMs > 0 && waitMs <= DAY_MS)
    node.pass(waitMs - 1)
    assert.is(allowance.leftBytes, 0)
    node.pass(1)
    assert.is(allowance.leftBytes, 100_000)
    assert.is(node.start().leftBytes, 100_000)
  }))

test('clocks that jump by years grant nothing and take nothing: only powered-on time counts', () => {
  const clock = new FakeClock()
  let state: AllowanceState | undefined
  const daily = {
    bytesPerDay: 1000,
    poweredOnMs: () => clock.monotonicMs(),
    state,
    save: (s: AllowanceState) => (state = s),
  }
  const budget = new Budget(clock, { daily })
  budget.spend(400)
  clock.jumpWall(365 * DAY_MS)
  assert.is(budget.daily?.leftBytes, 600)
  clock.jumpWall(-3 * 365 * DAY_MS)
  assert.is(budget.daily?.leftBytes, 600)
  budget.spend(700)
  assert.is(budget.waitMs(), DAY_MS)
})

test('a data directory that was set back to an earlier day waits no longer than a day', () => {
  const allowance = new DailyAllowance({
    bytesPerDay: 10,
    poweredOnMs: () => 5000,
    state: { startedAtMs: 9_000_000_000, spentBytes: 10 },
    save: () => {},
  })
  assert.is(allowance.waitMs(), DAY_MS)
})

test('how many days a backlog takes is known before', () => {
  const node = powered(1000)
  const allowance = node.start()
  allowance.spend(400)
  node.pass(DAY_MS / 2)
  assert.is(waitForDaysMs(600, allowance), 0)
  assert.is(waitForDaysMs(601, allowance), DAY_MS / 2)
  assert.is(waitForDaysMs(1600, allowance), DAY_MS / 2)
  assert.is(waitForDaysMs(1601, allowance), 1.5 * DAY_MS)
})

test('an upstream whose day is spent says so, with when it goes on, and a restart changes nothing about it', async () => {
  const bench = await UpstreamBench.open()
  const broker = await MiniBroker.start()
  try {
    const upstream = upstreamTo(broker.port, { bytesPerDay: 2000, maxInFlight: 5 })
    bench.start(upstream)
    await bench.write(1000)
    const exhausted = async (): Promise<void> => {
      while (bench.status().state !== 'over_budget') await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await exhausted()
    const bytes = broker.received.reduce((sum, { mqttTopic, payload }) => sum + mqttTopic.length + payload.length, 0)
    assert.ok(bytes >= 1900 && bytes < 2100, `${bytes} bytes`)
    const { daily, drainForecastMs, backlogBytes } = bench.status()
    assert.is(daily?.leftBytes, 0)
    assert.ok((daily?.endsInMs ?? 0) > DAY_MS * 0.9)
    assert.ok(drainForecastMs! > DAY_MS * Math.floor(backlogBytes / 2000 - 1), `${drainForecastMs}`)
    await bench.reopen()
    bench.start(upstream)
    await exhausted()
    const again = broker.received.reduce((sum, { mqttTopic, payload }) => sum + mqttTopic.length + payload.length, 0)
    assert.ok(again < 2100, `${again} bytes`)
  } finally {
    await bench.close()
    await broker.stop()
  }
})

test.run()
