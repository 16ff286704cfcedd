// How the partitions of a group are shared among members that let the node assign: the strategies by the names under which members vote for them.

import { assignRange } from './assign-range.js'
import { assignRoundRobin } from './assign-round-robin.js'
import { assignSticky } from './assign-sticky.js'

export interface Subscriber {
  readonly memberId: string
  readonly streams: readonly string[]
}

export interface AssignedPartition {
  readonly stream: string
  readonly partition: number
}

/** By member id; every member is in it. */
export type Assignment = Map<string, AssignedPartition[]>

export type AssignmentStrategy = 'range' | 'round_robin' | 'sticky'

/** The first is what members get that ask for none. */
export const ASSIGNMENT_STRATEGIES: readonly AssignmentStrategy[] = ['range', 'round_robin', 'sticky']

type Assign = (
  members: readonly Subscriber[],
  /** 0 for a stream that does not exist. */
  partitionsOf: (stream: string) => number,
  /** What a member had in the generation before. */
  before: (memberId: string) => readonly AssignedPartition[],
) => Assignment

const ASSIGN: Readonly<Record<AssignmentStrategy, Assign>> = {
  range: assignRange,
  round_robin: assignRoundRobin,
  sticky: assignSticky,
}

/** @param strategy What the members have voted for. */
export function assignBy(strategy: string, ...args: Parameters<Assign>): Assignment {
  return ASSIGN[strategy as AssignmentStrategy](...args)
}
