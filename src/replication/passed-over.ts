// What a lane passes over instead of sending it: entered in the ledger, as far as that does not know it, and records that are refused go to the
// dead letter stream before. Tried until it is on disk, since only then may the cursor pass.

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { StreamReader } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import { concerns, type Ledger, type LedgerReason } from '../state/ledger.js'
import { uncoveredRanges } from '../state/uncovered-ranges.js'
import type { DeadLetters, Undeliverable } from './dead-letters.js'

export type LedgerPort = Pick<Ledger, 'add' | 'list'>

export interface PassedOverOptions {
  readonly upstream: string
  readonly stream: StreamReader
  readonly partition: PartitionId
  readonly ledger: LedgerPort
  /** Left out: what is refused is in the ledger only. */
  readonly deadLetters?: Pick<DeadLetters, 'put'>
  readonly clock: Clock
  /** The lane is closed: nothing is tried any more. */
  readonly isClosed: () => boolean
  /** Why it cannot be written, for people; null once it was. */
  readonly onProblem: (problem: string | null) => void
}

export interface Passed {
  readonly offset: Offset
  /** One past its last offset. */
  readonly nextOffset: Offset
  readonly reason: LedgerReason
  /** Of what is refused: consecutive. */
  readonly letters: readonly Undeliverable[]
}

/** How long what cannot be written waits before it is tried again. */
const RETRY_MS = 5_000

export class PassedOver {
  /** Records the destination could never take. */
  rejected = 0
  private buriedBelow = 0 as Offset

  constructor(private readonly options: PassedOverOptions) {}

  /** @returns false if the lane was closed before the ledger could be written. */
  async enter({ offset, nextOffset, reason, letters }: Passed): Promise<boolean> {
    const { ledger, clock, upstream, stream, partition, isClosed, onProblem } = this.options
    while (!isClosed()) {
      const known = ledger
        .list()
        .filter((row) => concerns(row, upstream) && row.stream === stream.name && row.partition === partition)
      const missing = uncoveredRanges({ first: offset, last: (nextOffset - 1) as Offset }, known)
      const atMs = clock.wallMs()
      const entries = missing.map(({ first, last }) => {
        const range = { firstOffset: first, lastOffset: last }
        return { destination: upstream, stream: stream.name, partition, ...range, reason, atMs }
      })
      try {
        await this.bury(letters)
        if (entries.length > 0) await ledger.add(entries)
        onProblem(null)
        return true
      } catch (error) {
        onProblem(`the ledger or dead letters cannot be written: ${messageOf(error)}`)
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve))
      }
    }
    return false
  }

  /** Once each, also when a lost connection makes the lane come by again. */
  private async bury(letters: readonly Undeliverable[]): Promise<void> {
    const { deadLetters, stream, partition } = this.options
    const fresh = letters.filter(({ offset }) => offset >= this.buriedBelow)
    if (fresh.length === 0) return
    await deadLetters?.put(stream, partition, fresh)
    this.rejected += fresh.reduce((sum, { offset, nextOffset }) => sum + nextOffset - offset, 0)
    this.buriedBelow = fresh.at(-1)!.nextOffset
  }
}
