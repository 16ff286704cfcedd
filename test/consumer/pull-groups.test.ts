import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GroupCoordinator } from '../../src/consumer/group-coordinator.js'
import { PullGroups, type PullJoin, type WaitForWork } from '../../src/consumer/pull-groups.js'
import type { PullFetched } from '../../src/consumer/pull-member.js'
import { toOffset } from '../../src/record/record.js'
import { FakeClock, settle } from '../helpers/fake-clock.js'
import { MemoryOffsets, MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { codeOf, errorOf } from '../helpers/rejection.js'

const test = suite('pull groups')
const G = 'g'
const noWait: WaitForWork = async () => true

function setUp(partitions = 1) {
  const clock = new FakeClock()
  const stream = new MemoryStream('telemetry', partitions)
  const offsets = new MemoryOffsets()
  const streams = memoryCatalog(stream)
  const coordinator = new GroupCoordinator({ streams, offsets, clock })
  const groups = new PullGroups(coordinator, streams, offsets)
  const join = (request: Partial<PullJoin> = {}) =>
    groups.join(G, {
      streams: ['telemetry'],
      memberName: 'm',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      offsetReset: { at: 'earliest' },
      ...request,
    })
  const fetch = (memberId: string, request: { maxRecords?: number; after?: number } = {}, wait = noWait) =>
    groups.fetch(G, memberId, { maxRecords: 100, maxBytes: 1_000_000, ...request }, wait)
  return { clock, stream, streams, offsets, coordinator, groups, join, fetch }
}

function values({ partitions }: PullFetched): string[] {
  return partitions.flatMap(({ records }) => records.map(({ value }) => value?.toString() ?? ''))
}

/** A wait like the server's: until woken, or until the test ends it. */
function openWait() {
  let end = (_wanted: boolean) => {}
  const wait: WaitForWork = (work) =>
    new Promise((resolve) => {
      const unsubscribe = work.subscribe(() => work.ready() && end(true))
      end = (wanted) => {
        unsubscribe()
        resolve(wanted)
      }
    })
  return { wait, end: (wanted: boolean) => end(wanted) }
}

test('a group without offsets starts at earliest, or where its member asks', async () => {
  const { stream, groups, join, fetch } = setUp()
  stream.add(0, 'a', 'b')
  stream.add(0, 'c')
  const member = await join()
  assert.equal(values(await fetch(member.memberId)), ['a', 'b', 'c'])
  groups.leave(G, member.memberId)
  const late = await join({ offsetReset: { at: 'latest' } })
  assert.equal(late.assignments, [{ stream: 'telemetry', partition: 0, position: toOffset(3) }])
  groups.leave(G, late.memberId)
  const at = await join({ offsetReset: { at: 'offset', offset: 1 } })
  assert.equal(values(await fetch(at.memberId)), ['b', 'c'])
})

test('a group goes on where it committed, whatever its next member asks', async () => {
  const { stream, groups, join, fetch } = setUp()
  stream.add(0, 'a', 'b', 'c')
  const member = await join()
  await fetch(member.memberId, { maxRecords: 2 })
  await groups.commit(G, [{ stream: 'telemetry', partition: 0, offset: toOffset(1) }], member)
  groups.leave(G, member.memberId)
  const next = await join({ offsetReset: { at: 'latest' } })
  assert.equal(values(await fetch(next.memberId)), ['b', 'c'])
})

test('a fetch returns exactly as many records as it may, also from the middle of a batch', async () => {
  const { stream, join, fetch } = setUp()
  stream.add(0, 'a', 'b', 'c', 'd')
  const { memberId } = await join()
  assert.equal(values(await fetch(memberId, { maxRecords: 1 })), ['a'])
  assert.equal(values(await fetch(memberId, { maxRecords: 2 })), ['b', 'c'])
  assert.equal(values(await fetch(memberId, { maxRecords: 2 })), ['d'])
  assert.equal(values(await fetch(memberId)), [])
})

test('an answer that was lost comes again when the client names the last one it had', async () => {
  const { stream, join, fetch } = setUp()
  stream.add(0, 'a', 'b', 'c')
  const { memberId } = await join()
  const first = await fetch(memberId, { maxRecords: 1, after: 0 })
  assert.equal(values(first), ['a'])
  await fetch(memberId, { maxRecords: 1, after: first.fetchId })
  const again = await fetch(memberId, { maxRecords: 1, after: first.fetchId })
  assert.equal(values(again), ['b'])
  assert.equal(values(await fetch(memberId, { after: again.fetchId })), ['c'])
  assert.is(await codeOf(fetch(memberId, { after: 99 })), 'INVALID_REQUEST')
})

test('one busy partition does not starve the others', async () => {
  const { stream, join, fetch } = setUp(3)
  for (let i = 0; i < 100; i++) stream.add(0, `busy${i}`)
  stream.add(1, 'one')
  stream.add(2, 'two')
  const { memberId } = await join()
  const seen: string[] = []
  for (let i = 0; i < 3; i++) seen.push(...values(await fetch(memberId, { maxRecords: 3 })))
  assert.ok(seen.includes('one') && seen.includes('two'), seen.join())
})

test('records arrive in order per partition and once, however small the fetches', async () => {
  const { stream, join, fetch } = setUp(2)
  for (let i = 0; i < 30; i++) stream.add(i % 2, ...Array.from({ length: (i % 5) + 1 }, (_, k) => `${i}.${k}`))
  const { memberId } = await join()
  const offsets: number[][] = [[], []]
  for (let size = 1; offsets.flat().length < 90; size = (size % 7) + 1)
    for (const { partition, records } of (await fetch(memberId, { maxRecords: size })).partitions)
      offsets[partition].push(...records.map(({ offset }) => offset as number))
  for (const [partition, seen] of offsets.entries())
    assert.equal(seen, [...Array(stream.highWatermark(partition as never)).keys()])
})

test('a fetch that waits answers when a record comes, and leaves no listener behind', async () => {
  const { stream, join, fetch } = setUp()
  const { memberId } = await join()
  const { wait } = openWait()
  const waiting = fetch(memberId, {}, wait)
  await settle()
  assert.is(stream.listenerCount, 1)
  stream.add(0, 'a')
  assert.equal(values(await waiting), ['a'])
  assert.is(stream.listenerCount, 0)
})

test('a member whose fetch waits is not put out, however long that takes', async () => {
  const { clock, stream, join, fetch } = setUp()
  const { memberId } = await join()
  const { wait } = openWait()
  const waiting = fetch(memberId, {}, wait)
  await clock.advance(59_000)
  stream.add(0, 'a')
  assert.equal(values(await waiting), ['a'])
})

test('a fetch whose client has hung up moves nothing', async () => {
  const { stream, join, fetch } = setUp()
  const { memberId } = await join()
  const { wait, end } = openWait()
  const waiting = fetch(memberId, {}, wait)
  await settle()
  end(false)
  stream.add(0, 'a')
  assert.equal(values(await waiting), [])
  assert.equal(values(await fetch(memberId)), ['a'])
})

test('of two fetches of one member the later gets the records', async () => {
  const { stream, join, fetch } = setUp()
  const { memberId } = await join()
  const earlier = fetch(memberId, {}, openWait().wait)
  await settle()
  const later = fetch(memberId, {}, openWait().wait)
  await settle()
  stream.add(0, 'a')
  assert.equal(values(await earlier), [])
  assert.equal(values(await later), ['a'])
})

test('a rebalance wakes a fetch that waits, and both members then own different partitions', async () => {
  const { join, fetch, groups } = setUp(4)
  const first = await join()
  const waiting = codeOf(fetch(first.memberId, {}, openWait().wait))
  await settle()
  const joining = join()
  assert.is(await waiting, 'REBALANCE_IN_PROGRESS')
  assert.is(await codeOf(() => groups.heartbeat(G, first.memberId)), 'REBALANCE_IN_PROGRESS')
  const again = await join({ memberId: first.memberId })
  const second = await joining
  assert.is(again.generation, second.generation)
  const owned = [...again.assignments, ...second.assignments].map(({ partition }) => partition)
  assert.equal(owned.sort(), [0, 1, 2, 3])
  assert.is(again.assignments.length, 2)
})

test('what was fetched but not committed before a rebalance is delivered again', async () => {
  const { stream, groups, join, fetch } = setUp()
  stream.add(0, 'a', 'b', 'c')
  const first = await join()
  await fetch(first.memberId)
  await groups.commit(G, [{ stream: 'telemetry', partition: 0, offset: toOffset(1) }], first)
  const again = await join({ memberId: first.memberId })
  assert.equal(values(await fetch(again.memberId)), ['b', 'c'])
})

test('many members that join at once settle with every partition owned once', async () => {
  const { groups, join } = setUp(8)
  const joined = await Promise.all(
    Array.from({ length: 8 }, async () => {
      let member = await join()
      for (;;) {
        await settle()
        try {
          groups.heartbeat(G, member.memberId)
          if (groups.describe(G).members.length === 8) return member
        } catch {
          member = await join({ memberId: member.memberId })
        }
      }
    }),
  )
  assert.is(new Set(joined.map(({ generation }) => generation)).size, 1)
  const owned = groups.describe(G).members.flatMap(({ assignments }) => assignments.map(({ partition }) => partition))
  assert.equal(owned.sort(), [0, 1, 2, 3, 4, 5, 6, 7])
})

test('a member that retention has overtaken is told once, with the range, and then goes on at the oldest record', async () => {
  const { stream, groups, join, fetch } = setUp()
  stream.add(0, 'a')
  stream.add(0, 'b')
  stream.add(0, 'c')
  const member = await join()
  await groups.commit(G, [{ stream: 'telemetry', partition: 0, offset: toOffset(0) }], member)
  stream.dropBelow(0, 2)
  const error = await errorOf(fetch(member.memberId))
  assert.is(error.code, 'OFFSET_OUT_OF_RANGE')
  assert.equal(error.details, {
    stream: 'telemetry',
    partition: 0,
    offset: 0,
    log_start_offset: 2,
    high_watermark: 3,
    next_offset: 2,
  })
  assert.equal(values(await fetch(member.memberId)), ['c'])
})

test('a member of an unknown stream, and an unknown member, are refused', async () => {
  const { groups, join, fetch } = setUp()
  assert.is(await codeOf(join({ streams: ['nope'] })), 'UNKNOWN_STREAM_OR_PARTITION')
  assert.is(await codeOf(join({ streams: [] })), 'INVALID_REQUEST')
  assert.is(await codeOf(fetch('m-1')), 'UNKNOWN_MEMBER_ID')
  assert.equal(groups.list(), [])
})

test('a member that was put out is told so by its next fetch, and can join again', async () => {
  const { clock, join, fetch } = setUp()
  const { memberId } = await join()
  await clock.advance(10_000)
  assert.is(await codeOf(fetch(memberId)), 'UNKNOWN_MEMBER_ID')
  assert.is((await join()).assignments.length, 1)
})

test('with the sticky strategy members keep what they have when another comes', async () => {
  const { join } = setUp(6)
  const first = await join({ assignment: ['sticky'] })
  const joining = join({ assignment: ['sticky'], memberName: 'a' })
  const again = await join({ assignment: ['sticky'], memberId: first.memberId })
  const second = await joining
  assert.is(second.assignments.length, 3)
  assert.equal(
    again.assignments.map(({ partition }) => partition),
    [0, 1, 2],
    'by range the newcomer, first in order, would have got these',
  )
})

test('members vote for a strategy that all of them can follow, and one that shares none is refused', async () => {
  const { groups, join } = setUp(2)
  const first = await join()
  const joining = join({ assignment: ['sticky', 'range'] })
  await settle()
  await Promise.all([joining, join({ memberId: first.memberId })])
  assert.match(groups.describe(G).assignment ?? '', /range|sticky/)
  const error = await errorOf(join({ assignment: ['round_robin'] }))
  assert.is(error.code, 'INCONSISTENT_GROUP_PROTOCOL')
  assert.match(error.message, 'this one by sluice: round_robin')
})

test('a member of a stream that another has taken the place of neither reads nor commits by its old positions, and can join again', async () => {
  const { stream, streams, offsets, groups, join, fetch } = setUp()
  stream.add(0, 'a', 'b', 'c')
  const member = await join()
  assert.equal(values(await fetch(member.memberId, { maxRecords: 2 })), ['a', 'b'])
  const another = new MemoryStream('telemetry', 1)
  another.add(0, 'A', 'B', 'C', 'D')
  ;(streams.streams as Map<string, MemoryStream>).set('telemetry', another)
  assert.is(await codeOf(fetch(member.memberId)), 'REBALANCE_IN_PROGRESS')
  const commit = groups.commit(G, [{ stream: 'telemetry', partition: 0, offset: toOffset(2) }], member)
  assert.is(await codeOf(commit), 'REBALANCE_IN_PROGRESS')
  assert.is(offsets.get(G, 'telemetry', 0), undefined)
  const again = await join({ memberId: member.memberId })
  assert.equal(values(await fetch(again.memberId)), ['A', 'B', 'C', 'D'])
})

test.run()
