import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GroupCoordinator } from '../../src/consumer/group-coordinator.js'
import type { JoinRequest, JoinResult } from '../../src/consumer/membership.js'
import { toOffset } from '../../src/record/record.js'
import { FakeClock, settle } from '../helpers/fake-clock.js'
import { MemoryOffsets, MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { codeOf } from '../helpers/rejection.js'

const test = suite('group coordinator')
const GROUP = 'g'

function setUp(options: ConstructorParameters<typeof GroupCoordinator>[0]['options'] = {}) {
  const clock = new FakeClock()
  const stream = new MemoryStream('telemetry', 4)
  const offsets = new MemoryOffsets()
  let ids = 0
  const coordinator = new GroupCoordinator({
    streams: memoryCatalog(stream),
    offsets,
    clock,
    randomId: () => String(++ids),
    options,
  })
  const join = (request: Partial<JoinRequest> = {}) =>
    coordinator.join({
      group: GROUP,
      memberId: '',
      clientId: 'm',
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 20_000,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.from('a') }],
      ...request,
    })
  /** The leader hands each member of its generation its own id as assignment. */
  const lead = ({ memberId, generation, members }: JoinResult) =>
    coordinator.sync(
      GROUP,
      { memberId, generation },
      new Map(members.map((m) => [m.memberId, Buffer.from(m.memberId)])),
    )
  return { clock, stream, offsets, coordinator, join, lead }
}

/** Two members in generation 2, synced. */
async function pair() {
  const all = setUp()
  const first = await all.join()
  await all.lead(first)
  const joining = all.join()
  const again = await all.join({ memberId: first.memberId })
  const second = await joining
  const synced = all.coordinator.sync(GROUP, second)
  await all.lead(again)
  assert.is((await synced).toString(), second.memberId)
  return { ...all, first: again, second }
}

test('the first member leads generation 1 and gets what it assigns itself', async () => {
  const { join, lead, coordinator } = setUp()
  const joined = await join()
  assert.is(joined.generation, 1)
  assert.is(joined.leaderId, joined.memberId)
  assert.equal(joined.members, [{ memberId: 'm-1', instanceId: undefined, metadata: Buffer.from('a') }])
  assert.is((await lead(joined)).toString(), 'm-1')
  assert.is(coordinator.describe(GROUP).state, 'Stable')
})

test('a second member waits for the first to join again, and both begin generation 2', async () => {
  const { coordinator, join, lead } = setUp()
  const first = await join()
  await lead(first)
  let begun = false
  const joining = join().finally(() => (begun = true))
  await settle()
  assert.not.ok(begun)
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, first)), 'REBALANCE_IN_PROGRESS')
  const again = await join({ memberId: first.memberId })
  const second = await joining
  assert.is(again.generation, 2)
  assert.is(second.generation, 2)
  assert.is(second.leaderId, first.memberId)
  assert.is(again.members.length, 2)
  assert.is(second.members.length, 0)
})

test('a follower that syncs before the leader waits for it', async () => {
  const { coordinator, second } = await pair()
  assert.is((await coordinator.sync(GROUP, second)).toString(), second.memberId)
  assert.is(coordinator.describe(GROUP).members.length, 2)
})

test('a member that does not join again in time is left behind, and its old generation is refused', async () => {
  const { coordinator, clock, join, lead } = setUp()
  const first = await join()
  await lead(first)
  const joining = join()
  for (let i = 0; i < 4; i++) {
    await clock.advance(4_999)
    await codeOf(() => coordinator.heartbeat(GROUP, first))
  }
  await clock.advance(10)
  const second = await joining
  assert.is(second.leaderId, second.memberId)
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, first)), 'UNKNOWN_MEMBER_ID')
})

test('a silent member is put out when its session ends, not a moment before', async () => {
  const { coordinator, clock, first, second } = await pair()
  await clock.advance(6_000)
  coordinator.heartbeat(GROUP, first)
  await clock.advance(3_999)
  coordinator.heartbeat(GROUP, first)
  assert.is(coordinator.describe(GROUP).members.length, 2)
  await clock.advance(1)
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, second)), 'UNKNOWN_MEMBER_ID')
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, first)), 'REBALANCE_IN_PROGRESS')
})

test('a member that is held stays, and its session begins anew when it is let go', async () => {
  const { coordinator, clock, join, lead } = setUp()
  const member = await join()
  await lead(member)
  const release = coordinator.hold(GROUP, member.memberId)
  await clock.advance(60_000)
  release()
  await clock.advance(9_999)
  coordinator.heartbeat(GROUP, member)
  await clock.advance(10_000)
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, member)), 'UNKNOWN_MEMBER_ID')
})

test('the wall clock jumping by a year ends no session', async () => {
  const { coordinator, clock, join, lead } = setUp()
  const member = await join()
  await lead(member)
  clock.jumpWall(365 * 86_400_000)
  await clock.advance(9_000)
  coordinator.heartbeat(GROUP, member)
  clock.jumpWall(-2 * 365 * 86_400_000)
  await clock.advance(9_000)
  coordinator.heartbeat(GROUP, member)
})

