// The list of everything that will never be delivered, and why (Promise 2). Neighbouring ranges merge. At the maximum number of rows the
// closest ranges of one partition and destination coarsen into one: `records` still counts exactly, only the edges blur. Sessions come and go under any
// name: where theirs are too many, those of one partition that were entered longest ago become a row of `session:*`. No row is dropped.

import { createHash } from 'node:crypto'
import type { Offset } from '../record/record.js'
import type { StateOperation, StateStore, StateTable } from './types.js'

const REASONS = [
  'retention',
  'disk_full',
  'corruption',
  /** Damage hid where a partition ended: what it held of these offsets, if anything, is gone; none is used again. */
  'end_unknown',
  'rejected',
  'qos0_dropped',
  'session_overtaken',
  /** A device behind the bridge cannot take it: too large, or its topic cannot be named to it. */
  'undeliverable',
  /** The stream is another now: what was left of the old one is not forwarded any more. */
  'replaced',
  'several',
] as const

export type LedgerReason = (typeof REASONS)[number]

/** A reason as another node has told it, which may know more of them. */
export function toldReason(reason: string): LedgerReason {
  return REASONS.find((one) => one === reason) ?? 'several'
}

export interface LedgerEntry {
  /** The upstream or session that will not get these records; `*` where nobody will. */
  readonly destination: string
  readonly stream: string
  readonly partition: number
  /** Inclusive. */
  readonly firstOffset: Offset
  /** Inclusive. */
  readonly lastOffset: Offset
  readonly reason: LedgerReason
  /** Where not all of the range are meant: how many. */
  readonly records?: number
  /** Wall-clock time of the (latest) entry, milliseconds since 1970-01-01 UTC. */
  readonly atMs: number
}

/** A row as it is kept: `records` is less than the range spans only where rows had to be coarsened. */
export interface LedgerRow extends LedgerEntry {
  readonly records: number
}

/** Whether it tells a destination of records it will not get: its own rows, and those of what nobody will. */
export function concerns({ destination }: Pick<LedgerRow, 'destination'>, whom: string): boolean {
  return destination === whom || destination === '*'
}

export const MAX_LEDGER_ROWS = 1000
/** Of its name, inclusive: it is part of a key. A longer one, as the filter of a shared group may be, is cut, and ends in what tells it from others. */
export const MAX_DESTINATION_BYTES = 512
const CUT_LENGTH = 100
const SESSION = 'session:'
/** Several that are not told apart any more. */
const SESSIONS = `${SESSION}*`

/** What rows of a session, or of a shared group by its filter, have as their destination: no upstream has such a name. */
export function sessionDestination(client: string): string {
  return SESSION + client
}

export class Ledger {
  private readonly rows = new Map<string, LedgerRow>()
  /** Another number whenever something has been entered. */
  version = 0
  private lastAdd: Promise<void> = Promise.resolve()
  /** Keys of a write that was refused: the disk may have it all the same (D4). The next write says what they are. */
  private readonly doubtful = new Set<string>()

  private constructor(
    private readonly table: StateTable<LedgerRow>,
    private readonly maxRows: number,
  ) {}

  static async open(state: StateStore, maxRows = MAX_LEDGER_ROWS): Promise<Ledger> {
    const ledger = new Ledger(state.table<LedgerRow>('ledger'), maxRows)
    for await (const [key, row] of ledger.table.entries()) ledger.rows.set(key, row)
    return ledger
  }

  /** Durable when it resolves. Entering a range that is covered already, as a retry after a crash does, counts it once. */
  add(entries: readonly LedgerEntry[]): Promise<void> {
    // One after the other: each merges with what the one before has made durable.
    const named = entries.map((entry) => ({ ...entry, destination: fitting(entry.destination) }))
    const added = this.lastAdd.then(() => this.enterAll(named))
    this.lastAdd = added.catch(() => {})
    return added
  }

  /**
   * What is known of one stream is from now on of a stream by another name. Durable when it resolves.
   * @param without What has turned out not to be so.
   */
  rename(stream: string, to: string, without?: LedgerReason): Promise<void> {
    const renamed = this.lastAdd.then(() => {
      const next = new Map([...this.rows].filter(([, row]) => row.stream !== stream))
      for (const row of this.rows.values())
        if (row.stream === stream && row.reason !== without) enterRow(next, { ...row, stream: to })
      return this.become(next)
    })
    this.lastAdd = renamed.catch(() => {})
    return renamed
  }

  /** By destination, stream, partition and offset. */
  list(): readonly LedgerRow[] {
    return [...this.rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row)
  }

  /** Records that will not be delivered, in all. */
  get records(): number {
    let sum = 0
    for (const row of this.rows.values()) sum += row.records
    return sum
  }

  private async enterAll(entries: readonly LedgerEntry[]): Promise<void> {
    const next = new Map(this.rows)
    for (const entry of entries) enterRow(next, entry)
    keepWithin(next, this.maxRows)
    await this.become(next)
  }

  private async become(next: ReadonlyMap<string, LedgerRow>): Promise<void> {
    const operations: StateOperation<LedgerRow>[] = []
    for (const key of this.rows.keys()) if (!next.has(key)) operations.push({ delete: key })
    for (const [key, row] of next) if (this.rows.get(key) !== row) operations.push({ put: key, value: row })
    await this.apply(operations)
  }

