// GET /v1/ledger: everything that will never be delivered, and why.

import type { LedgerRow } from '../../state/ledger.js'
import { numberOf } from '../parameters.js'
import { jsonReply, type Route } from '../route.js'

export interface LedgerDependencies {
  readonly ledger: { list(): readonly LedgerRow[] }
}

export function ledgerRoutes({ ledger }: LedgerDependencies): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/ledger',
      query: ['stream', 'destination', 'limit'],
      handle(request) {
        const stream = request.query.get('stream')
        const destination = request.query.get('destination')
        const limit = numberOf(request, 'limit', { minimum: 1, maximum: 100_000, otherwise: 100_000 })
        const chosen = ledger
          .list()
          .filter((entry) => stream === undefined || entry.stream === stream)
          .filter((entry) => destination === undefined || entry.destination === destination)
        const records = chosen.reduce((sum, row) => sum + row.records, 0)
        return jsonReply({
          entries: chosen.slice(-limit).map(asJson),
          total_entries: chosen.length,
          total_records: records,
        })
      },
    },
  ]
}

function asJson({
  destination,
  stream,
  partition,
  firstOffset,
  lastOffset,
  records,
  reason,
  atMs,
}: LedgerRow): unknown {
  return {
    destination,
    stream,
    partition,
    first_offset: firstOffset,
    last_offset: lastOffset,
    records,
    reason,
    at: new Date(atMs).toISOString(),
    at_ms: atMs,
  }
}
