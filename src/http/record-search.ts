// Looks through a stretch of one partition for records that fit: by MQTT topic filter and by time. A request looks at so much and then says where
// to go on, so that no search holds a node up, however rare what it looks for.

import { topicMatches } from '../base/topic-filter.js'
import type { FetchLimits, StreamReader } from '../log/types.js'
import { type LogRecord, type Offset, type PartitionId, toOffset } from '../record/record.js'
import { decodeRecords, lastOffsetOf, maxTimestampOf } from '../record/record-batch.js'

const STRETCH_BYTES = 256 * 1024

export interface SearchFor {
  /** A topic without wildcards finds that topic. */
  readonly topicFilter?: string
  /** Inclusive; records that bear an earlier time are left out even where the clock was set back. */
  readonly fromMs?: number
  /** Exclusive. */
  readonly untilMs?: number
}

export interface SearchLimits {
  readonly maxRecords: number
  /** Of stored batches looked at. */
  readonly maxScanBytes: number
}

export interface Found {
  readonly records: readonly LogRecord[]
  /** Where to go on. */
  readonly nextOffset: Offset
  readonly scannedRecords: number
  readonly scannedBytes: number
}

/** @param end Exclusive. @throws SluiceError OFFSET_OUT_OF_RANGE. */
export async function searchRecords(
  stream: StreamReader,
  partition: PartitionId,
  from: Offset,
  end: Offset,
  wanted: SearchFor,
  limits: SearchLimits,
): Promise<Found> {
  const records: LogRecord[] = []
  const fits = fitter(wanted)
  // Segments without a topic that fits are not even opened.
  const fetchLimits = { maxBytes: STRETCH_BYTES, ...wantsTopic(wanted) }
  let next: number = from
  let bytes = 0
  let scannedRecords = 0
  while (next < end && bytes < limits.maxScanBytes) {
    const { batches, nextOffset } = await stream.fetch(partition, toOffset(next), fetchLimits)
    for (const batch of batches) {
      bytes += batch.length
      // Without a look inside.
      const isTooOld = wanted.fromMs !== undefined && maxTimestampOf(batch) < wanted.fromMs
      for (const record of isTooOld ? [] : decodeRecords(batch, toOffset(next))) {
        if (record.offset >= end) return { records, nextOffset: end, scannedRecords, scannedBytes: bytes }
        if (records.length === limits.maxRecords)
          return { records, nextOffset: record.offset, scannedRecords, scannedBytes: bytes }
        scannedRecords += 1
        if (fits(record)) records.push(record)
      }
      next = lastOffsetOf(batch) + 1
    }
    next = Math.max(next, nextOffset)
  }
  return { records, nextOffset: toOffset(Math.min(next, end)), scannedRecords, scannedBytes: bytes }
}

function wantsTopic({ topicFilter }: SearchFor): Pick<FetchLimits, 'wantsTopic'> {
  return topicFilter === undefined ? {} : { wantsTopic: (mqttTopic) => topicMatches(topicFilter, mqttTopic) }
}

function fitter({ topicFilter, fromMs, untilMs }: SearchFor): (record: LogRecord) => boolean {
  const matches = topicFilter === undefined ? () => true : topicMatcher(topicFilter)
  return (record) =>
    (fromMs === undefined || record.timestampMs >= fromMs) &&
    (untilMs === undefined || record.timestampMs < untilMs) &&
    matches(record.key)
}

/** Neighbours often have one topic: the verdict on the last is kept. */
function topicMatcher(filter: string): (key: Buffer | null) => boolean {
  let last: Buffer | null = null
  let verdict = false
  return (key) => {
    if (key === null) return false
    if (last !== null && key.equals(last)) return verdict
    last = key
    verdict = topicMatches(filter, key.toString('utf8'))
    return verdict
  }
}
