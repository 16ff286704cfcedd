// A mirror that another incarnation takes the place of (mirrors.ts): it stays readable under a name of its own, and is not forwarded any more. What is
// known of it is kept by name, and goes with it in steps, such that a crash between any two of them leaves nothing with the wrong records:
//
//   moveName        what is known under the name is of the former mirror's new name     cut off here: the next start moves it back
//   (mirrors.ts)    the new incarnation is durable
//   endForwarding   what upstreams lacked is in the ledger; they have no cursors        cut off here: the next start does it

import type { Offset, PartitionId } from '../record/record.js'
import { notAcked } from '../state/cursors.js'
import { concerns, type LedgerEntry, type LedgerReason } from '../state/ledger.js'
import { uncoveredRanges } from '../state/uncovered-ranges.js'
import type { LogOptions } from './log-options.js'
import { MirrorStream } from './mirror-stream.js'
import type { Stream } from './types.js'

type KnownByName = Pick<LogOptions, 'ledger' | 'cursors' | 'groupOffsets'>

/**
 * What groups have committed of a mirror, how far upstreams have come with it, and what they will not get goes on under its new name. Those that have
 * not come anywhere yet have cursors from now on: `endForwarding` goes by them. Durable when it resolves; to be tried again when it fails.
 */
export async function moveName(mirror: MirrorStream, formerName: string, options: LogOptions): Promise<void> {
  const { cursors, destinationsOf } = options
  const begun: Promise<void>[] = []
  for (const destination of destinationsOf(formerName))
    for (let partition = 0; partition < mirror.partitions; partition++) {
      const known = cursors.get(destination, formerName, partition) ?? cursors.get(destination, mirror.name, partition)
      const start = mirror.logStartOffset(partition as PartitionId)
      if (known === undefined) begun.push(cursors.set(destination, formerName, partition, start))
    }
  await Promise.all(begun)
  await rename(formerName, mirror.name, options)
}

/** What upstreams still lacked of it they will not get, and that is entered. Durable when it resolves; to be tried again when it fails. */
export async function endForwarding(
  mirror: MirrorStream,
  { ledger, cursors, destinationsOf, clock }: Pick<LogOptions, 'ledger' | 'cursors' | 'destinationsOf' | 'clock'>,
): Promise<void> {
  const { name: stream, origin, stream: mirrored } = mirror
  const destinations = destinationsOf(`${origin}.${mirrored}`)
  const owed: LedgerEntry[] = []
  for (const { destination, partition, next, acked } of cursors.ofStream(stream)) {
    const end = mirror.highWatermark(partition as PartitionId)
    if (!destinations.includes(destination) || next >= end) continue
    const known = ledger
      .list()
      .filter((row) => row.stream === stream && row.partition === partition && concerns(row, destination))
    for (const range of notAcked({ first: next, last: (end - 1) as Offset }, acked))
      for (const { first: firstOffset, last: lastOffset } of uncoveredRanges(range, known)) {
        const row = { destination, stream, partition, firstOffset, lastOffset }
        owed.push({ ...row, reason: 'replaced', atMs: clock.wallMs() })
      }
  }
  if (owed.length > 0) await ledger.add(owed)
  await cursors.removeStream(stream)
}

/** What a crash has cut off. Call once all mirrors are open, before anybody reads or writes. */
export async function finishReplacements(mirrors: Iterable<Stream>, options: LogOptions): Promise<void> {
  const { ledger, cursors, groupOffsets } = options
  const known = new Set([...cursors.streams(), ...groupOffsets.streams(), ...ledger.list().map(({ stream }) => stream)])
  for (const mirror of mirrors) {
    if (!(mirror instanceof MirrorStream)) continue
    const name = `${mirror.origin}.${mirror.stream}`
    const nextName = `${name}.${mirror.incarnation}`
    if (mirror.name !== name) await endForwarding(mirror, options)
    else if (known.has(nextName)) await rename(nextName, name, options, 'replaced')
  }
}

async function rename(
  from: string,
  to: string,
  { ledger, cursors, groupOffsets }: KnownByName,
  without?: LedgerReason,
): Promise<void> {
  await ledger.rename(from, to, without)
  await groupOffsets.renameStream(from, to)
  await cursors.renameStream(from, to)
}
