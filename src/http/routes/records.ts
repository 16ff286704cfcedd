// GET /v1/streams/{stream}/partitions/{partition}/records: reads from an offset, as JSON, NDJSON or stored bytes; waits when there is
// nothing yet. The client keeps its place: `next_offset` is where it asks next.

import { SluiceError } from '../../base/errors.js'
import type { StartPosition } from '../../base/start-position.js'
import type { Fetched, StreamCatalog, StreamReader } from '../../log/types.js'
import { type Offset, type PartitionId, toOffset, toPartitionId } from '../../record/record.js'
import { followRecords } from '../follow-records.js'
import { MAX_WAIT_MS } from '../long-polls.js'
import { numberOf, startPositionOf } from '../parameters.js'
import { batchesAsJson, recordsBody } from '../record-json.js'
import type { RecordLines } from '../record-lines.js'
import type { HttpReply, HttpRequest, Route } from '../route.js'

export const NDJSON = 'application/x-ndjson'
export const STORED_BATCHES = 'application/vnd.sluice.batches'
export const FETCH_LIMITS = {
  maxRecords: { minimum: 1, maximum: 10_000, otherwise: 500 },
  maxBytes: { minimum: 1, maximum: 8 * 1024 * 1024, otherwise: 1024 * 1024 },
  waitMs: { minimum: 0, maximum: MAX_WAIT_MS, otherwise: 0 },
} as const

export interface RecordDependencies {
  readonly streams: StreamCatalog
  readonly lines: RecordLines
}

export function recordRoutes({ streams, lines }: RecordDependencies): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/streams/{stream}/partitions/{partition}/records',
      query: ['offset', 'max_records', 'max_bytes', 'wait_ms', 'follow'],
      handle: (request) => read(streams.stream(request.params['stream']), lines, request),
    },
  ]
}

async function read(stream: StreamReader, lines: RecordLines, request: HttpRequest): Promise<HttpReply> {
  const partition = toPartitionId(Number(request.params['partition']))
  if (partition >= stream.partitions)
    throw new SluiceError(
      'UNKNOWN_STREAM_OR_PARTITION',
      `stream ${stream.name} has no partition ${partition}: it has ${stream.partitions}, counted from 0`,
      { stream: stream.name, partition, partitions: stream.partitions },
    )
  const from = await resolve(stream, partition, startPositionOf('offset', request.query.get('offset') ?? 'earliest'))
  if (request.query.has('follow')) return followReply(stream, partition, from, lines, request)
  const asStored = request.header('accept')?.includes(STORED_BATCHES) === true
  const maxRecords = numberOf(request, 'max_records', FETCH_LIMITS.maxRecords)
  const fetched = await fetchOrWait(stream, partition, from, request, {
    maxBytes: numberOf(request, 'max_bytes', FETCH_LIMITS.maxBytes),
    // Stored batches are not cut, so only a client that names a number of them is held to it.
    maxRecords: asStored && !request.query.has('max_records') ? undefined : maxRecords,
  })
  if (asStored)
    return {
      headers: {
        ...headersOf(fetched, fetched.nextOffset),
        'x-sluice-offset': String(from),
        'content-type': STORED_BATCHES,
      },
      body: fetched.batches,
    }
  const asLines = request.header('accept')?.includes(NDJSON) === true
  const written = batchesAsJson(stream.name, partition, fetched.batches, from, asLines ? '\n' : ',', maxRecords)
  const { json } = written
  const nextOffset = json.length === 0 ? fetched.nextOffset : written.nextOffset
  const headers = headersOf(fetched, nextOffset)
  if (asLines) return { headers: { ...headers, 'content-type': NDJSON }, body: json }
  const { logStartOffset, highWatermark } = fetched
  const tail = `"next_offset":${nextOffset},"log_start_offset":${logStartOffset},"high_watermark":${highWatermark}}\n`
  return {
    headers: { ...headers, 'content-type': 'application/json' },
    body: recordsBody([json], tail),
  }
}

function followReply(
  stream: StreamReader,
  partition: PartitionId,
  from: Offset,
  lines: RecordLines,
  request: HttpRequest,
): HttpReply {
  checkFollow(request)
  const start = stream.logStartOffset(partition)
  if (from < start || from > stream.highWatermark(partition)) throw outOfRange(stream, partition, from)
  return { headers: { 'content-type': NDJSON }, body: followRecords(stream, partition, from, lines, request) }
}

/** @throws SluiceError INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE unless this asks for an endless answer in the way it has to. */
export function checkFollow(request: HttpRequest): void {
  const others = ['max_records', 'max_bytes', 'wait_ms', 'after'].filter((name) => request.query.has(name))
  if (request.query.get('follow') !== 'true' || others.length > 0)
    throw new SluiceError('INVALID_REQUEST', 'follow has to be true, and stands beside offset only', { others })
  if (request.header('accept')?.includes(NDJSON) !== true)
    throw new SluiceError('UNSUPPORTED_MEDIA_TYPE', `follow=true answers with lines: send Accept: ${NDJSON}`)
}

async function resolve(stream: StreamReader, partition: PartitionId, start: StartPosition): Promise<Offset> {
  if (start.at === 'earliest') return stream.logStartOffset(partition)
  if (start.at === 'latest') return stream.highWatermark(partition)
  return start.at === 'offset' ? toOffset(start.offset) : stream.offsetForTime(partition, start.timestampMs)
}

async function fetchOrWait(
  stream: StreamReader,
  partition: PartitionId,
  from: Offset,
  request: HttpRequest,
  limits: { readonly maxBytes: number; readonly maxRecords?: number },
): Promise<Fetched> {
  const waitMs = numberOf(request, 'wait_ms', FETCH_LIMITS.waitMs)
  const ready = () => stream.highWatermark(partition) !== from
  if (waitMs > 0 && !ready()) await request.wait({ ready, subscribe: (wake) => stream.onChange(wake), waitMs })
  try {
    return await stream.fetch(partition, from, limits)
  } catch (error) {
    throw error instanceof SluiceError && error.code === 'OFFSET_OUT_OF_RANGE'
      ? outOfRange(stream, partition, from)
      : error
  }
}

export function outOfRange(stream: StreamReader, partition: PartitionId, offset: Offset): SluiceError {
  const start = stream.logStartOffset(partition)
  const end = stream.highWatermark(partition)
  return new SluiceError(
    'OFFSET_OUT_OF_RANGE',
    `offset ${offset} is not in ${stream.name}/${partition}: it holds ${start} up to ${end} (the next to be written)`,
    { stream: stream.name, partition, offset, log_start_offset: start, high_watermark: end },
  )
}

function headersOf(fetched: Fetched, nextOffset: Offset): Record<string, string> {
  return {
    'x-sluice-next-offset': String(nextOffset),
    'x-sluice-log-start-offset': String(fetched.logStartOffset),
    'x-sluice-high-watermark': String(fetched.highWatermark),
  }
}
