import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PartitionId } from '../../../src/record/record.js'
import { FakeClock } from '../../helpers/fake-clock.js'
import { openLog, readAll, recordOf, type TestLog } from '../../helpers/open-log.js'
import { tempDir } from '../../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const YEAR_MS = 365 * 24 * 3600 * 1000
const HOUR_MS = 3600 * 1000
const DAY_MS = 24 * HOUR_MS
const RETENTION = { maxBytes: 1 << 30, maxAgeMs: DAY_MS, onFull: 'drop_oldest' as const }

async function withClock(directory: string, clock: FakeClock): Promise<TestLog> {
  return openLog(directory, [{ name: 's', retention: RETENTION }], {
    segmentBytes: 256 * 1024,
    clock,
    destinations: ['cloud'],
  })
}

/** Records carry the wall clock's time, as they do when a device publishes. */
async function append(node: TestLog, clock: FakeClock, count: number): Promise<void> {
  const stream = node.log.stream('s')
  for (let i = 0; i < count; i++) {
    const value = `${stream.nextOffset(P0)}:${'x'.repeat(1000)}`
    await stream.append(P0, recordOf(value, { timestampMs: clock.wallMs() })).durable()
  }
}

for (const [direction, jumpMs] of [
  ['forward', YEAR_MS],
  ['back', -YEAR_MS],
] as const) {
  test(`a wall clock that jumps a year ${direction} ages nothing: retention goes by the time the node was on`, async () => {
    const clock = new FakeClock()
    const directory = tempDir()
    let node = await withClock(directory, clock)
    await append(node, clock, 400)
    clock.jumpWall(jumpMs)
    const jumpedAtMs = clock.wallMs()
    await append(node, clock, 400)
    for (let hours = 0; hours < 20; hours++) await clock.advance(HOUR_MS)
    await append(node, clock, 10)
    assert.is(node.log.stream('s').logStartOffset(P0), 0)
    await node.close()
    clock.jumpWall(-jumpMs / 2)
    node = await withClock(directory, clock)
    await clock.advance(HOUR_MS)
    const stream = node.log.stream('s')
    assert.is((await readAll(node.log, 's')).length, 810, 'also not at a start')
    // In offset order, the first whose time is not before the one asked for.
    const found = await stream.offsetForTime(P0, jumpedAtMs)
    assert.is(found, jumpMs > 0 ? 400 : 0)
    assert.equal(node.ledger.list(), [])
    for (let hours = 0; hours < 26; hours++) await clock.advance(HOUR_MS)
    await stream.append(P0, recordOf('810:')).durable()
    while (stream.logStartOffset(P0) < 800) await clock.advance(HOUR_MS)
    const [row] = node.ledger.list()
    assert.equal([row.firstOffset, row.lastOffset, row.reason], [0, stream.logStartOffset(P0) - 1, 'retention'])
    await node.close()
  })
}
test.run()
