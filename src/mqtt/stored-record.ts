// One record by its place, for what must be sent again.

import type { LogRecord, Offset } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { StoredPartition } from './stored-partition.js'

/** @returns null where it is not there any more. */
export async function readRecord(partition: StoredPartition | undefined, at: number): Promise<LogRecord | null> {
  const offset = at as Offset
  if (partition === undefined || offset < partition.stream.logStartOffset(partition.partition)) return null
  if (offset >= partition.highWatermark) return null
  const { batches } = await partition.stream.fetch(partition.partition, offset, { maxBytes: 1, maxRecords: 1 })
  const record = batches.length > 0 ? decodeRecords(batches[0], offset)[0] : undefined
  return record?.offset === offset ? record : null
}
