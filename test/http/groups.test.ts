import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Api, startApi } from './api.js'
import { call, post } from './request-helper.js'

const test = suite('groups over HTTP')
let api: Api

test.before.each(async () => {
  api = await startApi([{ name: 'mqtt', partitions: 2 }])
})
test.after.each(() => api.close())

const join = (more: Record<string, unknown> = {}) =>
  post(api.address, '/v1/groups/g/members', { streams: ['mqtt'], ...more })
const recordsOf = (member: string, query = '') =>
  call(api.address, `/v1/groups/g/members/${member}/records${query === '' ? '' : `?${query}`}`)
const commit = (body: Record<string, unknown>) => post(api.address, '/v1/groups/g/offsets', body)

test('a member joins, fetches, commits, and the group shows what is left', async () => {
  await api.append('mqtt', 0, 'a', 'b', 'c')
  await api.append('mqtt', 1, 'd')
  const { json: member } = await join({ member_name: 'worker' })
  assert.ok(member.member_id.startsWith('worker-'))
  assert.equal(member.assignments.length, 2)
  const fetched = (await recordsOf(member.member_id)).json
  assert.equal(fetched.records.map(({ value }: { value: string }) => value).sort(), ['a', 'b', 'c', 'd'])
  assert.equal([fetched.generation, fetched.fetch_id], [member.generation, 1])
  const offsets = fetched.partitions
    .filter(({ partition }: { partition: number }) => partition === 0)
    .map(({ stream, partition, next_offset }: Record<string, unknown>) => ({
      stream,
      partition,
      offset: (next_offset as number) - 1,
      metadata: 'half way',
    }))
  const committed = await commit({ offsets, member_id: member.member_id, generation: member.generation })
  assert.is(committed.status, 200)
  const { json: group } = await call(api.address, '/v1/groups/g')
  assert.is(group.state, 'Stable')
  assert.equal(group.members[0].assignments.length, 2)
  assert.is(group.offsets.length, 1)
  const { committed_at: committedAt, ...offset } = group.offsets[0]
  assert.ok(Date.parse(committedAt) > 0)
  assert.equal(offset, {
    stream: 'mqtt',
    partition: 0,
    committed_offset: 2,
    log_start_offset: 0,
    high_watermark: 3,
    lag: 1,
    metadata: 'half way',
    leader_epoch: null,
  })
  const { json: list } = await call(api.address, '/v1/groups')
  assert.equal(list.groups, [{ group: 'g', state: 'Stable', members: 1, streams: ['mqtt'], lag: 1 }])
})

test('a long poll of a member answers when a record comes', async () => {
  const { json: member } = await join()
  const waiting = recordsOf(member.member_id, 'wait_ms=60000')
  while (api.server.stats().waitingPolls === 0) await new Promise((resolve) => setImmediate(resolve))
  await api.append('mqtt', 1, 'a')
  assert.is((await waiting).json.records[0].value, 'a')
})

test('a member that leaves is gone, its group keeps its offsets and goes on there', async () => {
  await api.append('mqtt', 0, 'a', 'b')
  const { json: first } = await join()
  await commit({
    offsets: [{ stream: 'mqtt', partition: 0, offset: 1 }],
    member_id: first.member_id,
    generation: first.generation,
  })
  const leave = await call(api.address, `/v1/groups/g/members/${first.member_id}`, { method: 'DELETE' })
  assert.is(leave.status, 200)
  const gone = await recordsOf(first.member_id)
  assert.equal([gone.status, gone.json.error.code], [404, 'UNKNOWN_MEMBER_ID'])
  const { json: second } = await join()
  assert.equal(
    (await recordsOf(second.member_id)).json.records.map(({ value }: { value: string }) => value),
    ['b'],
  )
})

test('a second member makes the first join again; commits of the old generation are refused', async () => {
  await api.append('mqtt', 0, 'a')
  const { json: first } = await join()
  const joining = join()
  for (;;) {
    const answer = await post(api.address, `/v1/groups/g/members/${first.member_id}/heartbeat`, {})
    if (answer.status === 409) break
  }
  const { json: again } = await join({ member_id: first.member_id })
  const { json: second } = await joining
  assert.is(again.generation, second.generation)
  assert.is(again.assignments.length + second.assignments.length, 2)
  const stale = await commit({
    offsets: [{ stream: 'mqtt', partition: 0, offset: 1 }],
    member_id: first.member_id,
    generation: first.generation,
  })
  assert.equal([stale.status, stale.json.error.code], [409, 'ILLEGAL_GENERATION'])
})

test('a heartbeat of a static member says who it is: where another process has its place it is told so, not that it is unknown', async () => {
  const { json: earlier } = await join({ instance_id: 'pump' })
  const beat = (body: Record<string, unknown>) =>
    post(api.address, `/v1/groups/g/members/${earlier.member_id}/heartbeat`, body)
  const of = { generation: earlier.generation, instance_id: 'pump' }
  assert.is((await beat(of)).status, 200)
  await join({ instance_id: 'pump' })
  const fenced = await beat(of)
  assert.equal([fenced.status, fenced.json.error.code], [409, 'FENCED_INSTANCE_ID'])
  const { json: unnamed } = await beat({})
  assert.is(unnamed.error.code, 'UNKNOWN_MEMBER_ID')
})

