// A fingerprint of one record, by which two nodes find out whether what one has is the beginning of what the other has. Batches may have been
// merged and compressed anew on the way; records are the same.

import { crc32c } from '../base/crc32c.js'
import type { StreamReader } from '../log/types.js'
import type { Offset, PartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'

/** CRC-32C of time, key and value of the record at `offset`; null if it is not there (any more). */
export async function recordTip(stream: StreamReader, partition: PartitionId, offset: number): Promise<number | null> {
  if (offset < stream.logStartOffset(partition) || offset >= stream.highWatermark(partition)) return null
  const { batches } = await stream.fetch(partition, offset as Offset, { maxBytes: 1, maxRecords: 1 })
  const record = batches.length === 0 ? undefined : decodeRecords(batches[0], offset as Offset)[0]
  if (record?.offset !== offset) return null
  const head = Buffer.from(`${record.timestampMs}/${record.key?.length ?? -1}/${record.value?.length ?? -1}/`)
  const bytes = Buffer.concat([head, record.key ?? EMPTY, record.value ?? EMPTY])
  return crc32c(bytes, 0)
}

const EMPTY = Buffer.alloc(0)
