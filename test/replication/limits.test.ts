import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset } from '../../src/record/record.js'
import { AckDeadline } from '../../src/replication/ack-deadline.js'
import { RateMeter } from '../../src/replication/rate-meter.js'
import { TokenBucket } from '../../src/replication/token-bucket.js'
import type { LedgerEntry } from '../../src/state/ledger.js'
import { uncoveredRanges } from '../../src/state/uncovered-ranges.js'
import { FakeClock } from '../helpers/fake-clock.js'

test('a bandwidth holds on average, whatever the sizes, also for a record larger than a second of it', async () => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(clock, 1000)
  let sent = 0
  for (let passedMs = 0; passedMs < 100_000; passedMs += 10) {
    for (const bytes of [7, 300, 5000]) {
      if (bucket.waitMs() > 0) break
      bucket.spend(bytes)
      sent += bytes
    }
    await clock.advance(10)
  }
  assert.ok(sent > 99_000 && sent <= 101_000 + 5000, `sent ${sent} bytes in 100 s at 1000 B/s`)
})

test('a bandwidth says how long to wait, and after that wait something may go', async () => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(clock, 1000, 100)
  bucket.spend(600)
  const waitMs = bucket.waitMs()
  assert.is(waitMs, 500)
  await clock.advance(waitMs - 1)
  assert.ok(bucket.waitMs() > 0)
  await clock.advance(2)
  assert.is(bucket.waitMs(), 0)
})

test('silence is not saved up beyond the burst', async () => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(clock, 1000)
  await clock.advance(3_600_000)
  bucket.waitMs()
  bucket.spend(1000)
  assert.ok(bucket.waitMs() > 0)
})

test('a rate is that of the last ten seconds, and falls to nothing', async () => {
  const clock = new FakeClock()
  const meter = new RateMeter(clock)
  for (let second = 0; second < 30; second++) {
    meter.add(second < 20 ? 100 : 50)
    await clock.advance(1000)
  }
  assert.ok(Math.abs(meter.perSecond() - 50) < 6, `${meter.perSecond()}`)
  await clock.advance(60_000)
  assert.is(meter.perSecond(), 0)
})

test('a burst right after start is not called a high rate', async () => {
  const clock = new FakeClock()
  const meter = new RateMeter(clock)
  meter.add(10)
  await clock.advance(1)
  assert.is(meter.perSecond(), 10)
})

function deadlineOf(clock: FakeClock): { deadline: AckDeadline; expired: number[] } {
  const expired: number[] = []
  return { deadline: new AckDeadline(clock, 1000, (silentMs) => expired.push(silentMs)), expired }
}

test('the ack deadline expires only while something is in flight', async () => {
  const clock = new FakeClock()
  const { deadline, expired } = deadlineOf(clock)
  deadline.linkUp()
  await clock.advance(10_000)
  deadline.sent()
  await clock.advance(900)
  deadline.acked(0)
  await clock.advance(10_000)
  assert.equal(expired, [])
  deadline.sent()
  await clock.advance(1000)
  assert.equal(expired, [1000])
})

test('every acknowledgement begins the ack deadline anew, and sending does not', async () => {
  const clock = new FakeClock()
  const { deadline, expired } = deadlineOf(clock)
  deadline.linkUp()
  for (let i = 0; i < 20; i++) {
    deadline.sent()
    await clock.advance(500)
    deadline.acked(3)
  }
  assert.equal(expired, [])
  for (let i = 0; i < 4; i++) {
    deadline.sent()
    await clock.advance(300)
  }
  assert.equal(expired, [1000])
})

test('patience doubles after a connection without any acknowledgement and is back after the first', async () => {
  const clock = new FakeClock()
  const { deadline, expired } = deadlineOf(clock)
  const fail = async (): Promise<number> => {
    const before = clock.monotonicMs()
    const count = expired.length
    deadline.linkUp()
    deadline.sent()
    while (expired.length === count) await clock.advance(100)
    deadline.linkDown()
    return clock.monotonicMs() - before
  }
  const patience: number[] = []
  for (let i = 0; i < 6; i++) patience.push(await fail())
  assert.equal(patience, [1000, 2000, 4000, 8000, 16_000, 16_000])
  deadline.linkUp()
  deadline.sent()
  deadline.acked(1)
  deadline.linkDown()
  assert.is(await fail(), 1000)
})

test('of a lost range only what the ledger does not name yet is entered', () => {
  const entry = (firstOffset: number, lastOffset: number) => ({ firstOffset, lastOffset }) as LedgerEntry
  const missing = (first: number, last: number, ...entries: LedgerEntry[]): string =>
    uncoveredRanges({ first: first as Offset, last: last as Offset }, entries)
      .map((range) => `${range.first}-${range.last}`)
      .join(' ')
  assert.is(missing(10, 20), '10-20')
  assert.is(missing(10, 20, entry(0, 30)), '')
  assert.is(missing(10, 20, entry(10, 20)), '')
  assert.is(missing(10, 20, entry(0, 12), entry(18, 30)), '13-17')
  assert.is(missing(10, 20, entry(18, 18), entry(12, 14), entry(13, 15)), '10-11 16-17 19-20')
  assert.is(missing(10, 20, entry(0, 9), entry(21, 30)), '10-20')
})

test.run()
