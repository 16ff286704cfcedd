// A member of a consumer group that speaks HTTP itself and says what it saw, an event a line, until it is killed. Started by group-killed.test.ts:
//   node raw-group-member.js URL NAME SEED [STATIC-ID]
// Moments are the machine's monotonic time, so that events of many processes can be put in order. Written synchronously: what a reader of the pipe
// has seen had happened before the kill.

import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { ERROR_CODES, type ErrorCode, SluiceError } from '../../src/base/errors.js'
import { type MemberApi, runMember } from '../helpers/group-member.js'
import { requestJson } from '../helpers/http.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const [url, name, seed, instanceId] = process.argv.slice(2)
const random = new SeededRandom(Number(seed))
const SESSION_MS = 1_000

async function call<T>(path: string, method = 'GET', body?: unknown): Promise<T> {
  let answer: { status: number; body: T & { error?: { code: string; message: string } } }
  try {
    answer = await requestJson(`${url}/v1/groups/raw/${path}`, { method, body })
  } catch (error) {
    throw new SluiceError('NOT_REACHABLE', String(error))
  }
  const { error } = answer.body
  if (error === undefined) return answer.body
  throw new SluiceError(error.code in ERROR_CODES ? (error.code as ErrorCode) : 'INTERNAL', error.message)
}

interface Ranges {
  readonly partition: number
  readonly offset: number
}

const api: MemberApi = {
  async join({ memberId, instanceId: instance }) {
    const joined = await call<{ member_id: string; generation: number; assignments: [] }>('members', 'POST', {
      ...{ streams: ['mqtt'], member_id: memberId, instance_id: instance, member_name: name },
      session_timeout_ms: SESSION_MS,
    })
    return { memberId: joined.member_id, generation: joined.generation, assignments: joined.assignments }
  },
  async fetch(memberId, { maxRecords, after }) {
    const fetched = await call<{ generation: number; fetch_id: number; records: Ranges[] }>(
      `members/${memberId}/records?max_records=${maxRecords}&after=${after}&wait_ms=${random.below(300)}`,
    )
    const ranges = new Map<number, { partition: number; first: number; end: number }>()
    for (const { partition, offset } of fetched.records) {
      const range = ranges.get(partition)
      if (range === undefined) ranges.set(partition, { partition, first: offset, end: offset + 1 })
      else if (offset === range.end) range.end += 1
      else throw new Error(`${partition}/${offset} after ${range.end - 1}`)
    }
    return { generation: fetched.generation, fetchId: fetched.fetch_id, partitions: [...ranges.values()] }
  },
  async commit(offsets, identity) {
    await call('offsets', 'POST', {
      offsets: offsets.map((each) => ({ stream: 'mqtt', ...each })),
      ...{ member_id: identity.memberId, generation: identity.generation, instance_id: identity.instanceId },
    })
  },
  async leave(memberId) {
    await call(`members/${memberId}`, 'DELETE')
  },
}

await runMember({
  ...{ api, random, instanceId, sessionTimeoutMs: SESSION_MS },
  sleep: (ms) => sleep(ms),
  now: () => Number(process.hrtime.bigint()),
  // Whoever reads this knows when the node was killed.
  node: () => 0,
  record: (event) => void writeSync(1, `${JSON.stringify(event)}\n`),
  isAlive: () => true,
  isWild: () => true,
})
