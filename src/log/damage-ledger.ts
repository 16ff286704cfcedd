// Enters into the ledger what damage has taken, once: each start, and each reader, comes upon it again.

import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { Offset } from '../record/record.js'
import type { Ledger, LedgerRow } from '../state/ledger.js'
import { uncoveredRanges } from '../state/uncovered-ranges.js'
import type { Place } from './retention.js'

/** Offsets of one partition that cannot be read any more, both inclusive. */
export interface Damage {
  readonly partition: number
  readonly first: number
  readonly last: number
  /** There may never have been records there: where the partition ended cannot be told. */
  readonly endUnknown?: boolean
}

export type PlacedDamage = Damage & { readonly stream: string }

export class DamageLedger {
  constructor(
    private readonly ledger: Ledger,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Durable when it resolves. */
  async enter(found: readonly PlacedDamage[]): Promise<void> {
    const rows = this.ledger.list().filter(isExact)
    const damage = found.flatMap((range) => withoutKnown(range, rows))
    for (const { endUnknown, ...range } of damage) {
      if (endUnknown) this.logger.error('where a partition ended is unknown; these offsets are not used', range)
      else this.logger.error('records are damaged and will not be delivered', range)
    }
    await this.ledger.add(
      damage.map(({ stream, partition, first, last, endUnknown }) => ({
        destination: '*',
        stream,
        partition,
        firstOffset: first as Offset,
        lastOffset: last as Offset,
        reason: endUnknown ? ('end_unknown' as const) : ('corruption' as const),
        atMs: this.clock.wallMs(),
      })),
    )
  }

  /** The same of a mirror: offsets that its origin has named as gone are no damage. */
  enterMirrored(damage: readonly Damage[], placeOf: (partition: number) => Place): Promise<void> {
    const rows = this.ledger.list()
    return this.enter(damage.flatMap((range) => withoutKnown({ ...range, ...placeOf(range.partition) }, rows)))
  }
}

/** Nothing in its range is meant to be delivered. */
function isExact({ destination, firstOffset, lastOffset, records }: LedgerRow): boolean {
  return destination === '*' && records === lastOffset - firstOffset + 1
}

/** What of it no row names. */
function withoutKnown(damage: PlacedDamage, rows: readonly LedgerRow[]): PlacedDamage[] {
  const { stream, partition, first, last } = damage
  const known = rows.filter((row) => row.stream === stream && row.partition === partition)
  return uncoveredRanges({ first: first as Offset, last: last as Offset }, known).map((range) => ({
    ...damage,
    ...range,
  }))
}
