import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { originOf } from '../../src/consumer/dead-letter.js'
import type { LogRecord } from '../../src/record/record.js'
import { codeOf } from '../helpers/rejection.js'
import { type QueueSetup, withSetup } from './queue-setup.js'

withSetup(
  'after its last attempt a message becomes a dead letter that says where it came from and why',
  async (setup) => {
    setup.stream.add(
      1,
      { value: 'fine' },
      { value: 'poison', topic: 'sensors/9', headers: [{ key: 'x', value: Buffer.from('1') }] },
    )
    for (let attempt = 1; attempt <= 3; attempt++) {
      const { messages } = await setup.receive('limited')
      for (const { record, receipt, attempt: said } of messages) {
        if (String(record.value) === 'fine') await setup.ack('limited', [receipt])
        else {
          assert.is(said, attempt)
          await setup.nack('limited', [receipt], { reason: `broken ${attempt}` })
        }
      }
    }
    assert.equal(await setup.values('limited'), [])
    const [letter] = await setup.letters()
    assert.is(String(letter.value), 'poison')
    assert.is(String(letter.key), 'sensors/9')
    assert.equal(originOf(letter.headers), {
      stream: 'jobs',
      incarnation: 1,
      group: 'limited',
      partition: 1,
      offset: 1,
    })
    const said = Object.fromEntries(letter.headers.map(({ key, value }) => [key, String(value)]))
    assert.is(said['x'], '1')
    assert.is(said['sluice.dead.reason'], 'broken 3')
    assert.is(said['sluice.dead.attempts'], '3')
  },
)

withSetup('a message that every worker dies of becomes a dead letter too, also across restarts', async (setup) => {
  setup.stream.add(0, 'poison')
  for (let attempt = 1; attempt <= 3; attempt++) {
    assert.equal(await setup.values('limited'), ['poison'], `attempt ${attempt}`)
    await setup.restart()
  }
  await setup.clock.advance(30_000)
  assert.equal(await setup.values('limited'), [])
  const [letter] = await setup.letters()
  assert.is(letter.headers.find(({ key }) => key === 'sluice.dead.reason')?.value?.toString(), 'visibility time-out')
})

withSetup('a worker may give a message up at once, where there is a dead letter stream', async (setup) => {
  setup.stream.add(0, 'a')
  await setup.nack('limited', await setup.receipts('limited'), { deadLetter: true, reason: 'not JSON' })
  assert.equal(
    (await setup.letters()).map(({ value }) => String(value)),
    ['a'],
  )
  assert.equal(await setup.values('limited'), [])
  const receipts = await setup.receipts('unlimited')
  assert.is(await codeOf(setup.nack('unlimited', receipts, { deadLetter: true })), 'INVALID_REQUEST')
})

withSetup('redrive brings dead letters back once, and to their own queue only', async (setup) => {
  setup.stream.add(0, 'a', 'b')
  await setup.nack('limited', await setup.receipts('limited'), { deadLetter: true })
  assert.equal(await setup.queues.redrive('jobs', 'limited', 1), { redriven: 1, gone: 0 })
  await setup.restart()
  assert.equal(await setup.queues.redrive('jobs', 'limited', 10), { redriven: 1, gone: 0 })
  assert.equal(await setup.queues.redrive('jobs', 'limited', 10), { redriven: 0, gone: 0 })
  const { messages } = await setup.receive('limited')
  assert.equal(
    messages.map(({ record, attempt }) => [String(record.value), attempt]),
    [
      ['a', 1],
      ['b', 1],
    ],
  )
})

withSetup('redrive says how many messages retention has taken meanwhile', async (setup) => {
  setup.stream.add(0, 'a')
  setup.stream.add(0, 'b')
  await setup.nack('limited', await setup.receipts('limited'), { deadLetter: true })
  setup.stream.dropBelow(0, 1)
  assert.equal(await setup.queues.redrive('jobs', 'limited', 10), { redriven: 1, gone: 1 })
})

const reasonOf = ({ headers }: LogRecord) => headers.find(({ key }) => key === 'sluice.dead.reason')?.value?.toString()