test('offsets of a group without members can be moved, those of a live one cannot', async () => {
  await api.append('mqtt', 0, 'a', 'b')
  const offsets = [{ stream: 'mqtt', partition: 0, offset: 2 }]
  assert.is((await commit({ offsets })).status, 200)
  assert.is((await call(api.address, '/v1/groups/g')).json.offsets[0].lag, 0)
  await join()
  const refused = await commit({ offsets })
  assert.is(refused.json.error.code, 'UNKNOWN_MEMBER_ID')
  assert.match(refused.json.error.message, 'stop them first')
})

test('a commit beyond the end is 416 with the range, and one that is not well-formed 400', async () => {
  await api.append('mqtt', 0, 'a')
  const beyond = await commit({ offsets: [{ stream: 'mqtt', partition: 0, offset: 2 }] })
  assert.equal([beyond.status, beyond.json.error.details.high_watermark], [416, 1])
  const bad = [
    {},
    { offsets: [] },
    { offsets: [{ stream: '../x', partition: 0, offset: 0 }] },
    { offsets: [{ stream: 'mqtt', partition: 0, offset: -1 }] },
    { offsets: [{ stream: 'mqtt', partition: 0, offset: 0 }], member_id: 'm' },
    { offsets: [{ stream: 'mqtt', partition: 0, offset: 0, metadata: 'x'.repeat(4097) }] },
  ]
  for (const body of bad) assert.is((await commit(body)).status, 400, JSON.stringify(body).slice(0, 100))
})

test('a join that makes no sense is refused, and leaves no member behind', async () => {
  assert.is((await join({ streams: ['nope'] })).status, 404)
  assert.is((await join({ streams: [] })).status, 400)
  assert.is((await join({ session_timeout_ms: 1 })).status, 400)
  assert.is((await join({ offset_reset: 'somewhere' })).status, 400)
  assert.is((await join({ member_name: 'a b' })).status, 400)
  assert.is((await join({ member_id: 'nobody' })).status, 404)
  assert.is((await post(api.address, '/v1/groups/a%20b/members', { streams: ['mqtt'] })).status, 400)
  const unknown = await call(api.address, '/v1/groups/g')
  assert.equal([unknown.status, unknown.json.error.code], [404, 'GROUP_ID_NOT_FOUND'])
})

test('a new member whose client hung up while it joined holds no partition', async () => {
  const { json: first } = await join()
  const body = JSON.stringify({ streams: ['mqtt'] })
  const socket = connect(Number(api.address.split(':')[1]), '127.0.0.1')
  socket.write(
    `POST /v1/groups/g/members HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  const heartbeat = () => post(api.address, `/v1/groups/g/members/${first.member_id}/heartbeat`, {})
  while ((await heartbeat()).status !== 409);
  const before = api.server.stats().connections
  socket.destroy()
  while (api.server.stats().connections === before) await new Promise((resolve) => setImmediate(resolve))
  await join({ member_id: first.member_id })
  while ((await call(api.address, '/v1/groups/g')).json.members.length > 1);
  const { json: alone } = await join({ member_id: first.member_id })
  assert.is(alone.assignments.length, 2)
})

test('a group without members is forgotten with its offsets, one with members is not', async () => {
  const { json } = await post(api.address, '/v1/groups/g/members', { streams: ['mqtt'] })
  const remove = () => call(api.address, '/v1/groups/g', { method: 'DELETE' })
  await api.append('mqtt', 0, 'a')
  const offsets = [{ stream: 'mqtt', partition: 0, offset: 1 }]
  await post(api.address, '/v1/groups/g/offsets', { offsets, member_id: json.member_id, generation: json.generation })
  assert.is((await remove()).json.error.code, 'NON_EMPTY_GROUP')
  await call(api.address, `/v1/groups/g/members/${json.member_id}`, { method: 'DELETE' })
  assert.is((await remove()).status, 200)
  assert.is((await remove()).json.error.code, 'GROUP_ID_NOT_FOUND')
  assert.equal((await call(api.address, '/v1/groups')).json.groups, [])
})

test('a member names its strategy, and a commit the epoch of what it has read', async () => {
  await api.append('mqtt', 0, 'a', 'b')
  const members = '/v1/groups/e/members'
  assert.is((await post(api.address, members, { streams: ['mqtt'], assignment: 'best' })).status, 400)
  const { json: member } = await post(api.address, members, { streams: ['mqtt'], assignment: ['sticky', 'range'] })
  await post(api.address, '/v1/groups/e/offsets', {
    member_id: member.member_id,
    generation: member.generation,
    offsets: [{ stream: 'mqtt', partition: 0, offset: 1, leader_epoch: 3, metadata: 'note' }],
  })
  const { json: group } = await call(api.address, '/v1/groups/e')
  assert.is(group.assignment, 'sticky')
  assert.is(group.offsets[0].leader_epoch, 3)
  assert.is(group.offsets[0].metadata, 'note')
})

test.run()
