// What must be sent again, read from where it lies.

import { crc32c } from '../base/crc32c.js'
import type { LogRecord, Offset } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { RetainedMessages } from './retained-messages.js'
import type { InflightDelivery, PartitionName } from './session.js'
import type { StoredPartition } from './stored-partition.js'

export interface DeliveredFrom {
  readonly retained: RetainedMessages
  partition(name: PartitionName): StoredPartition | undefined
}

/** @returns null where it is not there any more. */
export async function readRecord(partition: StoredPartition | undefined, at: number): Promise<LogRecord | null> {
  const offset = at as Offset
  if (partition === undefined || isRemoved(partition, at) || offset >= partition.highWatermark) return null
  const { batches } = await partition.stream.fetch(partition.partition, offset, { maxBytes: 1, maxRecords: 1 })
  const record = batches.length > 0 ? decodeRecords(batches[0], offset)[0] : undefined
  return record?.offset === offset ? record : null
}

/** Retention has removed it. */
export function isRemoved({ stream, partition }: StoredPartition, offset: number): boolean {
  return offset < stream.logStartOffset(partition)
}

/** The very message that was sent from there; null where it is not there any more. */
export async function messageAt(
  place: InflightDelivery['place'],
  from: DeliveredFrom,
): Promise<{ readonly topic: Uint8Array; readonly value: Uint8Array | null } | null> {
  if ('retained' in place) {
    for await (const { payload } of from.retained.matching(place.retained))
      if (place.check === undefined || crc32c(payload) === place.check)
        return { topic: Buffer.from(place.retained), value: payload }
  }
  const at = 'retained' in place ? place.record : place
  const record = at === undefined ? null : await readRecord(from.partition(at.partition), at.offset)
  return record === null || record.key === null ? null : { topic: record.key, value: record.value }
}
