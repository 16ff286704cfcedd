// Finds the mirror that a stream of another node goes on in, or begins one: a mirror holds the beginning of what its origin has, or it is of
// something else and keeps its records under another name.

import type { MirrorStream } from '../log/mirror-stream.js'
import type { Mirrors } from '../log/mirrors.js'
import type { PartitionId } from '../record/record.js'
import type { LaneOffer, Open } from './node-protocol.js'
import { recordTip } from './record-tip.js'

export interface OpenedMirror {
  readonly mirror: MirrorStream
  /** What is wrong, for people, when a new mirror has taken the place of another. */
  readonly alarm: string | null
}

/**
 * @param via The node that forwards.
 * @param diverged It has turned out that what is here is of something else.
 * @throws SluiceError as Mirrors.open.
 */
export async function openMirror(mirrors: Mirrors, open: Open, via: string, diverged: boolean): Promise<OpenedMirror> {
  const { origin, stream, partitions } = open
  const known = mirrors.find(origin, stream)
  const isReplaced = known !== undefined && (open.fresh || diverged || (await isOfSomethingElse(known, open, via)))
  if (!isReplaced) {
    const begins = partitions.map(({ start, cursor, epoch }) => ({ base: Math.min(start, cursor), epoch }))
    return { mirror: await mirrors.open(origin, stream, begins, via), alarm: null }
  }
  const begins = partitions.map(({ start, epoch }) => ({ base: start, epoch }))
  const mirror = await mirrors.begin(origin, stream, begins, via)
  const former = `${origin}.${stream}.${mirror.incarnation - 1}`
  const what = `${stream} is no longer what was forwarded before: a new mirror was begun, the old one is ${former}`
  return { mirror, alarm: what }
}

async function isOfSomethingElse(mirror: MirrorStream, { origin, partitions }: Open, via: string): Promise<boolean> {
  // One that was to take the place of another when the disk refused: that is still to be done, and to be said.
  if (mirror.incarnation > 1 && mirror.partitions === 0) return true
  for (const [partition, offer] of partitions.entries())
    if (partition < mirror.partitions && (await hasOther(mirror, partition as PartitionId, offer, via === origin)))
      return true
  return false
}

/**
 * A mirror that ends before what is offered is looked at by the sender, who has both. One that ends beyond it has other records for sure if it has
 * another at the end of what is offered, or if it is the origin that has no more. A node in between may merely be behind.
 */
async function hasOther(
  mirror: MirrorStream,
  partition: PartitionId,
  { end, tip }: LaneOffer,
  isOrigin: boolean,
): Promise<boolean> {
  if (mirror.position(partition) <= end) return false
  if (isOrigin) return true
  return tip !== null && ((await recordTip(mirror, partition, end - 1)) ?? tip) !== tip
}
