// GET /v1/streams, /v1/streams/{stream}: what there is to read.

import type { Stream, StreamCatalog } from '../../log/types.js'
import { toPartitionId } from '../../record/record.js'
import { jsonReply, type Route } from '../route.js'

export function streamRoutes({ streams }: { readonly streams: StreamCatalog }): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/streams',
      handle: () => jsonReply({ streams: [...streams.streams.values()].map(describe) }),
    },
    {
      method: 'GET',
      pattern: '/v1/streams/{stream}',
      handle: ({ params }) => jsonReply(describe(streams.stream(params['stream']))),
    },
  ]
}

function describe(stream: Stream): unknown {
  const { bytes, segments, pendingBytes, appendedRecords, commits, refusal } = stream.stats()
  return {
    name: stream.name,
    topics: stream.topics,
    ...(stream.mirrorOf && { origin: stream.mirrorOf.origin, via: stream.mirrorOf.via }),
    partitions: Array.from({ length: stream.partitions }, (_, partition) => ({
      partition,
      log_start_offset: stream.logStartOffset(toPartitionId(partition)),
      high_watermark: stream.highWatermark(toPartitionId(partition)),
    })),
    bytes,
    segments,
    pending_bytes: pendingBytes,
    appended_records: appendedRecords,
    commits,
    /** Why it takes no records at the moment. */
    refusal,
  }
}
