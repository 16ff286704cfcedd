// Kafka's range assignment (KIP-54, RangeAssignor): per stream, the members in order of their ids get consecutive partitions, the first
// ones one more where it does not come out even. The same members and streams always give the same result.

import type { AssignedPartition, Assignment, Subscriber } from './assignment.js'

/** @param partitionsOf 0 for a stream that does not exist. */
export function assignRange(members: readonly Subscriber[], partitionsOf: (stream: string) => number): Assignment {
  const assignments = new Map<string, AssignedPartition[]>(members.map(({ memberId }) => [memberId, []]))
  const inOrder = [...members].sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
  for (const stream of new Set(inOrder.flatMap(({ streams }) => streams))) {
    const subscribers = inOrder.filter(({ streams }) => streams.includes(stream))
    const partitions = partitionsOf(stream)
    const each = Math.floor(partitions / subscribers.length)
    const oneMore = partitions % subscribers.length
    let next = 0
    subscribers.forEach(({ memberId }, index) => {
      const end = next + each + (index < oneMore ? 1 : 0)
      for (; next < end; next++) assignments.get(memberId)?.push({ stream, partition: next })
    })
  }
  return assignments
}
