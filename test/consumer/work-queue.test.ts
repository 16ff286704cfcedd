import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import type { WaitForMessages } from '../../src/consumer/queue-words.js'
import { WorkQueues } from '../../src/consumer/work-queues.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { FakeClock, settle } from '../helpers/fake-clock.js'
import { MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'
import { QueueSetup, withSetup } from './queue-setup.js'

withSetup('each message goes to one worker of a queue, and to every queue', async (setup) => {
  setup.stream.add(0, 'a', 'b', 'c')
  setup.stream.add(1, 'd')
  const first = await setup.values('q', { maxMessages: 2 })
  const second = await setup.values('q', { maxMessages: 10 })
  assert.equal([...first, ...second].sort(), ['a', 'b', 'c', 'd'])
  assert.equal(await setup.values('q'), [])
  assert.equal((await setup.values('other')).sort(), ['a', 'b', 'c', 'd'])
})

withSetup(
  'an acknowledged message never comes back, one that was not comes back when its time is over',
  async (setup) => {
    setup.stream.add(0, 'a', 'b', 'c')
    const [a, , c] = await setup.receipts('q', { visibilityTimeoutMs: 5_000 })
    assert.equal(await setup.ack('q', [a, c]), { done: 2, stale: [] })
    await setup.clock.advance(4_999)
    assert.equal(await setup.values('q'), [])
    await setup.clock.advance(1)
    const again = await setup.receive('q')
    assert.equal(
      again.messages.map(({ record, attempt }) => [String(record.value), attempt]),
      [['b', 2]],
    )
  },
)

withSetup('acknowledging again is fine, with the receipt of a message that somebody else has is not', async (setup) => {
  setup.stream.add(0, 'a')
  const [first] = await setup.receipts('q', { visibilityTimeoutMs: 1_000 })
  await setup.clock.advance(1_000)
  const [second] = await setup.receipts('q')
  assert.equal(await setup.ack('q', [first]), { done: 0, stale: [first] })
  assert.equal(await setup.nack('q', [first]), { done: 0, stale: [first] })
  assert.equal(await setup.ack('q', [second]), { done: 1, stale: [] })
  assert.equal(await setup.ack('q', [second]), { done: 1, stale: [] })
})

withSetup('a worker that is late may still acknowledge while nobody else has the message', async (setup) => {
  setup.stream.add(0, 'a')
  const receipts = await setup.receipts('q', { visibilityTimeoutMs: 1_000 })
  await setup.clock.advance(60_000)
  assert.is((await setup.ack('q', receipts)).done, 1)
  assert.equal(await setup.values('q'), [])
})

withSetup('what is no receipt of this queue is refused, and so is a queue that is not there', async (setup) => {
  setup.stream.add(0, 'a')
  await setup.receive('q')
  for (const wrong of ['', '0-0', '7-0-x', '../0-0-x', '0-0-\0'])
    assert.is(await codeOf(setup.ack('q', [wrong])), 'INVALID_REQUEST', wrong)
  assert.equal(await setup.ack('q', ['0-5-abc']), { done: 0, stale: ['0-5-abc'] })
  assert.is(await codeOf(() => setup.ack('nobody', ['0-0-a'])), 'GROUP_ID_NOT_FOUND')
})

withSetup('a message that is given back comes again at once, or after the delay asked for', async (setup) => {
  setup.stream.add(0, 'a', 'b')
  const [a, b] = await setup.receipts('q')
  await setup.nack('q', [a])
  await setup.nack('q', [b], { delayMs: 2_000 })
  assert.equal(await setup.values('q'), ['a'])
  await setup.clock.advance(2_000)
  assert.equal(await setup.values('q'), ['b'])
})

withSetup('a worker that needs longer keeps its message', async (setup) => {
  setup.stream.add(0, 'a')
  const receipts = await setup.receipts('q', { visibilityTimeoutMs: 1_000 })
  await setup.clock.advance(900)
  assert.is(setup.queues.extend('jobs', 'q', receipts, 1_000).done, 1)
  await setup.clock.advance(999)
  assert.equal(await setup.values('q'), [])
  await setup.clock.advance(1)
  assert.equal(await setup.values('q'), ['a'])
})

withSetup('by key, a message waits until the one before it of its key is done, and others pass', async (setup) => {
  const of = (topic: string, value: string) => ({ topic, value })
  setup.stream.add(0, of('k1', 'a1'), of('k1', 'a2'), of('k2', 'b1'), of('k1', 'a3'), of('k2', 'b2'))
  const ordered = { orderedByKey: true }
  const first = await setup.receive('q', ordered)
  assert.equal(
    first.messages.map(({ record }) => String(record.value)),
    ['a1', 'b1'],
  )
  assert.equal(await setup.values('q', ordered), [])
  await setup.ack('q', [first.messages[1].receipt])
  assert.equal(await setup.values('q', ordered), ['b2'])
  // Given back with a delay, it still comes before its successors.
  await setup.nack('q', [first.messages[0].receipt], { delayMs: 1_000 })
  assert.equal(await setup.values('q', ordered), [])
  await setup.clock.advance(1_000)
  const again = await setup.receive('q', ordered)
  assert.equal(
    again.messages.map(({ record }) => String(record.value)),
    ['a1'],
  )
  await setup.ack(
    'q',
    again.messages.map(({ receipt }) => receipt),
  )
  assert.equal(await setup.values('q', ordered), ['a2'])
})

withSetup('what retention takes before it was done is named, and the rest goes on', async (setup) => {
  for (const value of ['a', 'b', 'c', 'd']) setup.stream.add(0, value)
  const [a] = await setup.receipts('q', { maxMessages: 2, visibilityTimeoutMs: 1_000 })
  await setup.ack('q', [a])
  setup.stream.dropBelow(0, 3)
  const { messages, lost } = await setup.receive('q')
  assert.equal(lost, [
    { partition: 0, firstOffset: 1, lastOffset: 1 },
    { partition: 0, firstOffset: 2, lastOffset: 2 },
  ])
  assert.equal(
    messages.map(({ record }) => String(record.value)),
    ['d'],
  )
  assert.equal((await setup.receive('q')).lost, [])
})

withSetup(
  'after a crash acknowledged messages stay away, others come back, and old receipts still count',
  async (setup) => {
    setup.stream.add(0, ...Array.from({ length: 20 }, (_, i) => `m${i}`))
    const receipts = await setup.receipts('q', { maxMessages: 10 })
    await setup.ack(
      'q',
      [1, 3, 4, 9].map((i) => receipts[i]),
    )
    await setup.restart()
    assert.is((await setup.ack('q', [receipts[0]])).done, 1)
    const back = await setup.receive('q')
    assert.equal(
      back.messages.map(({ record }) => String(record.value)).sort(),
      [2, 5, 6, 7, 8, ...Array.from({ length: 10 }, (_, i) => 10 + i)].map((i) => `m${i}`).sort(),
    )
    assert.equal(await setup.ack('q', [receipts[2]]), { done: 0, stale: [receipts[2]] }, 'somebody else has it now')
  },
)

withSetup('a queue that began at the end begins there still after a crash', async (setup) => {
  setup.stream.add(0, 'old')
  assert.equal(await setup.values('q', { start: { at: 'latest' } }), [])
  setup.stream.add(0, 'new')
  await setup.restart()
  assert.equal(await setup.values('q', { start: { at: 'latest' } }), ['new'])
})

test('as many queues as there may be, and one more is refused; those there are go on, also after a restart', async () => {
  const setup = await QueueSetup.start({ maxQueues: 2 })
  setup.stream.add(0, 'a')
  assert.equal(await setup.values('one'), ['a'])
  assert.equal(await setup.values('two'), ['a'])
  assert.is(await codeOf(setup.values('three')), 'TOO_MANY_REQUESTS')
  await setup.restart({ maxQueues: 2 })
  assert.is(await codeOf(setup.values('three')), 'TOO_MANY_REQUESTS')
  await setup.queues.remove('jobs', 'two')
  assert.equal(await setup.values('three'), ['a'])
  await setup.close()
})

test('the number of pending messages is bounded: no more are handed out until some are done', async () => {
  const setup = await QueueSetup.start({ maxPendingPerPartition: 3 })
  setup.stream.add(0, 'a', 'b', 'c', 'd', 'e')
  const receipts = await setup.receipts('q')
  assert.is(receipts.length, 3)
  assert.equal(await setup.values('q'), [])
  await setup.ack('q', receipts.slice(1))
  assert.equal(await setup.values('q'), ['d', 'e'])
  await setup.close()
})

withSetup('an answer is bounded in bytes, but the first message comes whatever its size', async (setup) => {
  setup.stream.add(0, 'x'.repeat(500), 'y'.repeat(500), 'z')
  assert.is((await setup.values('q', { maxBytes: 100 })).length, 1)
  assert.is((await setup.values('q', { maxBytes: 600 })).length, 2)
})

withSetup('a receive that waits gets what arrives, what is given back and what becomes due', async (setup) => {
  const until: WaitForMessages = (work, waitMs) =>
    new Promise((resolve) => {
      const end = () => {
        cancel()
        stop()
        resolve(true)
      }
      const cancel = setup.clock.after(waitMs, end)
      const stop = work.subscribe(() => work.ready() && end())
      if (work.ready()) end()
    })
  const waiting = async (what: () => unknown): Promise<string[]> => {
    const received = setup.receive('q', { waitMs: 60_000, visibilityTimeoutMs: 1_000 }, until)
    await settle()
    await settle()
    await what()
    return (await received).messages.map(({ record }) => String(record.value))
  }
  await setup.receive('q')
  assert.equal(await waiting(() => setup.stream.add(1, 'a')), ['a'])
  assert.equal(await waiting(() => setup.clock.advance(1_000)), ['a'])
  await setup.clock.advance(1_000)
  const receipts = await setup.receipts('q')
  assert.equal(await waiting(() => setup.nack('q', receipts)), ['a'])
  const started = setup.clock.monotonicMs()
  await setup.clock.advance(1_000)
  await setup.ack('q', await setup.receipts('q'))
  const nothing = setup.receive('q', { waitMs: 5_000 }, until)
  for (let i = 0; i < 8; i++) {
    await settle()
    await setup.clock.advance(1_000)
  }
  assert.equal((await nothing).messages, [])
  assert.ok(setup.clock.monotonicMs() >= started + 5_000)
})

test('partitions that come later are read from their beginning, and a stream that appears later finds its queue again', async () => {
  const directory = join(tempDir(), 'state')
  const asked = {
    maxMessages: 100,
    maxBytes: 1_000_000,
    waitMs: 0,
    orderedByKey: false,
    start: { at: 'earliest' } as const,
  }
  const receive = async (queues: WorkQueues): Promise<string[]> => {
    const { messages } = await queues.receive('late', 'q', asked, async () => true)
    const receipts = messages.map(({ receipt }) => receipt)
    if (receipts.length > 0) await queues.ack('late', 'q', receipts)
    return messages.map(({ record }) => String(record.value))
  }
  let state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  const common = { clock: new FakeClock(), logger: silentLogger }
  const one = new MemoryStream('late', 1)
  one.add(0, 'a')
  assert.equal(await receive(await WorkQueues.open({ ...common, state, streams: memoryCatalog(one) })), ['a'])
  await state.close()

  state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  const streams = new Map<string, MemoryStream>()
  const catalog = { streams, stream: (name: string) => memoryCatalog(...streams.values()).stream(name) }
  const queues = await WorkQueues.open({ ...common, state, streams: catalog })
  const two = new MemoryStream('late', 2)
  two.add(0, 'a', 'b')
  two.add(1, 'c')
  streams.set('late', two)
  assert.equal((await receive(queues)).sort(), ['b', 'c'])
  await state.close()
})

withSetup('a removed queue begins anew', async (setup) => {
  setup.stream.add(0, 'a')
  await setup.ack('q', await setup.receipts('q'))
  await setup.queues.remove('jobs', 'q')
  assert.is(await codeOf(() => setup.queues.describe('jobs', 'q')), 'GROUP_ID_NOT_FOUND')
  await setup.restart()
  assert.equal(await setup.values('q'), ['a'])
})

withSetup('a queue tells what is left, with whom, and what waits', async (setup) => {
  setup.stream.add(0, 'a', 'b', 'c', 'd')
  const [a, b] = await setup.receipts('limited', { maxMessages: 3 })
  await setup.ack('limited', [a])
  await setup.nack('limited', [b], { delayMs: 1_000 })
  const { backlog, inFlight, waiting, deadLetter, maxAttempts, received, acknowledged } = setup.queues.describe(
    'jobs',
    'limited',
  )
  assert.equal(
    { backlog, inFlight, waiting, deadLetter, maxAttempts, received, acknowledged },
    { backlog: 1, inFlight: 1, waiting: 1, deadLetter: 'jobs-dead', maxAttempts: 3, received: 3, acknowledged: 1 },
  )
})

test.run()