test('when a member leaves, the others share out its part', async () => {
  const { coordinator, join, lead, first, second } = await pair()
  coordinator.leave(GROUP, second.memberId)
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, first)), 'REBALANCE_IN_PROGRESS')
  const alone = await join({ memberId: first.memberId })
  assert.is(alone.generation, 3)
  assert.is(alone.members.length, 1)
  await lead(alone)
})

test('when the leader leaves, another leads', async () => {
  const { coordinator, join, first, second } = await pair()
  coordinator.leave(GROUP, first.memberId)
  const alone = await join({ memberId: second.memberId })
  assert.is(alone.leaderId, second.memberId)
  assert.is(alone.members.length, 1)
})

test('when the last member leaves, the group is empty, and the next generation is a later one', async () => {
  const { coordinator, join, lead } = setUp()
  const first = await join()
  await lead(first)
  coordinator.leave(GROUP, first.memberId)
  assert.is(await codeOf(() => coordinator.describe(GROUP)), 'GROUP_ID_NOT_FOUND')
  assert.ok((await join()).generation > first.generation)
})

test('a follower that asks to join again with nothing changed keeps the generation', async () => {
  const { join, second } = await pair()
  const again = await join({ memberId: second.memberId })
  assert.is(again.generation, second.generation)
})

test('a follower whose subscription changed begins a rebalance', async () => {
  const { coordinator, join, first, second } = await pair()
  const joining = join({ memberId: second.memberId, protocols: [{ name: 'range', metadata: Buffer.from('b') }] })
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, first)), 'REBALANCE_IN_PROGRESS')
  const again = await join({ memberId: first.memberId })
  assert.is(again.generation, first.generation + 1)
  assert.equal(again.members.map(({ metadata }) => metadata.toString()).sort(), ['a', 'b'])
  await joining
})

test('a leader that never brings an assignment is put out, and those who waited are told to join again', async () => {
  const { coordinator, clock, join } = setUp()
  const leader = await join()
  const joining = join()
  const again = await join({ memberId: leader.memberId })
  const follower = await joining
  const waiting = codeOf(coordinator.sync(GROUP, follower))
  for (let i = 0; i < 4; i++) {
    await clock.advance(5_000)
    if (i < 3) coordinator.heartbeat(GROUP, again)
  }
  assert.is(await waiting, 'REBALANCE_IN_PROGRESS')
  const alone = await join({ memberId: follower.memberId })
  assert.is(alone.leaderId, follower.memberId)
})

test('a join of another kind of member is refused', async () => {
  const { join } = setUp()
  await join()
  assert.is(await codeOf(join({ protocolType: 'sluice' })), 'INCONSISTENT_GROUP_PROTOCOL')
  assert.is(
    await codeOf(join({ protocols: [{ name: 'sticky', metadata: Buffer.from('a') }] })),
    'INCONSISTENT_GROUP_PROTOCOL',
  )
})

test('the members vote for a protocol that all of them know', async () => {
  const { join, lead } = setUp()
  const protocols = (...names: string[]) => names.map((name) => ({ name, metadata: Buffer.from(name) }))
  const first = await join({ protocols: protocols('sticky', 'range') })
  assert.is(first.protocol, 'sticky')
  await lead(first)
  const joining = join({ protocols: protocols('range', 'roundrobin') })
  const again = await join({ memberId: first.memberId, protocols: protocols('sticky', 'range') })
  assert.is(again.protocol, 'range')
  assert.is((await joining).protocol, 'range')
})

test('an unknown member id is refused, also in a group that does not exist', async () => {
  const { coordinator, join } = setUp()
  assert.is(await codeOf(join({ memberId: 'm-99' })), 'UNKNOWN_MEMBER_ID')
  await join()
  assert.is(await codeOf(join({ memberId: 'm-99' })), 'UNKNOWN_MEMBER_ID')
  assert.is(await codeOf(() => coordinator.leave(GROUP, 'm-99')), 'UNKNOWN_MEMBER_ID')
})

test('a static member that comes back within its session takes its place without a rebalance and fences the old process', async () => {
  const { coordinator, join, lead } = setUp()
  const before = await join({ instanceId: 'pump-1' })
  await lead(before)
  const after = await join({ instanceId: 'pump-1' })
  assert.is.not(after.memberId, before.memberId)
  assert.is(after.generation, before.generation)
  assert.is((await coordinator.sync(GROUP, after)).toString(), before.memberId)
  const old = { ...before, instanceId: 'pump-1' }
  assert.is(await codeOf(() => coordinator.heartbeat(GROUP, old)), 'FENCED_INSTANCE_ID')
  const commits = [{ stream: 'telemetry', partition: 0, offset: toOffset(0) }]
  assert.is(await codeOf(coordinator.commit(GROUP, commits, old)), 'FENCED_INSTANCE_ID')
  assert.is(await codeOf(join({ memberId: before.memberId, instanceId: 'pump-1' })), 'FENCED_INSTANCE_ID')
})

