// skeleton
import type { Offset } from '../record/record.js'
export type LedgerReason = 'retention' | 'disk_full' | 'corruption' | 'rejected' | 'qos0_dropped' | 'session_overtaken'
export interface LedgerEntry {
  /** Upstream or session that will not get these records; '*' where nobody will. */
  readonly destination: string
  readonly stream: string
  readonly partition: number
  /** Inclusive. */
  readonly firstOffset: Offset
  /** Inclusive. */
  readonly lastOffset: Offset
  readonly reason: LedgerReason
  /** Wall-clock time of the entry, milliseconds since 1970-01-01 UTC. */
  readonly atMs: number
}
export interface Ledger {
  /** Durable when it resolves. */
  add(entries: readonly LedgerEntry[]): Promise<void>
  list(): readonly LedgerEntry[]
}
