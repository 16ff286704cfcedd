import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { assignRange } from '../../src/consumer/assign-range.js'

const test = suite('range assignment')
const partitionsOf = (stream: string) => ({ a: 3, b: 2, one: 1 })[stream] ?? 0

test('partitions are shared in consecutive runs, the first members get one more', () => {
  const shares = assignRange(
    [
      { memberId: 'm2', streams: ['a', 'b'] },
      { memberId: 'm1', streams: ['b', 'a'] },
    ],
    partitionsOf,
  )
  const inOrder = (member: string) =>
    shares
      .get(member)
      ?.map(({ stream, partition }) => `${stream}${partition}`)
      .sort()
  assert.equal(inOrder('m1'), ['a0', 'a1', 'b0'])
  assert.equal(inOrder('m2'), ['a2', 'b1'])
})

test('a member beyond the number of partitions gets none', () => {
  const shares = assignRange(
    ['m1', 'm2', 'm3'].map((memberId) => ({ memberId, streams: ['b'] })),
    partitionsOf,
  )
  assert.equal(
    [...shares.values()].map((share) => share.length),
    [1, 1, 0],
  )
})

test('a stream goes only to those who subscribe to it', () => {
  const shares = assignRange(
    [
      { memberId: 'm1', streams: ['one'] },
      { memberId: 'm2', streams: ['b', 'unknown'] },
    ],
    partitionsOf,
  )
  assert.equal(shares.get('m1'), [{ stream: 'one', partition: 0 }])
  assert.equal(shares.get('m2')?.length, 2)
})

test('whatever the members and streams, every partition has exactly one owner, and it subscribes to its stream', () => {
  for (let members = 1; members <= 7; members++) {
    const subscribers = Array.from({ length: members }, (_, i) => ({
      memberId: `m${i}`,
      streams: i % 3 === 0 ? ['a'] : i % 3 === 1 ? ['a', 'b'] : ['b', 'one'],
    }))
    const owned = [...assignRange(subscribers, partitionsOf)].flatMap(([memberId, share]) => {
      for (const { stream } of share)
        assert.ok(subscribers.find((each) => each.memberId === memberId)?.streams.includes(stream))
      return share.map(({ stream, partition }) => `${stream}/${partition}`)
    })
    assert.is(new Set(owned).size, owned.length)
    const subscribed = new Set(subscribers.flatMap(({ streams }) => streams))
    assert.is(
      owned.length,
      [...subscribed].reduce((sum, stream) => sum + partitionsOf(stream), 0),
    )
  }
})

test.run()
