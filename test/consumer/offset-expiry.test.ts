import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Clock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { GroupCoordinator } from '../../src/consumer/group-coordinator.js'
import { OffsetExpiry } from '../../src/consumer/offset-expiry.js'
import { PullGroups } from '../../src/consumer/pull-groups.js'
import { toOffset } from '../../src/record/record.js'
import { GroupOffsets } from '../../src/state/group-offsets.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { tempDir } from '../helpers/temp-dir.js'

const DAY_MS = 24 * 60 * 60_000

/** A node as far as groups go, on a directory that outlives it. */
async function start(directory: string, clock: FakeClock, poweredOnBeforeMs = 0) {
  const state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  const stream = new MemoryStream('mqtt')
  stream.add(0, 'a', 'b', 'c')
  const streams = memoryCatalog(stream)
  const offsets = await GroupOffsets.open(state, () => clock.wallMs())
  const coordinator = new GroupCoordinator({ streams, offsets, clock })
  const groups = new PullGroups(coordinator, streams, offsets)
  const bootMs = clock.monotonicMs()
  let isSweepDue = false
  let onSweepDue = (): void => {}
  const sweepClock: Clock = {
    wallMs: () => clock.wallMs(),
    monotonicMs: () => clock.monotonicMs(),
    after: (delayMs, callback) => {
      isSweepDue = true
      onSweepDue()
      return clock.after(delayMs, () => {
        isSweepDue = false
        callback()
      })
    },
  }
  const expiry = await OffsetExpiry.start({
    ...{ state, coordinator, clock: sweepClock, logger: silentLogger },
    poweredOnMs: () => poweredOnBeforeMs + clock.monotonicMs() - bootMs,
    retentionMs: 7 * DAY_MS,
  })
  const commit = (group: string) => coordinator.commit(group, [{ stream: 'mqtt', partition: 0, offset: toOffset(2) }])
  const join = (group: string) =>
    groups.join(group, {
      ...{ streams: ['mqtt'], memberName: 'm', sessionTimeoutMs: 30 * 60_000, rebalanceTimeoutMs: 1_000 },
      offsetReset: { at: 'earliest' },
    })
  /** Moves on in steps, a sweep at most in each, and waits for its writes; `each` runs in every one. */
  const pass = async (ms: number, each = () => {}): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 20 * 60_000) {
      each()
      await clock.advance(20 * 60_000)
      if (!isSweepDue) await new Promise<void>((resolve) => (onSweepDue = resolve))
    }
  }
  const stop = async (): Promise<void> => {
    await expiry.stop()
    coordinator.stop()
    await state.close()
  }
  return { coordinator, groups, commit, join, pass, stop }
}

test('a group that nobody uses is forgotten after the retention time, not before; one in use is kept', async () => {
  const clock = new FakeClock()
  const node = await start(tempDir(), clock)
  for (const group of ['idle', 'live', 'tool']) await node.commit(group)
  const member = await node.join('live')
  const alive = () => void node.groups.heartbeat('live', member.memberId)
  await node.pass(6.9 * DAY_MS, alive)
  assert.equal(node.coordinator.list(), ['idle', 'live', 'tool'])
  await node.commit('tool')
  await node.pass(0.5 * DAY_MS, alive)
  assert.equal(node.coordinator.list(), ['live', 'tool'])
  await node.pass(7 * DAY_MS, alive)
  assert.equal(node.coordinator.list(), ['live'])
  node.groups.leave('live', member.memberId)
  await node.pass(6.9 * DAY_MS)
  assert.equal(node.coordinator.list(), ['live'], 'the time begins when the last member has left')
  await node.pass(0.5 * DAY_MS)
  assert.equal(node.coordinator.list(), [])
  await node.stop()
})

test('time switched off and a clock that jumps a year do not count, time before a restart does', async () => {
  const clock = new FakeClock()
  const directory = tempDir()
  let node = await start(directory, clock)
  await node.commit('g')
  await node.pass(4 * DAY_MS)
  await node.stop()
  await clock.advance(30 * DAY_MS)
  clock.jumpWall(365 * DAY_MS)
  node = await start(directory, clock, 4 * DAY_MS)
  await node.pass(2.9 * DAY_MS)
  clock.jumpWall(-730 * DAY_MS)
  assert.equal(node.coordinator.list(), ['g'])
  await node.pass(0.5 * DAY_MS)
  assert.equal(node.coordinator.list(), [])
  await node.stop()
  node = await start(directory, clock, 8 * DAY_MS)
  assert.equal(node.coordinator.list(), [], 'it is forgotten on disk as well')
  await node.stop()
})

test.run()
