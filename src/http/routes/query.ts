// GET /v1/streams/{stream}/partitions/{partition}/query: the records of a stretch that fit a topic filter and a time. `next_offset` is where to
// ask next; `done` says that the end of the stretch is reached. A request looks at a bounded part of it.

import { SluiceError } from '../../base/errors.js'
import type { StartPosition } from '../../base/start-position.js'
import { topicFilterProblem } from '../../base/topic-filter.js'
import type { StreamCatalog, StreamReader } from '../../log/types.js'
import { type Offset, type PartitionId, toOffset, toPartitionId } from '../../record/record.js'
import { numberOf, quote, startPositionOf } from '../parameters.js'
import { recordsAsJson, recordsBody } from '../record-json.js'
import { searchRecords } from '../record-search.js'
import type { HttpReply, HttpRequest, Route } from '../route.js'
import { outOfRange } from './records.js'

const MAX_RECORDS = { minimum: 1, maximum: 10_000, otherwise: 500 } as const
const MAX_SCAN_BYTES = { minimum: 1, maximum: 64 * 1024 * 1024, otherwise: 8 * 1024 * 1024 } as const

export function queryRoutes({ streams }: { readonly streams: StreamCatalog }): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/streams/{stream}/partitions/{partition}/query',
      query: ['offset', 'from', 'until', 'topic', 'max_records', 'max_scan_bytes'],
      handle: (request) => query(streams.stream(request.params['stream']), request),
    },
  ]
}

async function query(stream: StreamReader, request: HttpRequest): Promise<HttpReply> {
  const partition = toPartitionId(Number(request.params['partition']))
  const from = startPositionOf('from', request.query.get('from') ?? 'earliest')
  const until = startPositionOf('until', request.query.get('until') ?? 'latest')
  const first = await resolve(stream, partition, from)
  const end = await resolve(stream, partition, until)
  const anyOffset = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, otherwise: first }
  const offset = toOffset(numberOf(request, 'offset', anyOffset))
  if (offset < stream.logStartOffset(partition) || offset > stream.highWatermark(partition))
    throw outOfRange(stream, partition, offset)
  const limits = {
    maxRecords: numberOf(request, 'max_records', MAX_RECORDS),
    maxScanBytes: numberOf(request, 'max_scan_bytes', MAX_SCAN_BYTES),
  }
  const wanted = {
    topicFilter: topicFilterOf(request),
    fromMs: from.at === 'time' ? from.timestampMs : undefined,
    untilMs: until.at === 'time' ? until.timestampMs : undefined,
  }
  const { records, nextOffset, scannedRecords, scannedBytes } = await searchRecords(
    stream,
    partition,
    offset,
    end,
    wanted,
    limits,
  )
  const tail = {
    next_offset: nextOffset,
    end_offset: end,
    scanned_records: scannedRecords,
    scanned_bytes: scannedBytes,
    done: nextOffset >= end,
  }
  return {
    headers: { 'content-type': 'application/json' },
    body: recordsBody([recordsAsJson(stream.name, partition, records, ',')], `${JSON.stringify(tail).slice(1)}\n`),
  }
}

function topicFilterOf(request: HttpRequest): string | undefined {
  const filter = request.query.get('topic')
  const problem = filter === undefined ? null : topicFilterProblem(filter)
  if (problem === null) return filter
  throw new SluiceError('INVALID_REQUEST', `topic filter ${quote(filter ?? '')} ${problem}`, { topic: filter })
}

/** An end beyond what there is means what there is; a beginning that retention has taken means the oldest. */
async function resolve(stream: StreamReader, partition: PartitionId, position: StartPosition): Promise<Offset> {
  const start = stream.logStartOffset(partition)
  const end = stream.highWatermark(partition)
  if (position.at === 'earliest') return start
  if (position.at === 'latest') return end
  if (position.at === 'time') return stream.offsetForTime(partition, position.timestampMs)
  return toOffset(Math.min(Math.max(position.offset, start), end))
}
