// Reads single records of a partition by their offsets, for messages of a work queue that are handed out again: their payloads are not kept in
// memory meanwhile.

import { SluiceError } from '../base/errors.js'
import type { StreamReader } from '../log/types.js'
import { type LogRecord, type PartitionId, toOffset } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'

/** @param offsets Ascending. @returns what is still there of them. */
export async function readOffsets(
  stream: StreamReader,
  partition: PartitionId,
  offsets: readonly number[],
): Promise<Map<number, LogRecord>> {
  const records = new Map<number, LogRecord>()
  let end = -1
  for (const [i, offset] of offsets.entries()) {
    // Several may lie in one batch, which was decoded for the first of them.
    if (offset < end) continue
    const { batches, nextOffset } = await fetchOne(stream, partition, offset)
    end = nextOffset
    const wanted = new Set(offsets.slice(i))
    for (const batch of batches)
      for (const record of decodeRecords(batch, toOffset(offset)))
        if (wanted.has(record.offset)) records.set(record.offset, record)
  }
  return records
}

async function fetchOne(stream: StreamReader, partition: PartitionId, offset: number) {
  try {
    return await stream.fetch(partition, toOffset(offset), { maxBytes: 1, maxRecords: 1 })
  } catch (error) {
    if (!(error instanceof SluiceError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
    return { batches: [], nextOffset: offset + 1 }
  }
}
