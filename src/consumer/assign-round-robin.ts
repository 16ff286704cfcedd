// Kafka's round-robin assignment (RoundRobinAssignor): all partitions of all streams are dealt out in order, one to each member in turn, passing over
// those that do not subscribe to the stream. Evens out over many streams with few partitions each, where range gives all to the first member.

import type { AssignedPartition, Assignment, Subscriber } from './assignment.js'

/** @param partitionsOf 0 for a stream that does not exist. */
export function assignRoundRobin(members: readonly Subscriber[], partitionsOf: (stream: string) => number): Assignment {
  const inOrder = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
  const shares = new Map<string, AssignedPartition[]>(inOrder.map(({ memberId }) => [memberId, []]))
  let turn = 0
  for (const stream of [...new Set(inOrder.flatMap(({ streams }) => streams))].sort())
    for (let partition = 0; partition < partitionsOf(stream); partition++) {
      while (!inOrder[turn % inOrder.length].streams.includes(stream)) turn += 1
      shares.get(inOrder[turn % inOrder.length].memberId)?.push({ stream, partition })
      turn += 1
    }
  return shares
}
