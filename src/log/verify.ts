// Checks what is stored, a bounded stretch at a time, so that a node can go on working beside it and whoever walks over everything can
// say how far it is. Reading goes through Stream.fetch, which checks length, magic, CRC and contiguity of every batch, passes over what
// is damaged and enters it into the ledger; on top of that every record is decoded. Called by the HTTP route and by `sluice verify`.

import { SluiceError } from '../base/errors.js'
import type { Offset, PartitionId } from '../record/record.js'
import { baseOffsetOf, decodeRecords, lastOffsetOf, maxTimestampOf, recordCountOf } from '../record/record-batch.js'
import type { LedgerRow } from '../state/ledger.js'
import type { Fetched, StreamReader } from './types.js'

const LOST = 'cannot be read: damaged or missing on disk'
const FETCH_BYTES = 256 * 1024
/** A stretch ends with the fetch that reaches this many stored bytes, whatever its records. */
export const MAX_STRETCH_BYTES = 16 * 1024 * 1024

/** Offsets, both inclusive. */
interface OffsetRange {
  readonly firstOffset: number
  readonly lastOffset: number
}

export interface DamagedRange extends OffsetRange {
  /** A phrase: what is wrong with these offsets. */
  readonly problem: string
  /** In the ledger before this was checked. */
  readonly known: boolean
}

export interface VerifiedStretch {
  /** Where it began: the offset asked for, or the log start where retention has passed that. */
  readonly firstOffset: Offset
  /** Where to go on. */
  readonly nextOffset: Offset
  /** Good ones, at or after `firstOffset`. */
  readonly records: number
  readonly bytes: number
  readonly batches: number
  /** Ascending. */
  readonly damage: readonly DamagedRange[]
}

export interface VerifyRequest {
  readonly partition: PartitionId
  /** At most the high watermark. */
  readonly from: Offset
  /** The stretch ends with the batch that reaches so many. */
  readonly maxRecords: number
  /** The ledger's rows as they were before: what they name is known damage. */
  readonly ledger: readonly LedgerRow[]
}

/** @throws SluiceError as StreamReader.fetch, except for damage and for what retention removes meanwhile. */
export async function verifyStretch(reader: StreamReader, request: VerifyRequest): Promise<VerifiedStretch> {
  const { partition, from, maxRecords, ledger } = request
  const firstOffset = Math.max(from, reader.logStartOffset(partition)) as Offset
  const known = ledger.filter((row) => isDamageOf(row, reader.name, partition))
  const damage: DamagedRange[] = []
  const total = { records: 0, bytes: 0, batches: 0 }
  let next: number = firstOffset
  while (next < reader.highWatermark(partition) && next - firstOffset < maxRecords && total.bytes < MAX_STRETCH_BYTES) {
    const limits = { maxBytes: FETCH_BYTES, maxRecords: maxRecords - (next - firstOffset) }
    const fetched = await fetchStored(reader, partition, next as Offset, limits)
    if (fetched === null) {
      next = reader.logStartOffset(partition)
      continue
    }
    // What retention has removed since is missing for a good reason.
    const logStart = reader.logStartOffset(partition)
    const missing = (first: number, end: number): void => {
      const lost = { firstOffset: Math.max(first, logStart), lastOffset: end - 1 }
      damage.push(...splitByKnown(lost, known, LOST))
    }
    for (const batch of fetched.batches) {
      const base = baseOffsetOf(batch)
      if (base > next) missing(next, base)
      const problem = recordsProblem(batch)
      const range = { firstOffset: base, lastOffset: lastOffsetOf(batch) }
      if (problem === null) total.records += range.lastOffset + 1 - Math.max(base, next)
      else damage.push(...splitByKnown(range, known, problem))
      total.bytes += batch.length
      total.batches += 1
      next = range.lastOffset + 1
    }
    if (fetched.nextOffset > next) missing(next, fetched.nextOffset)
    next = fetched.nextOffset
  }
  return { firstOffset, nextOffset: next as Offset, ...total, damage }
}

/** What the ledger has on a partition that it did not have before, ascending: damage that opening the log has come upon. */
export function newDamage(
  ledger: readonly LedgerRow[],
  before: readonly LedgerRow[],
  stream: string,
  partition: PartitionId,
): DamagedRange[] {
  const known = before.filter((row) => isDamageOf(row, stream, partition))
  const rows = ledger.filter((row) => isDamageOf(row, stream, partition))
  return rows.flatMap((row) => splitByKnown(row, known, LOST)).filter((range) => !range.known)
}

/** @returns null when retention has removed what was asked for. */
async function fetchStored(
  reader: StreamReader,
  partition: PartitionId,
  from: Offset,
  limits: { readonly maxBytes: number; readonly maxRecords: number },
): Promise<Fetched | null> {
  try {
    return await reader.fetch(partition, from, { ...limits, fromDisk: true })
  } catch (error) {
    const removed = error instanceof SluiceError && error.code === 'OFFSET_OUT_OF_RANGE'
    if (removed && from < reader.logStartOffset(partition)) return null
    throw error
  }
}

/** Decodes every record. @returns what is wrong, as a phrase, or null. The batch itself has passed its checks. */
function recordsProblem(batch: Buffer): string | null {
  try {
    const records = decodeRecords(batch)
    const base = baseOffsetOf(batch)
    const latest = maxTimestampOf(batch)
    if (records.length !== recordCountOf(batch)) return `holds ${records.length} records of ${recordCountOf(batch)}`
    const odd = records.findIndex(({ offset, timestampMs }, i) => offset !== base + i || timestampMs > latest)
    return odd === -1 ? null : `has a record at ${base + odd} that contradicts the header of its batch`
  } catch (error) {
    if (error instanceof SluiceError && error.code === 'CORRUPT_MESSAGE') return error.message
    throw error
  }
}

function isDamageOf({ destination, stream, partition }: LedgerRow, name: string, id: PartitionId): boolean {
  return destination === '*' && stream === name && partition === id
}

/** Cuts a range where known and new damage meet. @param known Ascending, without overlaps. */
function splitByKnown(range: OffsetRange, known: readonly OffsetRange[], problem: string): DamagedRange[] {
  const pieces: DamagedRange[] = []
  let next = range.firstOffset
  const upTo = (lastOffset: number, isKnown: boolean): void => {
    if (lastOffset >= next) pieces.push({ firstOffset: next, lastOffset, problem, known: isKnown })
    next = Math.max(next, lastOffset + 1)
  }
  for (const { firstOffset, lastOffset } of known) {
    if (lastOffset < next || firstOffset > range.lastOffset) continue
    upTo(firstOffset - 1, false)
    upTo(Math.min(lastOffset, range.lastOffset), true)
  }
  upTo(range.lastOffset, false)
  return pieces
}
