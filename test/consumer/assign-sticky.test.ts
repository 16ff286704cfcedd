import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assignRoundRobin } from '../../src/consumer/assign-round-robin.js'
import { assignSticky } from '../../src/consumer/assign-sticky.js'
import type { Assignment, Subscriber } from '../../src/consumer/assignment.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const all = (streams: string[], ...ids: string[]): Subscriber[] => ids.map((memberId) => ({ memberId, streams }))
const sizes = (shares: Assignment) => [...shares.values()].map(({ length }) => length)
const owners = (shares: Assignment) =>
  new Map(
    [...shares].flatMap(([id, share]) => share.map(({ stream, partition }) => [`${stream}/${partition}`, id] as const)),
  )
const nobody = () => []

test('round robin evens out over streams of one partition each, where range would give all to one member', () => {
  const shares = assignRoundRobin(all(['a', 'b', 'c', 'd'], 'm1', 'm2'), () => 1)
  assert.equal(sizes(shares), [2, 2])
})

test('round robin passes over members that do not subscribe to a stream', () => {
  const shares = assignRoundRobin(
    [
      { memberId: 'm1', streams: ['a'] },
      { memberId: 'm2', streams: ['a', 'b'] },
    ],
    () => 2,
  )
  assert.equal(
    shares.get('m1')?.map(({ stream }) => stream),
    ['a'],
  )
  assert.equal(
    shares.get('m2')?.map(({ stream }) => stream),
    ['a', 'b', 'b'],
  )
})

test('when a member leaves, the others keep all they have and share out its part', () => {
  const before = assignSticky(all(['a'], 'm1', 'm2', 'm3'), () => 9, nobody)
  const after = assignSticky(
    all(['a'], 'm1', 'm3'),
    () => 9,
    (id) => before.get(id) ?? [],
  )
  for (const id of ['m1', 'm3'])
    for (const kept of before.get(id) ?? [])
      assert.ok(
        after.get(id)?.some(({ partition }) => partition === kept.partition),
        `${id} keeps ${kept.partition}`,
      )
  assert.equal(sizes(after).sort(), [4, 5])
})

test('when a member comes, it gets its even share and nothing else moves', () => {
  const before = assignSticky(all(['a'], 'm1', 'm2'), () => 8, nobody)
  const after = assignSticky(
    all(['a'], 'm0', 'm1', 'm2'),
    () => 8,
    (id) => before.get(id) ?? [],
  )
  const [was, is] = [owners(before), owners(after)]
  const moved = [...is].filter(([partition, owner]) => was.get(partition) !== owner)
  assert.is(moved.length, 2)
  assert.ok(moved.every(([, owner]) => owner === 'm0'))
})

test('of two members that claim one partition one keeps it, and what is gone or not subscribed to is dropped', () => {
  const claims = [
    { stream: 'a', partition: 0 },
    { stream: 'b', partition: 0 },
    { stream: 'a', partition: 7 },
  ]
  const shares = assignSticky(
    all(['a'], 'm1', 'm2'),
    () => 2,
    () => claims,
  )
  assert.equal(sizes(shares), [1, 1])
  assert.is(owners(shares).get('a/0'), 'm1')
})

test('whatever members and streams come and go, every partition has one owner that subscribes to it, and equals get equal shares', () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  for (let round = 0; round < 200; round++) {
    const counts = new Map(['a', 'b', 'c'].map((stream) => [stream, random.below(9)]))
    const partitionsOf = (stream: string) => counts.get(stream) ?? 0
    const alike = random.chance(0.5)
    let before: Assignment = new Map()
    for (let generation = 0; generation < 6; generation++) {
      const members = Array.from({ length: 1 + random.below(6) }, () => `m${random.below(8)}`)
      const subscribers = [...new Set(members)].map((memberId) => ({
        memberId,
        streams: alike ? ['a', 'b', 'c'] : ['a', 'b', 'c'].filter(() => random.chance(0.6)),
      }))
      for (const [name, shares] of [
        ['sticky', assignSticky(subscribers, partitionsOf, (id) => before.get(id) ?? [])],
        ['round robin', assignRoundRobin(subscribers, partitionsOf)],
      ] as const) {
        const wanted = new Set(subscribers.flatMap(({ streams }) => streams))
        const total = [...wanted].reduce((sum, stream) => sum + partitionsOf(stream), 0)
        assert.is(owners(shares).size, total, `${name}: every partition`)
        assert.is(
          sizes(shares).reduce((sum, size) => sum + size, 0),
          total,
          `${name}: once`,
        )
        for (const { memberId, streams } of subscribers)
          for (const { stream } of shares.get(memberId) ?? []) assert.ok(streams.includes(stream), name)
        if (alike) assert.ok(Math.max(...sizes(shares)) - Math.min(...sizes(shares)) <= 1, `${name} is even`)
        if (name === 'sticky') before = shares
      }
    }
  }
})

test.run()
