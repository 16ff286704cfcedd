import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { AckQueue, PUBACK, PUBCOMP, PUBREC } from '../../src/mqtt/ack-queue.js'
import { SettableCommit } from '../../src/mqtt/settable-commit.js'

function queueWithLog(maximum = 1024) {
  const writes: number[][] = []
  const failed: unknown[] = []
  const queue = new AckQueue(
    {
      writeAcks(bytes) {
        const ids: number[] = []
        for (let at = 0; at < bytes.length; at += 4) ids.push(bytes.readUInt16BE(at + 2))
        writes.push(ids)
      },
      ackFailed: (commit) => failed.push(commit),
    },
    maximum,
  )
  return { queue, writes, failed }
}

test('one commit lets all its acknowledgements go in one write', () => {
  const { queue, writes } = queueWithLog()
  const commit = new SettableCommit()
  for (let id = 1; id <= 100; id++) queue.push(PUBACK, id, commit)
  queue.release()
  assert.equal(writes, [])
  commit.settle(null)
  assert.equal(writes, [Array.from({ length: 100 }, (_, i) => i + 1)])
})

test('acknowledgements of two streams leave in the order of receipt, whichever commit is first', () => {
  const { queue, writes } = queueWithLog()
  const [a, b, c] = [new SettableCommit(), new SettableCommit(), new SettableCommit()]
  queue.push(PUBACK, 1, a)
  queue.push(PUBACK, 2, b)
  queue.push(PUBACK, 3, a)
  queue.push(PUBACK, 4, c)
  queue.push(PUBACK, 5, b)
  b.settle(null)
  assert.equal(writes, [])
  a.settle(null)
  assert.equal(writes, [[1, 2, 3]])
  c.settle(null)
  assert.equal(writes, [
    [1, 2, 3],
    [4, 5],
  ])
  assert.is(queue.length, 0)
})

test('a failed commit lets go what precedes it and nothing after it', () => {
  const { queue, writes, failed } = queueWithLog()
  const [good, bad, later] = [new SettableCommit(), new SettableCommit(), new SettableCommit()]
  queue.push(PUBACK, 1, good)
  queue.push(PUBREC, 2, bad)
  queue.push(PUBACK, 3, later)
  bad.settle(new SluiceError('STORAGE_FULL', 'full'))
  assert.equal(failed, [])
  later.settle(null)
  good.settle(null)
  assert.equal(writes, [[1]])
  assert.equal(failed, [bad])
  queue.push(PUBACK, 4, null)
  queue.release()
  assert.equal(writes, [[1]])
})

test('what waits for nothing leaves at once, but not before its turn', () => {
  const { queue, writes } = queueWithLog()
  queue.push(PUBCOMP, 1, null)
  queue.release()
  assert.equal(writes, [[1]])
  const commit = new SettableCommit()
  queue.push(PUBREC, 2, commit)
  queue.push(PUBCOMP, 3, null)
  queue.release()
  assert.is(writes.length, 1)
  commit.settle(null)
  assert.equal(writes[1], [2, 3])
})

test('the queue is full at its maximum and keeps order while it grows and wraps', () => {
  const { queue, writes } = queueWithLog(64)
  let next = 1
  const expected: number[] = []
  for (let round = 0; round < 50; round++) {
    const commit = new SettableCommit()
    const count = 1 + ((round * 7) % 60)
    for (let i = 0; i < count; i++) {
      expected.push(next)
      queue.push(PUBACK, next++, commit)
    }
    commit.settle(null)
  }
  assert.equal(writes.flat(), expected)
  assert.not(queue.isFull)
  for (let i = 0; i < 64; i++) queue.push(PUBACK, i + 1, new SettableCommit())
  assert.ok(queue.isFull)
})

test.run()
