// Consumer groups: join, fetch, heartbeat, leave, commit, describe. A member is one program that reads; joining gives it an id, the
// generation and its partitions. REBALANCE_IN_PROGRESS from any call means: commit what is done, then POST members again with the id.

import { SluiceError } from '../../base/errors.js'
import type { StreamCatalog } from '../../log/types.js'
import { toOffset, toPartitionId } from '../../record/record.js'
import { followGroup } from '../follow-records.js'
import { integerOf, listOf, objectOf, optionalInteger, optionalText, textOf } from '../json-body.js'
import { checkParameter, numberOf, quote, startPositionOf } from '../parameters.js'
import type { AssignmentStrategy, DescribedGroup, GroupFetched, Groups } from '../ports.js'
import { recordsAsJson, recordsBody } from '../record-json.js'
import type { RecordLines } from '../record-lines.js'
import { type HttpReply, type HttpRequest, jsonReply, type Route } from '../route.js'
import { checkFollow, FETCH_LIMITS, NDJSON, STORED_BATCHES } from './records.js'

const DEFAULT_SESSION_TIMEOUT_MS = 30_000
const MAX_COMMITS_PER_REQUEST = 10_000
const MAX_STREAMS = 100
const JOIN_FIELDS = [
  'streams',
  'member_id',
  'instance_id',
  'member_name',
  'session_timeout_ms',
  'rebalance_timeout_ms',
  'assignment',
  'offset_reset',
]
const STRATEGIES: readonly AssignmentStrategy[] = ['range', 'round_robin', 'sticky']

export interface GroupDependencies {
  readonly groups: Groups
  readonly streams: StreamCatalog
  readonly lines: RecordLines
}

export function groupRoutes({ groups, streams, lines }: GroupDependencies): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/groups',
      handle: () => jsonReply({ groups: groups.list().map((id) => summary(id, groups.describe(id), streams)) }),
    },
    {
      method: 'GET',
      pattern: '/v1/groups/{group}',
      handle: ({ params }) => jsonReply(description(params['group'], groups.describe(params['group']), streams)),
    },
    {
      method: 'DELETE',
      pattern: '/v1/groups/{group}',
      async handle({ params }) {
        await groups.remove(params['group'])
        return jsonReply({})
      },
    },
    {
      method: 'POST',
      pattern: '/v1/groups/{group}/members',
      scope: 'read',
      handle: (request) => join(groups, request),
    },
    {
      method: 'GET',
      pattern: '/v1/groups/{group}/members/{member}/records',
      query: ['max_records', 'max_bytes', 'wait_ms', 'after', 'follow'],
      handle: (request) => (request.query.has('follow') ? follow(groups, lines, request) : fetch(groups, request)),
    },
    {
      method: 'POST',
      pattern: '/v1/groups/{group}/members/{member}/heartbeat',
      scope: 'read',
      async handle(request) {
        const body = objectOf(await request.json(), 'the body', ['generation', 'instance_id'])
        const generation = body['generation'] === undefined ? undefined : integerOf(body['generation'], 'generation')
        const instanceId = optionalName(body['instance_id'], 'instance_id')
        return jsonReply(
          groups.heartbeat(request.params['group'], request.params['member'], { generation, instanceId }),
        )
      },
    },
    {
      method: 'DELETE',
      pattern: '/v1/groups/{group}/members/{member}',
      scope: 'read',
      handle({ params }) {
        groups.leave(params['group'], params['member'])
        return jsonReply({})
      },
    },
    {
      method: 'POST',
      pattern: '/v1/groups/{group}/offsets',
      scope: 'read',
      handle: (request) => commit(groups, request),
    },
  ]
}