/** Uses up the attempts at everything in `limited` but for the last, which is under way when it resolves. */
async function lastAttempt(setup: QueueSetup): Promise<string[]> {
  for (let attempt = 1; attempt < 3; attempt++) await setup.nack('limited', await setup.receipts('limited'))
  return setup.receipts('limited', { visibilityTimeoutMs: 5_000 })
}

/** The clock is a fake, the disk is not: resolves once the queue has written what it had to. */
async function advance(setup: QueueSetup, ms: number): Promise<void> {
  await setup.clock.advance(ms)
  await setup.queues.redrive('jobs', 'limited', 1)
}

withSetup('a message whose last attempt runs out becomes a dead letter then, with nobody asking', async (setup) => {
  setup.stream.add(0, 'poison', 'fine')
  const receipts = await lastAttempt(setup)
  await setup.ack('limited', [receipts[1]])
  await setup.clock.advance(4_999)
  assert.equal(await setup.letters(), [])
  await setup.clock.advance(1)
  const letters = await setup.letters()
  assert.equal(
    letters.map((letter) => [String(letter.value), reasonOf(letter)]),
    [['poison', 'visibility time-out']],
  )
  assert.is(setup.queues.describe('jobs', 'limited').waiting, 0)
  await setup.clock.advance(60_000)
  await setup.restart()
  await setup.clock.advance(60_000)
  assert.is((await setup.letters()).length, 1, 'and once only')
})

withSetup('a last attempt that is extended runs out later, or sooner', async (setup) => {
  setup.stream.add(0, 'longer', 'shorter')
  const [longer, shorter] = await lastAttempt(setup)
  setup.queues.extend('jobs', 'limited', [longer], 20_000)
  setup.queues.extend('jobs', 'limited', [shorter], 1_000)
  const values = async () => (await setup.letters()).map(({ value }) => String(value))
  await advance(setup, 1_000)
  assert.equal(await values(), ['shorter'])
  await advance(setup, 18_999)
  assert.equal(await values(), ['shorter'])
  await advance(setup, 1)
  assert.equal(await values(), ['shorter', 'longer'])
})

withSetup(
  'after a restart the worker of a last attempt has the time of a lease again, then it is over',
  async (setup) => {
    setup.stream.add(0, 'late', 'never')
    const [late] = await lastAttempt(setup)
    await setup.restart()
    await setup.clock.advance(29_999)
    assert.equal(await setup.values('limited'), [])
    assert.is((await setup.ack('limited', [late])).done, 1)
    await setup.clock.advance(1)
    assert.equal(
      (await setup.letters()).map(({ value }) => String(value)),
      ['never'],
    )
  },
)

withSetup(
  'a dead letter that cannot be stored is tried again, with nobody asking, and nothing is lost',
  async (setup) => {
    setup.stream.add(0, 'poison')
    await lastAttempt(setup)
    const append = setup.dead.append
    let refused = 0
    setup.dead.append = () => {
      refused += 1
      throw new SluiceError('STORAGE_FULL', 'no room')
    }
    await advance(setup, 5_000)
    for (let second = 0; second < 2; second++) await advance(setup, 1_000)
    assert.is(refused, 3, 'at first, and each second')
    assert.equal(await setup.values('limited'), [], 'nor is it handed out')
    setup.dead.append = append
    await advance(setup, 1_000)
    assert.is((await setup.letters()).length, 1)
  },
)

withSetup('very many that run out at one moment are all buried', async (setup) => {
  setup.stream.add(0, ...Array.from({ length: 100 }, (_, i) => `m${i}`))
  await lastAttempt(setup)
  await setup.clock.advance(5_000)
  assert.equal(
    (await setup.letters()).map(({ value }) => String(value)),
    Array.from({ length: 100 }, (_, i) => `m${i}`),
  )
})

withSetup('a queue that was removed, or whose node has stopped, buries nothing', async (setup) => {
  setup.stream.add(0, 'a')
  await lastAttempt(setup)
  await setup.queues.remove('jobs', 'limited')
  await setup.clock.advance(60_000)
  assert.equal(await setup.letters(), [])
})

test.run()
