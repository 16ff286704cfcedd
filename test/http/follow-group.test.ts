// test-run: limit 60 s
import { once } from 'node:events'
import { connect } from 'node:net'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Api, startApi } from './api.js'
import { call, post } from './request-helper.js'

const test = suite('following as a member of a group')
let api: Api
const NDJSON = { accept: 'application/x-ndjson' }

test.before.each(async () => {
  api = await startApi([{ name: 'mqtt', partitions: 2 }])
})
test.after.each(() => api.close())

async function join(more: Record<string, unknown> = {}): Promise<{ member_id: string; generation: number }> {
  return (await post(api.address, '/v1/groups/g/members', { streams: ['mqtt'], ...more })).json
}

const commit = ({ member_id, generation }: Awaited<ReturnType<typeof join>>, offset: number) =>
  post(api.address, '/v1/groups/g/offsets', {
    member_id,
    generation,
    offsets: [{ stream: 'mqtt', partition: 0, offset }],
  })

const pathOf = (memberId: string) => `/v1/groups/g/members/${memberId}/records?follow=true`

/** An endless answer, read line by line. */
class Lines {
  private text = ''
  private ended = false
  private readonly abort = new AbortController()
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined

  static async of(memberId: string): Promise<Lines> {
    const lines = new Lines()
    const { signal } = lines.abort
    const response = await fetch(`http://${api.address}${pathOf(memberId)}`, { headers: NDJSON, signal })
    assert.is(response.status, 200)
    lines.reader = response.body?.getReader()
    return lines
  }

  /** The next `count` lines; fewer when the answer ends before. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into lines whose shape is what they check
  async take(count: number): Promise<any[]> {
    while (this.text.split('\n').length <= count && !this.ended) {
      const read = await this.reader?.read()
      this.text += Buffer.from(read?.value ?? []).toString()
      this.ended = read?.done !== false
    }
    const all = this.text.split('\n')
    this.text = all.slice(count).join('\n')
    return all.slice(0, count).flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
  }

  async values(count: number): Promise<string[]> {
    return (await this.take(count)).map(({ value }) => value)
  }

  hangUp(): void {
    this.abort.abort()
  }
}

test('what is stored comes, then what is written, from all partitions of the member', async () => {
  await api.append('mqtt', 0, 'a', 'b')
  const lines = await Lines.of((await join()).member_id)
  assert.equal(await lines.values(2), ['a', 'b'])
  await api.append('mqtt', 1, 'c')
  assert.equal(await lines.values(1), ['c'])
  await api.append('mqtt', 0, 'd')
  const [{ stream, partition, offset, value }] = await lines.take(1)
  assert.equal({ stream, partition, offset, value }, { stream: 'mqtt', partition: 0, offset: 2, value: 'd' })
  lines.hangUp()
})

test('after a connection that broke it goes on at what is committed, whatever had been sent', async () => {
  await api.append('mqtt', 0, 'a', 'b', 'c')
  const member = await join()
  const first = await Lines.of(member.member_id)
  assert.equal(await first.values(3), ['a', 'b', 'c'])
  first.hangUp()
  assert.is((await commit(member, 1)).status, 200)
  const again = await Lines.of(member.member_id)
  assert.equal(await again.values(2), ['b', 'c'])
  again.hangUp()
})

test('a rebalance ends the answer with a line that says so, and what was committed stands', async () => {
  await api.append('mqtt', 0, 'a', 'b')
  const member = await join()
  const lines = await Lines.of(member.member_id)
  await lines.values(2)
  const other = join({ member_name: 'other' })
  const [last] = await lines.take(1)
  assert.is(last.error.code, 'REBALANCE_IN_PROGRESS')
  assert.equal(await lines.take(1), [], 'nothing follows it')
  assert.is((await commit(member, 2)).status, 200, 'a member may commit while the group waits for it')
  const back = await join({ member_id: member.member_id })
  assert.is(back.member_id, member.member_id)
  await other
  const next = await Lines.of(back.member_id)
  await api.append('mqtt', 0, 'c')
  await api.append('mqtt', 1, 'd')
  assert.ok(['c', 'd'].includes((await next.values(1))[0]), 'it has one of the two partitions')
  next.hangUp()
})

test('an open answer keeps its member in the group well past its session time-out', async () => {
  const member = await join({ session_timeout_ms: 1_000 })
  const lines = await Lines.of(member.member_id)
  const until = Date.now() + 2_500
  while (Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 100))
  await api.append('mqtt', 0, 'still here')
  assert.equal(await lines.values(1), ['still here'])
  lines.hangUp()
})

test('a second request of the same member ends the first', async () => {
  const member = await join()
  const first = await Lines.of(member.member_id)
  const second = await Lines.of(member.member_id)
  assert.equal(await first.take(1), [])
  await api.append('mqtt', 0, 'a')
  assert.equal(await second.values(1), ['a'])
  second.hangUp()
})

test('a member that stops reading holds up nobody else', async () => {
  const value = 'x'.repeat(10_000)
  const bytes = 40 * 50 * 10_000
  const stuck = await join()
  const [host, port] = api.address.split(':')
  const socket = connect(Number(port), host)
  await once(socket, 'connect')
  socket.write(
    `GET ${pathOf(stuck.member_id)} HTTP/1.1\r\nHost: ${api.address}\r\nAccept: application/x-ndjson\r\n\r\n`,
  )
  await once(socket, 'readable')
  for (let i = 0; i < 40; i++) await api.append('mqtt', 0, ...Array.from({ length: 50 }, () => value))
  const other = await post(api.address, '/v1/groups/others/members', { streams: ['mqtt'] })
  let received = 0
  const response = await fetch(
    `http://${api.address}/v1/groups/others/members/${other.json.member_id}/records?follow=true`,
    { headers: NDJSON },
  )
  const reader = response.body?.getReader()
  while (received < bytes) received += (await reader?.read())?.value?.length ?? 0
  await reader?.cancel()
  socket.destroy()
})

test('what cannot be followed is refused before it begins', async () => {
  const codeAt = async (path: string, headers: Record<string, string> = NDJSON) =>
    (await call(api.address, path, { headers })).json.error.code
  const { member_id: id } = await join()
  assert.is(await codeAt(pathOf('nobody')), 'UNKNOWN_MEMBER_ID')
  assert.is(await codeAt(`${pathOf(id)}&max_records=7`), 'INVALID_REQUEST')
  assert.is(await codeAt(`${pathOf(id)}&after=0`), 'INVALID_REQUEST')
  assert.is(await codeAt(pathOf(id), {}), 'UNSUPPORTED_MEDIA_TYPE')
})

test.run()
