// Sticky assignment (KIP-54): shares as even as the subscriptions let them be by moves of one partition from one member to another, and of those
// the one that takes as little as possible away from who has it. What a member has read ahead, or keeps in memory of a partition, stays of use.

import type { AssignedPartition, Assignment, Subscriber } from './assignment.js'

interface Share {
  readonly memberId: string
  readonly streams: ReadonlySet<string>
  readonly owned: AssignedPartition[]
}

/**
 * @param partitionsOf 0 for a stream that does not exist.
 * @param before What members had; of two that claim a partition the first by id keeps it.
 */
export function assignSticky(
  members: readonly Subscriber[],
  partitionsOf: (stream: string) => number,
  before: (memberId: string) => readonly AssignedPartition[],
): Assignment {
  const shares: Share[] = [...members]
    .sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
    .map(({ memberId, streams }) => ({ memberId, streams: new Set(streams), owned: [] }))
  const free = new Map<string, AssignedPartition>()
  for (const stream of [...new Set(members.flatMap(({ streams }) => streams))].sort())
    for (let partition = 0; partition < partitionsOf(stream); partition++)
      free.set(`${stream}/${partition}`, { stream, partition })
  for (const share of shares)
    for (const { stream, partition } of before(share.memberId)) {
      const kept = share.streams.has(stream) ? free.get(`${stream}/${partition}`) : undefined
      if (kept !== undefined && free.delete(`${stream}/${partition}`)) share.owned.push(kept)
    }
  for (const each of free.values()) fewest(shares, each.stream)?.owned.push(each)
  // Each move lowers the sum of the squares of the shares, so this ends.
  while (moveOne(shares)) {}
  return new Map(shares.map(({ memberId, owned }) => [memberId, owned]))
}

/** Moves a partition from a member to one that has at least two fewer. @returns false when there is none to move. */
function moveOne(shares: readonly Share[]): boolean {
  for (const from of [...shares].sort((a, b) => b.owned.length - a.owned.length))
    for (let i = from.owned.length - 1; i >= 0; i--) {
      const to = fewest(shares, from.owned[i].stream)
      if (to === undefined || from.owned.length - to.owned.length < 2) continue
      to.owned.push(...from.owned.splice(i, 1))
      return true
    }
  return false
}

function fewest(shares: readonly Share[], stream: string): Share | undefined {
  let best: Share | undefined
  for (const share of shares)
    if (share.streams.has(stream) && (best === undefined || share.owned.length < best.owned.length)) best = share
  return best
}