test('a static member whose place nobody has, as after a restart of the node, is unknown, not fenced', async () => {
  const { join } = setUp()
  await join()
  assert.is(await codeOf(join({ memberId: 'pump-99', instanceId: 'pump-1' })), 'UNKNOWN_MEMBER_ID')
})

test('a static member that stays away keeps its place through a rebalance until its session ends', async () => {
  const { coordinator, clock, join, lead } = setUp()
  await lead(await join({ instanceId: 'pump-1', sessionTimeoutMs: 60_000 }))
  const joining = join()
  await clock.advance(20_000)
  const other = await joining
  assert.is(coordinator.describe(GROUP).members.length, 2)
  assert.is(other.members.length, 2)
  await lead(other)
  for (let i = 0; i < 5; i++) {
    await clock.advance(9_000)
    if (coordinator.describe(GROUP).state === 'Stable') coordinator.heartbeat(GROUP, other)
  }
  assert.is(coordinator.describe(GROUP).members.length, 1)
})

test('a commit of a generation that is over, or of a member that is gone, is refused and changes nothing', async () => {
  const { coordinator, stream, offsets, join, lead, first, second } = await pair()
  stream.add(0, 'a', 'b', 'c')
  const commits = [{ stream: 'telemetry', partition: 0, offset: toOffset(2) }]
  coordinator.leave(GROUP, second.memberId)
  assert.is(await codeOf(coordinator.commit(GROUP, commits, second)), 'UNKNOWN_MEMBER_ID')
  await coordinator.commit(GROUP, [{ ...commits[0], offset: toOffset(1) }], first)
  await lead(await join({ memberId: first.memberId }))
  assert.is(await codeOf(coordinator.commit(GROUP, commits, first)), 'ILLEGAL_GENERATION')
  assert.is(offsets.get(GROUP, 'telemetry', 0)?.offset, 1)
})

test('between the beginning of a generation and its assignment nobody commits', async () => {
  const { coordinator, join } = setUp()
  const member = await join()
  assert.is(await codeOf(coordinator.commit(GROUP, [], member)), 'REBALANCE_IN_PROGRESS')
})

test('a commit beyond the end of a partition is refused with the range', async () => {
  const { coordinator, stream } = setUp()
  stream.add(1, 'a', 'b')
  await coordinator.commit(GROUP, [{ stream: 'telemetry', partition: 1, offset: toOffset(2) }])
  try {
    await coordinator.commit(GROUP, [{ stream: 'telemetry', partition: 1, offset: toOffset(3) }])
    assert.unreachable()
  } catch (error) {
    const { code, details } = error as { code: string; details: Record<string, unknown> }
    assert.is(code, 'OFFSET_OUT_OF_RANGE')
    assert.is(details['high_watermark'], 2)
  }
  assert.is(
    await codeOf(coordinator.commit(GROUP, [{ stream: 'telemetry', partition: 4, offset: toOffset(0) }])),
    'UNKNOWN_STREAM_OR_PARTITION',
  )
})

test('without a member id offsets move only while the group has no members', async () => {
  const { coordinator, stream, join, offsets } = setUp()
  stream.add(0, 'a')
  const commits = [{ stream: 'telemetry', partition: 0, offset: toOffset(1) }]
  const member = await join()
  assert.is(await codeOf(coordinator.commit(GROUP, commits)), 'UNKNOWN_MEMBER_ID')
  coordinator.leave(GROUP, member.memberId)
  await coordinator.commit(GROUP, commits)
  assert.is(offsets.get(GROUP, 'telemetry', 0)?.offset, 1)
  assert.equal(coordinator.list(), [GROUP])
})

test('members and groups have a maximum, and empty groups give way', async () => {
  const { coordinator, join } = setUp({ maxMembers: 2, maxGroups: 2 })
  await join()
  join().catch(() => {})
  assert.is(await codeOf(join()), 'TOO_MANY_REQUESTS')
  const other = await join({ group: 'h' })
  assert.is(await codeOf(join({ group: 'i' })), 'TOO_MANY_REQUESTS')
  coordinator.leave('h', other.memberId)
  assert.is((await join({ group: 'i' })).generation, 1)
})

test('session time-outs outside the bounds are refused', async () => {
  const { join } = setUp()
  assert.is(await codeOf(join({ sessionTimeoutMs: 999 })), 'INVALID_REQUEST')
  assert.is(await codeOf(join({ sessionTimeoutMs: 30 * 60_000 + 1 })), 'INVALID_REQUEST')
})

test('with an initial delay the first members begin together', async () => {
  const { clock, join } = setUp({ initialRebalanceDelayMs: 3_000 })
  const joining = [join(), join(), join()]
  await clock.advance(3_000)
  const generations = (await Promise.all(joining)).map(({ generation }) => generation)
  assert.equal(generations, [1, 1, 1])
})

test('stopping ends every wait and refuses what comes after', async () => {
  const { coordinator, join, lead } = setUp()
  const first = await join()
  await lead(first)
  const joining = codeOf(join())
  coordinator.stop()
  assert.is(await joining, 'SHUTTING_DOWN')
  assert.is(await codeOf(join()), 'SHUTTING_DOWN')
})

test.run()
