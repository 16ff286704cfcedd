// A member of a consumer group as any program might be: it joins, reads, stalls now and then, commits, leaves, and goes on after whatever goes
// wrong. It records what it saw. The same over HTTP in a process of its own and in a simulation.

import { SluiceError } from '../../src/base/errors.js'
import type { GroupEvent } from './group-history.js'
import type { SeededRandom } from './seeded-random.js'

export interface MemberApi {
  join(request: { readonly memberId?: string; readonly instanceId?: string }): Promise<{
    readonly memberId: string
    readonly generation: number
    readonly assignments: readonly { readonly partition: number; readonly position: number }[]
  }>
  fetch(
    memberId: string,
    request: { readonly maxRecords: number; readonly after: number },
  ): Promise<{
    readonly generation: number
    readonly fetchId: number
    readonly partitions: readonly { readonly partition: number; readonly first: number; readonly end: number }[]
  }>
  commit(
    offsets: readonly { readonly partition: number; readonly offset: number }[],
    identity: { readonly memberId: string; readonly generation: number; readonly instanceId?: string },
  ): Promise<void>
  leave(memberId: string): Promise<void>
}

export interface MemberSurroundings {
  readonly api: MemberApi
  readonly random: SeededRandom
  readonly instanceId?: string
  readonly sessionTimeoutMs: number
  readonly sleep: (ms: number) => Promise<void>
  readonly now: () => number
  /** The process of the node that answers now. */
  readonly node: () => number
  readonly record: (event: GroupEvent) => void
  readonly isAlive: () => boolean
  /** Whether it still makes trouble by itself. */
  readonly isWild: () => boolean
}

/** Runs until it is dead, or another process has its static id. */
export async function runMember(surroundings: MemberSurroundings): Promise<void> {
  const { isAlive, random, sleep } = surroundings
  let memberId: string | undefined
  while (isAlive()) {
    try {
      memberId = await runOnce(surroundings, memberId)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      if (error.code === 'FENCED_INSTANCE_ID') return
      if (error.code === 'UNKNOWN_MEMBER_ID' || error.code === 'ILLEGAL_GENERATION') memberId = undefined
      if (error instanceof LeftWith) memberId = error.memberId
      await sleep(random.below(20))
    }
  }
}

/** Something went wrong that leaves the membership as it is. */
class LeftWith extends SluiceError {
  constructor(
    readonly memberId: string,
    cause: SluiceError,
  ) {
    super(cause.code, cause.message, cause.details, cause)
  }
}

/** One generation. @returns undefined when it has left. */
async function runOnce(s: MemberSurroundings, known: string | undefined): Promise<string | undefined> {
  const { api, random, instanceId, sleep, now } = s
  const askedAt = now()
  const { memberId, generation, assignments } = await api.join({ memberId: known, instanceId })
  const by = { member: memberId, instance: instanceId, generation, node: s.node() }
  const at = now()
  for (const { partition, position } of assignments)
    s.record({ what: 'assigned', ...by, partition, position, askedAt, at })
  const done = new Map<number, number>()
  const commit = async (): Promise<void> => {
    const offsets = [...done].map(([partition, offset]) => ({ partition, offset }))
    if (offsets.length === 0) return
    const commitAskedAt = now()
    await api.commit(offsets, { memberId, generation, instanceId })
    const ackedAt = now()
    for (const { partition, offset } of offsets)
      s.record({ what: 'committed', ...by, partition, offset, askedAt: commitAskedAt, at: ackedAt })
  }
  // From the first fetch on: its answer may be lost as well.
  let after = 0
  try {
    while (s.isAlive()) {
      await sleep(random.below(30))
      await perhapsStall(s)
      if (s.isWild() && random.chance(0.02)) {
        if (random.chance(0.5)) await commit()
        await api.leave(memberId)
        return undefined
      }
      const fetchAskedAt = now()
      const fetched = await api.fetch(memberId, { maxRecords: 1 + random.below(30), after }).catch((error) => {
        if (error instanceof SluiceError && error.code === 'NOT_REACHABLE' && random.chance(0.7)) return null
        throw error
      })
      // Its answer was lost, or it never arrived: asked again, it must not skip anything.
      if (fetched === null) continue
      after = fetched.fetchId
      const gotAt = now()
      for (const { partition, first, end } of fetched.partitions) {
        s.record({ what: 'delivered', ...by, partition, first, end, askedAt: fetchAskedAt, at: gotAt })
        done.set(partition, end)
      }
      await perhapsStall(s)
      if (random.chance(0.4) || !s.isWild()) await commit()
    }
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    // What was done is committed if that is still possible; its outcome is nobody's concern.
    if (error.code === 'REBALANCE_IN_PROGRESS' && random.chance(0.7)) await commit()
    const isGone = error.code !== 'REBALANCE_IN_PROGRESS' && error.code !== 'NOT_REACHABLE'
    throw isGone ? error : new LeftWith(memberId, error)
  }
  return memberId
}

/** Sometimes beyond its session. */
async function perhapsStall({ random, sleep, sessionTimeoutMs, isWild }: MemberSurroundings): Promise<void> {
  if (isWild() && random.chance(0.02)) await sleep(sessionTimeoutMs * (0.5 + random.next()))
}