  private async apply(operations: readonly StateOperation<LedgerRow>[]): Promise<void> {
    const written = new Map([...this.doubtful].map((key) => [key, this.held(key)]))
    for (const operation of operations) written.set('delete' in operation ? operation.delete : operation.put, operation)
    for (const key of written.keys()) this.doubtful.add(key)
    await this.table.write([...written.values()])
    this.doubtful.clear()
    for (const operation of operations) {
      if ('delete' in operation) this.rows.delete(operation.delete)
      else this.rows.set(operation.put, operation.value)
    }
    this.version += 1
  }

  private held(key: string): StateOperation<LedgerRow> {
    const value = this.rows.get(key)
    return value === undefined ? { delete: key } : { put: key, value }
  }
}

function keyOf(row: LedgerEntry): string {
  return `${lineOf(row)}/${String(row.firstOffset).padStart(16, '0')}`
}

function fitting(destination: string): string {
  if (Buffer.byteLength(destination) <= MAX_DESTINATION_BYTES) return destination
  const begin = destination.slice(0, CUT_LENGTH).replace(/[\uD800-\uDBFF]$/, '')
  return `${begin}…${createHash('sha256').update(destination).digest('hex').slice(0, 16)}`
}

function lineOf({ destination, stream, partition }: LedgerEntry): string {
  return `${destination}/${stream}/${partition}`
}

/** Adds an entry to rows, joined with those it overlaps or goes on from. */
export function enterRow(rows: Map<string, LedgerRow>, entry: LedgerEntry): void {
  let merged: LedgerRow = { ...entry, records: entry.records ?? entry.lastOffset - entry.firstOffset + 1 }
  for (const [key, row] of rows) {
    if (lineOf(row) !== lineOf(entry)) continue
    const overlaps = row.firstOffset <= merged.lastOffset && merged.firstOffset <= row.lastOffset
    const touches = row.lastOffset + 1 === merged.firstOffset || merged.lastOffset + 1 === row.firstOffset
    // Drops come and go with every slow subscriber: of those there is one row per partition.
    const sparse = row.reason === 'qos0_dropped' && merged.reason === 'qos0_dropped'
    if (!overlaps && !sparse && !(touches && row.reason === merged.reason)) continue
    merged = join(row, merged)
    rows.delete(key)
  }
  rows.set(keyOf(merged), merged)
}

function join(a: LedgerRow, b: LedgerRow): LedgerRow {
  const firstOffset = Math.min(a.firstOffset, b.firstOffset) as Offset
  const lastOffset = Math.max(a.lastOffset, b.lastOffset) as Offset
  const shared = Math.max(0, Math.min(a.lastOffset, b.lastOffset) - Math.max(a.firstOffset, b.firstOffset) + 1)
  const records = Math.max(a.records, b.records, a.records + b.records - shared)
  const reason = a.reason === b.reason ? a.reason : 'several'
  return { ...b, firstOffset, lastOffset, records, reason, atMs: Math.max(a.atMs, b.atMs) }
}

/** Joins rows until there are no more than that, or none are left that may be joined. */
export function keepWithin(rows: Map<string, LedgerRow>, maxRows: number): void {
  while (rows.size > maxRows && coarsen(rows, maxRows));
}

/** Makes one row of two. @returns false when there are none that may be joined. */
function coarsen(rows: Map<string, LedgerRow>, maxRows: number): boolean {
  const sessions = [...rows.values()].filter(({ destination }) => destination.startsWith(SESSION))
  return (sessions.length > maxRows / 2 && joinSessions(rows)) || joinClosest(rows) || joinSessions(rows)
}

/** The row of a session that was entered longest ago, with others of the same partition. */
function joinSessions(rows: Map<string, LedgerRow>): boolean {
  const sessions = [...rows].filter(([, { destination }]) => destination.startsWith(SESSION))
  sessions.sort(([, a], [, b]) => a.atMs - b.atMs)
  for (const [key, row] of sessions) {
    if (row.destination === SESSIONS) continue
    const others = sessions.filter(
      ([, one]) => one !== row && one.stream === row.stream && one.partition === row.partition,
    )
    const [otherKey, other] = others.find(([, { destination }]) => destination === SESSIONS) ?? others[0] ?? []
    if (otherKey === undefined || other === undefined) continue
    rows.delete(key)
    rows.delete(otherKey)
    // What each of them was not given counts, also where it is the same.
    const joined = { ...join(other, row), destination: SESSIONS, records: other.records + row.records }
    rows.set(keyOf(joined), joined)
    return true
  }
  return false
}

/** The two closest rows of one line. */
function joinClosest(rows: Map<string, LedgerRow>): boolean {
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1))
  let best = -1
  let bestGap = Number.POSITIVE_INFINITY
  for (let i = 1; i < sorted.length; i++) {
    const [before, row] = [sorted[i - 1][1], sorted[i][1]]
    if (lineOf(before) !== lineOf(row)) continue
    const gap = row.firstOffset - before.lastOffset
    if (gap < bestGap) [best, bestGap] = [i, gap]
  }
  if (best === -1) return false
  const joined = join(sorted[best - 1][1], sorted[best][1])
  rows.delete(sorted[best - 1][0])
  rows.delete(sorted[best][0])
  rows.set(keyOf(joined), joined)
  return true
}
