// POST /v1/streams/{stream}/partitions/{partition}/verify: reads back a bounded stretch of what is stored, checks every batch and decodes
// every record. The client walks on from `next_offset`. A POST, because damage that it finds is entered into the ledger.

import { SluiceError } from '../../base/errors.js'
import type { StreamCatalog } from '../../log/types.js'
import { type DamagedRange, verifyStretch } from '../../log/verify.js'
import { toOffset, toPartitionId } from '../../record/record.js'
import type { LedgerRow } from '../../state/ledger.js'
import { numberOf } from '../parameters.js'
import { type HttpReply, type HttpRequest, jsonReply, type Route } from '../route.js'

const MAX_RECORDS = { minimum: 1, maximum: 100_000, otherwise: 10_000 } as const

export interface VerifyDependencies {
  readonly streams: StreamCatalog
  readonly ledger: { list(): readonly LedgerRow[] }
}

export function verifyRoutes(dependencies: VerifyDependencies): Route[] {
  return [
    {
      method: 'POST',
      pattern: '/v1/streams/{stream}/partitions/{partition}/verify',
      query: ['offset', 'max_records'],
      handle: (request) => verify(request, dependencies),
    },
  ]
}

async function verify(request: HttpRequest, { streams, ledger }: VerifyDependencies): Promise<HttpReply> {
  const stream = streams.stream(request.params['stream'])
  const partition = toPartitionId(Number(request.params['partition']))
  const logStartOffset = stream.logStartOffset(partition)
  const highWatermark = stream.highWatermark(partition)
  const anyOffset = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, otherwise: logStartOffset }
  const from = toOffset(numberOf(request, 'offset', anyOffset))
  if (from > highWatermark)
    throw new SluiceError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${from} is beyond the end of ${stream.name}/${partition}: it holds ${logStartOffset} up to ${highWatermark}`,
      { stream: stream.name, partition, offset: from, log_start_offset: logStartOffset, high_watermark: highWatermark },
    )
  const maxRecords = numberOf(request, 'max_records', MAX_RECORDS)
  const verified = await verifyStretch(stream, { partition, from, maxRecords, ledger: ledger.list() })
  return jsonReply({
    first_offset: verified.firstOffset,
    next_offset: verified.nextOffset,
    records: verified.records,
    bytes: verified.bytes,
    batches: verified.batches,
    damage: verified.damage.map(damageAsJson),
  })
}

function damageAsJson({ firstOffset, lastOffset, problem, known }: DamagedRange): unknown {
  return { first_offset: firstOffset, last_offset: lastOffset, records: lastOffset - firstOffset + 1, problem, known }
}
