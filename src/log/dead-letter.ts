// A record that could not be worked on, or not be delivered, as a record of a dead letter stream: as it was, with headers
// `sluice.dead.NAME` that say where it lay and why it is here. Work queues and upstreams write these.

import { partitionOf } from '../base/murmur2.js'
import { type LogRecord, toPartitionId } from '../record/record.js'
import type { Commit, Stream } from './types.js'

export const DEAD_LETTER_PREFIX = 'sluice.dead.'

/** @throws SluiceError as Stream.append. */
export function appendDeadLetter(
  to: Stream,
  record: LogRecord,
  facts: Readonly<Record<string, string | number>>,
  timestampMs: number,
): Commit {
  const said = Object.entries(facts).map(([name, value]) => {
    return { key: DEAD_LETTER_PREFIX + name, value: Buffer.from(String(value)) }
  })
  const partition = toPartitionId(record.key === null ? 0 : partitionOf(record.key, to.partitions))
  return to.append(partition, {
    timestampMs,
    key: record.key,
    value: record.value,
    valueStart: 0,
    valueEnd: record.value?.length ?? 0,
    headers: [...record.headers.filter(({ key }) => !key.startsWith(DEAD_LETTER_PREFIX)), ...said],
    attributes: record.attributes,
  })
}
