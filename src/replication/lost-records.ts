// How many records the ledger says an upstream will never get: what is shown beside what waits. Counted anew only when there is another answer.

import { concerns, type Ledger } from '../state/ledger.js'

export class LostRecords {
  private known = { version: -1, lanes: -1, records: 0 }

  constructor(
    private readonly upstream: string,
    private readonly ledger: Pick<Ledger, 'list' | 'version'>,
  ) {}

  /** @param lanes What it is sent: what nobody will get of anything else is no loss to it. */
  count(lanes: readonly { readonly stream: { readonly name: string } }[]): number {
    const { upstream, ledger, known } = this
    if (known.version === ledger.version && known.lanes === lanes.length) return known.records
    const streams = new Set(lanes.map(({ stream }) => stream.name))
    const records = ledger
      .list()
      .filter((row) => concerns(row, upstream) && (row.destination === upstream || streams.has(row.stream)))
      .reduce((sum, row) => sum + row.records, 0)
    this.known = { version: ledger.version, lanes: lanes.length, records }
    return records
  }
}
