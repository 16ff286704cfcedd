// test-run: limit 180 s
// Hard hours of pull consumers, against a real node over HTTP: members that come and go, two under one name, retention that is faster, a thousand
// that wait.

import { Agent, get } from 'node:http'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import { rssAnonOf } from '../helpers/process-usage.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'

const test = suite('hard hours of pull consumers')
let node: NodeProcess

const PARTITIONS = 60
const CONFIG = `[[stream]]
name = "wide"
topics = ["wide/#"]
partitions = ${PARTITIONS}
[[stream]]
name = "short"
topics = ["short"]
retention = { max_bytes = "1MB" }
`

test.before(async () => {
  node = await NodeProcess.start({ config: CONFIG })
})
test.after(async () => {
  await node.kill('SIGKILL')
})

interface Joined {
  readonly member_id: string
  readonly generation: number
  readonly assignments: readonly { readonly partition: number; readonly position: number }[]
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into replies whose shape is what they check
type Answer = { readonly status: number; readonly body: any }

const ask = (path: string, method = 'GET', body?: unknown): Promise<Answer> =>
  requestJson(`${node.httpUrl}${path}`, { method, body })
const join = (group: string, body: Record<string, unknown>) => ask(`/v1/groups/${group}/members`, 'POST', body)

async function publish(stream: string, records: readonly { topic: string; value: string }[]): Promise<void> {
  const { status, body } = await ask(`/v1/streams/${stream}/records`, 'POST', { records })
  assert.is(status, 200, JSON.stringify(body))
}

/** A member that reads, leaves at random and comes back, until the storm is over; then it stays. */
async function member(random: SeededRandom, storm: { over: boolean; settled: boolean }): Promise<Joined> {
  let joined: Joined | null = null
  for (;;) {
    if (joined === null) {
      const { status, body } = await join('storm', { streams: ['wide'], session_timeout_ms: 120_000 })
      if (status === 200) joined = body as Joined
      else assert.is(body.error.code, 'REBALANCE_IN_PROGRESS', JSON.stringify(body))
      continue
    }
    if (!storm.over && random.chance(0.2)) {
      await ask(`/v1/groups/storm/members/${joined.member_id}`, 'DELETE')
      joined = null
      continue
    }
    const path: string = `/v1/groups/storm/members/${joined.member_id}`
    const { status, body } = await ask(`${path}/records?max_records=10&wait_ms=${storm.over ? 200 : 20}`)
    if (status === 200) {
      if (storm.settled) return joined
      continue
    }
    const { code } = body.error
    assert.ok(['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'UNKNOWN_MEMBER_ID'].includes(code), code)
    const again: Record<string, unknown> = { streams: ['wide'], session_timeout_ms: 120_000 }
    if (code !== 'UNKNOWN_MEMBER_ID') again['member_id'] = joined.member_id
    const rejoined = await join('storm', again)
    joined = rejoined.status === 200 ? (rejoined.body as Joined) : null
  }
}

test('fifty members that come and go settle once they stay, and every one has its share', () =>
  withSeed(async (random) => {
    const records = Array.from({ length: 500 }, (_, i) => ({ topic: `wide/${i}`, value: `${i}` }))
    await publish('wide', records)
    const storm = { over: false, settled: false }
    const members = Array.from({ length: 50 }, () => member(random, storm))
    const failed = Promise.race(members)
    const describe = async () => (await ask('/v1/groups/storm')).body
    while ((await Promise.race([describe(), failed]))?.generation < 30) await new Promise((r) => setTimeout(r, 50))
    storm.over = true
    for (;;) {
      const { state, members: present } = await Promise.race([describe(), failed])
      if (state === 'Stable' && present.length === 50) break
      await new Promise((r) => setTimeout(r, 50))
    }
    storm.settled = true
    const shares = (await Promise.all(members)).map(({ assignments }) => assignments.map(({ partition }) => partition))
    assert.ok(
      shares.every((share) => share.length >= 1),
      'no member starves',
    )
    assert.equal(
      shares.flat().sort((a, b) => a - b),
      Array.from({ length: PARTITIONS }, (_, i) => i),
      'each partition has one owner',
    )
  }))

test('of two members under one static name the later one stays, and the earlier one is told', async () => {
  const first = (await join('named', { streams: ['wide'], instance_id: 'press-1' })).body as Joined
  const second = (await join('named', { streams: ['wide'], instance_id: 'press-1' })).body as Joined
  assert.is(second.assignments.length, PARTITIONS, 'it has the place of the first at once')
  const commit = ({ member_id, generation }: Joined) =>
    ask('/v1/groups/named/offsets', 'POST', {
      member_id,
      generation,
      instance_id: 'press-1',
      offsets: [{ stream: 'wide', partition: 0, offset: 0 }],
    })
  const refused = await commit(first)
  assert.equal([refused.status, refused.body.error.code], [409, 'FENCED_INSTANCE_ID'])
  assert.match(refused.body.error.message, /another process has joined group named as press-1: run only one/)
  assert.is((await ask(`/v1/groups/named/members/${first.member_id}/records`)).body.error.code, 'UNKNOWN_MEMBER_ID')
  assert.is((await commit(second)).status, 200)
})

test('a member that retention has overtaken hears it once, with the range, and goes on with what is left', async () => {
  const value = 'x'.repeat(10_000)
  const fill = (count: number) =>
    publish(
      'short',
      Array.from({ length: count }, () => ({ topic: 'short', value })),
    )
  await fill(1)
  const { member_id: id } = (await join('slow', { streams: ['short'] })).body as Joined
  let start = 0
  while (start === 0) {
    await fill(50)
    start = (await ask('/v1/streams/short')).body.partitions[0].log_start_offset
  }
  const overtaken = await ask(`/v1/groups/slow/members/${id}/records`)
  assert.equal([overtaken.status, overtaken.body.error.code], [416, 'OFFSET_OUT_OF_RANGE'])
  const { offset, log_start_offset: left, high_watermark: end, next_offset: goesOnAt } = overtaken.body.error.details
  assert.is(offset, 0)
  assert.ok(left >= start && end > left && goesOnAt === left, JSON.stringify(overtaken.body.error.details))
  assert.match(overtaken.body.error.message, `records 0 to ${left - 1} are no longer stored`)
  for (let next = goesOnAt; ; ) {
    const after = await ask(`/v1/groups/slow/members/${id}/records?max_records=1`)
    if (after.status === 200) {
      assert.is(after.body.records[0].offset, next)
      break
    }
    // Retention was still at work, and has overtaken it once more: the place it was told is where it stood.
    assert.is(after.body.error.details.offset, next)
    next = after.body.error.details.next_offset
  }
})

test('a thousand polls that wait cost little, and one record answers them all', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1_000 })
  const anonymousKb = () => rssAnonOf(node.pid) / 1024
  const waiting = async () =>
    Number(/^sluice_http_waiting_polls (\d+)/m.exec(await (await fetch(`${node.httpUrl}/metrics`)).text())?.[1])
  const before = anonymousKb()
  const url = `${node.httpUrl}/v1/streams/wide/partitions/0/records?offset=latest&wait_ms=60000`
  const polls = Array.from(
    { length: 1_000 },
    () =>
      new Promise<string>((resolve, reject) => {
        get(url, { agent }, (answer) => {
          let text = ''
          answer.on('data', (chunk) => (text += chunk)).on('end', () => resolve(text))
        }).on('error', reject)
      }),
  )
  while ((await waiting()) < 1_000) await new Promise((resolve) => setTimeout(resolve, 50))
  const eachKb = (anonymousKb() - before) / 1_000
  assert.ok(eachKb < 120, `${eachKb} KB each`)
  const more = Array.from({ length: 2_000 }, (_, i) => ({ topic: `wide/more/${i}`, value: 'now' }))
  await publish('wide', more)
  const answers = (await Promise.all(polls)).map((text) => JSON.parse(text).records)
  assert.ok(answers.every(([record]) => record.value === 'now'))
  agent.destroy()
})

test.run()