async function join(groups: Groups, request: HttpRequest): Promise<HttpReply> {
  const group = request.params['group']
  const body = objectOf(await request.json(), 'the body', JOIN_FIELDS)
  const names = listOf(body['streams'], 'streams', MAX_STREAMS)
  const sessionTimeoutMs = optionalInteger(body['session_timeout_ms'], 'session_timeout_ms', DEFAULT_SESSION_TIMEOUT_MS)
  const memberId = optionalText(body['member_id'], 'member_id')
  const joined = await groups.join(group, {
    streams: [...new Set(names.map((name, i) => checkParameter('stream', textOf(name, `streams[${i}]`))))],
    memberId,
    instanceId: optionalName(body['instance_id'], 'instance_id'),
    memberName: optionalName(body['member_name'], 'member_name') ?? 'member',
    sessionTimeoutMs,
    rebalanceTimeoutMs: optionalInteger(body['rebalance_timeout_ms'], 'rebalance_timeout_ms', sessionTimeoutMs),
    assignment: strategiesOf(body['assignment']),
    offsetReset: startPositionOf('offset_reset', optionalText(body['offset_reset'], 'offset_reset') ?? 'earliest'),
  })
  // The client hung up while the group was settling: nobody knows this member's id, so it would only hold partitions.
  if (request.gone && memberId === undefined) groups.leave(group, joined.memberId)
  const { generation, assignments } = joined
  return jsonReply({ member_id: joined.memberId, generation, assignments, fetch_id: 0 })
}

/** One, or several in order of preference. */
function strategiesOf(value: unknown): AssignmentStrategy[] | undefined {
  if (value === undefined) return undefined
  const names = typeof value === 'string' ? [value] : listOf(value, 'assignment', STRATEGIES.length)
  return names.map((name) => {
    const strategy = STRATEGIES.find((each) => each === name)
    if (strategy !== undefined) return strategy
    const said = typeof name === 'string' ? quote(name) : 'that'
    throw new SluiceError('INVALID_REQUEST', `assignment ${said} is not known: use ${STRATEGIES.join(', ')}`)
  })
}

async function fetch(groups: Groups, request: HttpRequest): Promise<HttpReply> {
  const { group, member } = request.params
  const waitMs = numberOf(request, 'wait_ms', FETCH_LIMITS.waitMs)
  const asStored = request.header('accept')?.includes(STORED_BATCHES) === true
  const limits = {
    asStored,
    maxRecords: numberOf(request, 'max_records', FETCH_LIMITS.maxRecords),
    maxBytes: numberOf(request, 'max_bytes', FETCH_LIMITS.maxBytes),
    after: request.query.has('after')
      ? numberOf(request, 'after', { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, otherwise: 0 })
      : undefined,
  }
  const { generation, fetchId, partitions } = await groups.fetch(group, member, limits, async (work) => {
    await request.wait({ ...work, waitMs })
    return !request.gone
  })
  if (asStored)
    return storedReply(partitions, { 'x-sluice-generation': String(generation), 'x-sluice-fetch-id': String(fetchId) })
  const asLines = request.header('accept')?.includes(NDJSON) === true
  const lists = partitions.map(({ stream, partition, records }) =>
    recordsAsJson(stream, partition, records, asLines ? '\n' : ','),
  )
  const headers = { 'x-sluice-generation': String(generation), 'x-sluice-fetch-id': String(fetchId) }
  if (asLines) return { headers: { ...headers, 'content-type': NDJSON }, body: lists }
  const ends = partitions.map(({ stream, partition, nextOffset, logStartOffset, highWatermark }) => ({
    stream,
    partition,
    next_offset: nextOffset,
    log_start_offset: logStartOffset,
    high_watermark: highWatermark,
  }))
  const tail = `"partitions":${JSON.stringify(ends)},"generation":${generation},"fetch_id":${fetchId}}\n`
  return {
    headers: { ...headers, 'content-type': 'application/json' },
    body: recordsBody(lists, tail),
  }
}

function follow(groups: Groups, lines: RecordLines, request: HttpRequest): HttpReply {
  checkFollow(request)
  const { group, member } = request.params
  return { headers: { 'content-type': NDJSON }, body: followGroup(groups, group, member, lines, request) }
}

