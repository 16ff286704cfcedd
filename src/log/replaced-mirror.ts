// A mirror that another incarnation has taken the place of (mirrors.ts): it stays readable under its new name, and is not forwarded any more.

import type { PartitionId } from '../record/record.js'
import type { LedgerEntry } from '../state/ledger.js'
import type { LogOptions } from './log-options.js'
import type { MirrorStream } from './mirror-stream.js'
import { owedBy } from './retention.js'

/**
 * What is known of it goes on under its new name, and so does what groups have committed; what upstreams still lacked of it they will not get,
 * and that is entered. Durable when it resolves.
 */
export async function endForwarding(
  mirror: MirrorStream,
  formerName: string,
  { ledger, cursors, groupOffsets, destinationsOf, clock }: LogOptions,
): Promise<void> {
  await ledger.rename(formerName, mirror.name)
  await groupOffsets.renameStream(formerName, mirror.name)
  const owed: LedgerEntry[] = []
  for (const destination of destinationsOf(formerName))
    for (let index = 0; index < mirror.partitions; index++) {
      const partition = index as PartitionId
      const stretch = { base: mirror.logStartOffset(partition), end: mirror.highWatermark(partition) }
      const place = { stream: formerName, partition: index }
      for (const offsets of owedBy(destination, place, stretch, cursors)) {
        const row = { destination, stream: mirror.name, partition: index, ...offsets }
        owed.push({ ...row, reason: 'replaced', atMs: clock.wallMs() })
      }
    }
  if (owed.length > 0) await ledger.add(owed)
  await cursors.removeStream(formerName)
}
