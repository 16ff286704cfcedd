// What a segment holds, partition by partition: kept up to date while it is written, stored at its seal both inside its database and in
// the file `sealed` beside it, so that a start reads a few small files instead of opening every database.

import { Encoder } from 'cbor-x'
import { baseOffsetOf, lastOffsetOf, leaderEpochOf, maxTimestampOf, recordCountOf } from '../record/record-batch.js'
import { withCheck, withoutCheck } from '../state/checked-value.js'
import type { FactsDigest } from './segment-facts.js'

const cbor = new Encoder({ useRecords: false })

export const SEGMENT_FORMAT = 2

/** One partition's stretch of a segment: offsets [base, end). */
export interface Extent {
  readonly base: number
  end: number
  bytes: number
  records: number
  /** Largest record timestamp, milliseconds since 1970-01-01 UTC; -1 while empty. */
  maxTimestampMs: number
  /** Partition epoch of the last batch. */
  epoch: number
  /** Ranges within [base, end) that damage has taken, ascending; each is in the ledger. */
  gaps: Gap[]
}

/** Where a partition ends: what the next record gets. */
export interface PartitionEnd {
  offset: number
  /** Raised whenever the end could not be proven at start. */
  epoch: number
}

/** Offsets, both inclusive. */
export type Gap = readonly [first: number, last: number]

/** Written into a segment before the first record: everything needed to go on from it. */
export interface SegmentHeader {
  readonly format: typeof SEGMENT_FORMAT
  readonly stream: string
  /** Position in the stream's sequence of segments, from 1. */
  readonly sequence: number
  /** Wall clock, milliseconds since 1970-01-01 UTC; for people only. */
  readonly createdAtMs: number
  /** The node's powered-on time at birth, milliseconds: what age is measured by (D11). */
  readonly poweredOnMs: number
  /** First offset and partition epoch of each partition. */
  readonly bases: readonly number[]
  readonly epochs: readonly number[]
}

type ExtentRow = [
  base: number,
  end: number,
  bytes: number,
  records: number,
  maxTimestampMs: number,
  epoch: number,
  gaps: Gap[],
]

type SummaryRow = [header: Buffer, extents: ExtentRow[], lastWritePoweredOnMs: number, facts: number, factsSum: number]

export interface SegmentSummary {
  readonly header: SegmentHeader
  readonly extents: readonly Extent[]
  /** The node's powered-on time when the last record was written, milliseconds. */
  readonly lastWritePoweredOnMs: number
  readonly facts: FactsDigest
}

export function emptyExtents(header: SegmentHeader): Extent[] {
  return header.bases.map((base, partition) => emptyExtent(base, header.epochs[partition] ?? 0))
}

export function emptyExtent(base: number, epoch: number): Extent {
  return { base, end: base, bytes: 0, records: 0, maxTimestampMs: -1, epoch, gaps: [] }
}

/** Takes a batch that was stored into account. Offsets left out before it become a gap; see SegmentWrite. */
export function extend(extent: Extent, batch: Buffer): void {
  const base = baseOffsetOf(batch)
  if (base > extent.end) addGap(extent, extent.end, base - 1)
  extent.end = lastOffsetOf(batch) + 1
  extent.bytes += batch.length
  extent.records += recordCountOf(batch)
  extent.maxTimestampMs = Math.max(extent.maxTimestampMs, maxTimestampOf(batch))
  extent.epoch = leaderEpochOf(batch)
}

/** CBOR [header, extents as arrays, lastWritePoweredOnMs, number of facts, XOR of their checks], then its CRC-32C, u32be. */
export function encodeSummary({ header, extents, lastWritePoweredOnMs, facts }: SegmentSummary): Buffer {
  const rows = extents.map((e) => [e.base, e.end, e.bytes, e.records, e.maxTimestampMs, e.epoch, e.gaps])
  return withCheck(cbor.encode([cbor.encode(header), rows, lastWritePoweredOnMs, facts.count, facts.sum]))
}

/** @returns null if the bytes are cut or damaged: then the segment itself is asked. */
export function decodeSummary(bytes: Buffer): SegmentSummary | null {
  const body = withoutCheck(bytes)
  if (body === null) return null
  const [header, rows, lastWritePoweredOnMs, count, sum] = cbor.decode(body) as SummaryRow
  const extents = rows.map(([base, end, size, records, maxTimestampMs, epoch, gaps]) => {
    return { base, end, bytes: size, records, maxTimestampMs, epoch, gaps }
  })
  return { header: cbor.decode(header) as SegmentHeader, extents, lastWritePoweredOnMs, facts: { count, sum } }
}

/** Adds a range of lost offsets, both inclusive, joined with those it touches. */
export function addGap(extent: Extent, first: number, last: number): void {
  const apart = extent.gaps.filter(([from, to]) => to + 1 < first || from > last + 1)
  const touched = extent.gaps.filter((gap) => !apart.includes(gap))
  const joined: Gap = [
    Math.min(first, ...touched.map(([from]) => from)),
    Math.max(last, ...touched.map(([, to]) => to)),
  ]
  extent.gaps = [...apart, joined].sort(([a], [b]) => a - b)
}

/** The first offset at or after `offset` that damage has left. */
export function pastGaps(extent: Extent, offset: number): number {
  for (const [first, last] of extent.gaps) if (offset >= first && offset <= last) return last + 1
  return offset
}

/** The end of the undamaged stretch that begins at `offset`, exclusive. */
export function stretchEnd(extent: Extent, offset: number): number {
  for (const [first] of extent.gaps) if (first > offset) return first
  return extent.end
}

/** CBOR, then its CRC-32C, u32be. */
export function encodeHeader(header: SegmentHeader): Buffer {
  return withCheck(cbor.encode(header))
}

/** @returns null if the bytes are cut or damaged. */
export function decodeHeader(bytes: Buffer): SegmentHeader | null {
  const body = withoutCheck(bytes)
  return body && (cbor.decode(body) as SegmentHeader)
}