/** Batches of all partitions, one behind the other; a header tells them apart, in their order. */
function storedReply(partitions: GroupFetched['partitions'], headers: Readonly<Record<string, string>>): HttpReply {
  const parts = partitions.map(
    ({ stream, partition, position, batches, nextOffset, logStartOffset, highWatermark }) => ({
      stream,
      partition,
      position,
      bytes: batches.reduce((sum, { length }) => sum + length, 0),
      next_offset: nextOffset,
      log_start_offset: logStartOffset,
      high_watermark: highWatermark,
    }),
  )
  return {
    headers: { ...headers, 'x-sluice-partitions': JSON.stringify(parts), 'content-type': STORED_BATCHES },
    body: partitions.flatMap(({ batches }) => batches),
  }
}

async function commit(groups: Groups, request: HttpRequest): Promise<HttpReply> {
  const body = objectOf(await request.json(), 'the body', ['offsets', 'member_id', 'generation', 'instance_id'])
  const commits = listOf(body['offsets'], 'offsets', MAX_COMMITS_PER_REQUEST).map((each, i) => {
    const where = `offsets[${i}]`
    const entry = objectOf(each, where, ['stream', 'partition', 'offset', 'metadata', 'leader_epoch'])
    return {
      stream: checkParameter('stream', textOf(entry['stream'], `${where}.stream`)),
      partition: integerOf(entry['partition'], `${where}.partition`, 0, 0x7fffffff),
      offset: toOffset(integerOf(entry['offset'], `${where}.offset`)),
      metadata: optionalText(entry['metadata'], `${where}.metadata`),
      leaderEpoch: epochOf(entry['leader_epoch'], `${where}.leader_epoch`),
    }
  })
  await groups.commit(request.params['group'], commits, identityOf(body))
  return jsonReply({})
}

function epochOf(value: unknown, where: string): number | undefined {
  return value === undefined || value === null ? undefined : integerOf(value, where, 0, 0x7fffffff)
}

function identityOf(body: Readonly<Record<string, unknown>>) {
  const memberId = optionalText(body['member_id'], 'member_id')
  if (memberId === undefined) return undefined
  const instanceId = optionalName(body['instance_id'], 'instance_id')
  return { memberId, instanceId, generation: integerOf(body['generation'], 'generation') }
}

function optionalName(value: unknown, kind: 'instance_id' | 'member_name'): string | undefined {
  const text = optionalText(value, kind)
  return text === undefined ? undefined : checkParameter(kind, text)
}

function description(id: string, group: DescribedGroup, streams: StreamCatalog): unknown {
  return {
    group: id,
    state: group.state,
    generation: group.generation,
    assignment: group.assignment ?? null,
    members: group.members.map(({ memberId, instanceId, clientId, assignments }) => ({
      member_id: memberId,
      member_name: clientId,
      instance_id: instanceId,
      assignments,
    })),
    offsets: group.offsets.map(({ stream, partition, offset, metadata, leaderEpoch, committedAtMs }) => ({
      stream,
      partition,
      committed_offset: offset,
      ...rangeOf(streams, stream, partition, offset),
      metadata,
      leader_epoch: leaderEpoch,
      committed_at: new Date(committedAtMs).toISOString(),
    })),
  }
}

function summary(id: string, group: DescribedGroup, streams: StreamCatalog): unknown {
  const lags = group.offsets.map(
    ({ stream, partition, offset }) => rangeOf(streams, stream, partition, offset).lag ?? 0,
  )
  return {
    group: id,
    state: group.state,
    members: group.members.length,
    streams: [...new Set(group.offsets.map(({ stream }) => stream))],
    lag: lags.reduce((sum, lag) => sum + lag, 0),
  }
}

/** Nulls for a stream that has left the configuration: its offsets are kept until someone removes the group. */
function rangeOf(streams: StreamCatalog, name: string, partition: number, committed: number) {
  const stream = streams.streams.get(name)
  if (stream === undefined || partition >= stream.partitions)
    return { log_start_offset: null, high_watermark: null, lag: null }
  const highWatermark = stream.highWatermark(toPartitionId(partition))
  const lag = Math.max(0, highWatermark - committed)
  return { log_start_offset: stream.logStartOffset(toPartitionId(partition)), high_watermark: highWatermark, lag }
}
