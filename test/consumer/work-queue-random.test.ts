// test-run: limit 120 s
// Work queues under random use: workers that ack, give back, extend or forget, time that passes, restarts, retention. A model knows what may be
// handed out when; a failing run prints its seed.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { WorkQueues } from '../../src/consumer/work-queues.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'

const STEPS = 1_500
const KEYS = 5
const MAX_PENDING = 40
const MAX_ATTEMPTS = 4

interface Held {
  readonly partition: number
  readonly offset: number
  readonly key: string
  readonly receipt: string
  untilMs: number
}

async function run(random: SeededRandom, orderedByKey: boolean): Promise<void> {
  const clock = new FakeClock()
  const stream = new MemoryStream('jobs', 2)
  const dead = new MemoryStream('dead', 1, [])
  const directory = join(tempDir(), 'state')
  const queue = {
    stream: 'jobs',
    group: 'g',
    maxAttempts: MAX_ATTEMPTS,
    deadLetter: 'dead',
    visibilityTimeoutMs: 1_000,
  }
  let state!: LevelStateStore
  let queues!: WorkQueues
  const open = async (): Promise<void> => {
    state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
    const streams = memoryCatalog(stream, dead)
    const options = { maxPendingPerPartition: MAX_PENDING }
    queues = await WorkQueues.open({ streams, state, clock, logger: silentLogger, configured: [queue], options })
  }
  await open()
  const held = new Map<string, Held>()
  const acked = new Set<string>()
  const lost = new Set<string>()
  const attempts = new Map<string, number>()
  const idOf = ({ partition, offset }: { partition: number; offset: number }): string => `${partition}/${offset}`
  const isHeld = (id: string): boolean => (held.get(id)?.untilMs ?? -1) > clock.monotonicMs()
  const pick = (): Held | undefined => [...held.values()][random.below(Math.max(1, held.size))]

  const receive = async (): Promise<number> => {
    const visibilityTimeoutMs = 200 + random.below(2_000)
    const asked = {
      maxMessages: 1 + random.below(12),
      maxBytes: 1_000_000,
      visibilityTimeoutMs,
      waitMs: 0,
      orderedByKey,
    }
    const received = await queues.receive('jobs', 'g', { ...asked, start: { at: 'earliest' } }, async () => true)
    for (const { partition, firstOffset, lastOffset } of received.lost)
      for (let offset = firstOffset; offset <= lastOffset; offset++) {
        lost.add(`${partition}/${offset}`)
        // Whoever works on it holds up nobody any more.
        held.delete(`${partition}/${offset}`)
      }
    for (const { partition, record, attempt, receipt } of received.messages) {
      const id = idOf({ partition, offset: record.offset })
      const key = `${partition}/${record.key}`
      assert.not(acked.has(id), `${id} comes again after its ack`)
      assert.not(isHeld(id), `${id} is with somebody else`)
      assert.is(attempt, (attempts.get(id) ?? 0) + 1, `attempts of ${id}`)
      assert.ok(attempt <= MAX_ATTEMPTS)
      attempts.set(id, attempt)
      if (orderedByKey)
        for (const other of held.values())
          assert.not(isHeld(idOf(other)) && other.key === key, `${id} while ${idOf(other)} of its key is at work`)
      held.set(id, {
        partition,
        offset: record.offset,
        key,
        receipt,
        untilMs: clock.monotonicMs() + visibilityTimeoutMs,
      })
    }
    return received.messages.length
  }

  for (let step = 0; step < STEPS; step++) {
    const action = random.below(100)
    const one = pick()
    if (action < 25) stream.add(random.below(2), { value: 'x', topic: `k${random.below(KEYS)}` })
    else if (action < 60) await receive()
    else if (action < 78 && one !== undefined) {
      const { stale } = await queues.ack('jobs', 'g', [one.receipt])
      if (stale.length === 0) acked.add(idOf(one))
      if (isHeld(idOf(one))) assert.equal(stale, [], 'who has it may say that it is done')
      held.delete(idOf(one))
    } else if (action < 86 && one !== undefined) {
      const nack = { delayMs: random.below(800), reason: 'r', deadLetter: random.chance(0.1) }
      await queues.nack('jobs', 'g', [one.receipt], nack)
      held.delete(idOf(one))
    } else if (action < 90 && one !== undefined) {
      if (queues.extend('jobs', 'g', [one.receipt], 1_000).stale.length === 0) one.untilMs = clock.monotonicMs() + 1_000
    } else if (action < 97) await clock.advance(random.below(600))
    else if (action < 98) {
      await state.close()
      await open()
      held.clear()
    } else if (random.chance(0.2)) {
      const partition = random.below(2)
      const end = stream.highWatermark(partition as never)
      stream.dropBelow(partition, Math.max(stream.logStartOffset(partition as never), end - 30))
    }
    const [described] = queues.list()
    if (described !== undefined) assert.ok(described.inFlight + described.waiting <= 2 * MAX_PENDING)
  }
  // Whatever is left is worked off: each message ends acknowledged, as a dead letter, or named as lost.
  for (let idle = 0; idle < 3; ) {
    await clock.advance(5_000)
    const count = await receive()
    for (const one of [...held.values()]) {
      await queues.ack('jobs', 'g', [one.receipt])
      acked.add(idOf(one))
      held.delete(idOf(one))
    }
    idle = count === 0 ? idle + 1 : 0
  }
  const { backlog, inFlight, waiting } = queues.describe('jobs', 'g')
  assert.equal([backlog, inFlight, waiting], [0, 0, 0])
  const letters = dead.highWatermark(0 as never)
  const total = stream.highWatermark(0 as never) + stream.highWatermark(1 as never)
  assert.ok(acked.size + lost.size + letters >= total, `${acked.size} + ${lost.size} + ${letters} of ${total}`)
  await state.close()
}

for (const orderedByKey of [false, true])
  test(`nothing is handed out twice at once, comes after its ack, or is forgotten${orderedByKey ? ', in the order of keys' : ''}`, async () => {
    const random = new SeededRandom()
    console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
    await run(random, orderedByKey)
  })

test.run()
