// Group members that only ask and answer (HTTP, the client, the CLI): the node assigns for them and remembers where each reads. A
// member joins, fetches from the partitions it was given, commits, and joins again when a call says REBALANCE_IN_PROGRESS.
//
// A fetch moves the member's position, a commit the group's. An answer can be lost on its way: a client that names the last fetch it
// received (`after`) gets what followed that one, so nothing is skipped when it asks again.

import { SluiceError } from '../base/errors.js'
import type { StartPosition } from '../base/start-position.js'
import type { StreamCatalog } from '../log/types.js'
import { type Offset, toOffset, toPartitionId } from '../record/record.js'
import type { GroupOffset, OffsetCommit } from '../state/group-offsets.js'
import { ASSIGNMENT_STRATEGIES, type AssignedPartition, type AssignmentStrategy, assignBy } from './assignment.js'
import type { GroupCoordinator, OffsetStore } from './group-coordinator.js'
import { unknownMember } from './group-errors.js'
import type { GroupState, JoinResult, MemberIdentity } from './membership.js'
import { type CommittedOffset, type Position, type PullFetch, type PullFetched, PullMember } from './pull-member.js'

/** Streams one member may subscribe to. */
export const MAX_STREAMS_PER_MEMBER = 100
/** Rebalances in a row that one join sits through before it reports that the group does not settle. */
const MAX_REBALANCES_PER_JOIN = 10
const PROTOCOL_TYPE = 'sluice'

export interface PullJoin {
  readonly streams: readonly string[]
  /** Of an earlier join, to stay the same member; undefined for a new one. */
  readonly memberId?: string
  readonly instanceId?: string
  readonly memberName: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  /** Strategies in order of preference; the members vote for one that all of them name. Default: any, range first. */
  readonly assignment?: readonly AssignmentStrategy[]
  /** Where a partition is read from for which the group has no committed offset. */
  readonly offsetReset: StartPosition
}

export interface PullJoined {
  readonly memberId: string
  readonly generation: number
  readonly assignments: readonly (AssignedPartition & { readonly position: Offset })[]
}

export interface PullGroupDescription {
  readonly state: GroupState
  readonly generation: number
  /** What the members have voted for. */
  readonly assignment: string | undefined
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | undefined
    readonly clientId: string
    readonly assignments: readonly AssignedPartition[]
  }[]
  readonly offsets: readonly GroupOffset[]
}

/** Waits until `ready`, or as long as the caller cares. @returns false when nobody will read the answer. */
export type WaitForWork = (work: { ready(): boolean; subscribe(wake: () => void): () => void }) => Promise<boolean>

export class PullGroups {
  private readonly members = new Map<string, PullMember>()

  constructor(
    private readonly coordinator: GroupCoordinator,
    private readonly streams: StreamCatalog,
    private readonly offsets: Pick<OffsetStore, 'get'>,
  ) {}

  /** Resolves once the member has its partitions. @throws SluiceError as GroupCoordinator.join, UNKNOWN_STREAM_OR_PARTITION. */
  async join(group: string, request: PullJoin): Promise<PullJoined> {
    this.checkStreams(request.streams)
    let memberId = request.memberId ?? ''
    for (let attempt = 1; ; attempt++) {
      const joined = await this.coordinator.join({
        ...request,
        group,
        memberId,
        clientId: request.memberName,
        protocolType: PROTOCOL_TYPE,
        protocols: (request.assignment ?? ASSIGNMENT_STRATEGIES).map((name) => ({
          name,
          metadata: encode(request.streams),
        })),
      })
      memberId = joined.memberId
      try {
        const assigned = await this.sync(group, joined, request.instanceId)
        return await this.begin(group, joined, assigned, request.offsetReset)
      } catch (error) {
        const again = error instanceof SluiceError && error.code === 'REBALANCE_IN_PROGRESS'
        if (again && attempt < MAX_REBALANCES_PER_JOIN) continue
        // Its caller never learns the id: it must not hold partitions until its session ends.
        if (request.memberId === undefined) this.coordinator.leaveIfMember(group, memberId)
        throw error
      }
    }
  }

  /** @throws SluiceError REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID, OFFSET_OUT_OF_RANGE once when retention has overtaken the member. */
  async fetch(group: string, memberId: string, request: PullFetch, wait: WaitForWork): Promise<PullFetched> {
    const member = this.memberOf(group, memberId)
    member.rewind(request.after)
    const asked = member.ask()
    const ready = () => member.asked !== asked || member.hasRecords() || !this.coordinator.isCurrent(group, identity)
    const identity = { memberId, generation: member.generation }
    if (!ready()) {
      const release = this.coordinator.hold(group, memberId)
      const subscribe = (wake: () => void) => this.subscribe(member, wake)
      const wanted = await wait({ ready, subscribe }).finally(release)
      if (!wanted || member.asked !== asked) return member.nothing()
      this.coordinator.heartbeat(group, identity)
    }
    member.checkReaders()
    const read = await member.read(request)
    return member.asked === asked ? member.advance(read) : member.nothing()
  }

  /**
   * Everything from the group's committed offsets on, as stored batches, and then what comes; nothing where `wait` has ended with nothing. A request
   * of its own keeps the member alive for as long. It begins with what is committed because nobody knows what of an earlier answer has arrived.
   * @throws SluiceError UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS at once; the iteration throws what a fetch does.
   */
  follow(group: string, memberId: string, maxBytes: number, wait: WaitForWork): AsyncGenerator<PullFetched, void> {
    const member = this.memberOf(group, memberId)
    return this.readOn(member, member.ask(), maxBytes, wait)
  }

  private async *readOn(
    member: PullMember,
    asked: number,
    maxBytes: number,
    wait: WaitForWork,
  ): AsyncGenerator<PullFetched, void> {
    const { group, id: memberId, generation } = member
    const identity = { memberId, generation }
    const isLast = (): boolean => member.asked === asked
    const committed: CommittedOffset = ({ stream, partition }) => this.offsets.get(group, stream, partition)?.offset
    const ready = (): boolean => member.hasRecords() || !isLast() || !this.coordinator.isCurrent(group, identity)
    let wake = (): void => {}
    const release = this.coordinator.hold(group, memberId)
    // Once for the whole of it: a hundred followers that subscribe anew for each record cost more than their records.
    const unsubscribe = this.subscribe(member, () => wake())
    const subscribe = (waiting: () => void): (() => void) => {
      wake = waiting
      return () => {
        wake = () => {}
      }
    }
    try {
      member.restart(committed)
      while (isLast()) {
        member.checkReaders()
        if (!this.coordinator.isCurrent(group, identity)) this.coordinator.heartbeat(group, identity)
        if (member.hasRecords()) {
          const read = await member.read({ maxRecords: Number.POSITIVE_INFINITY, maxBytes, asStored: true })
          if (isLast()) yield member.advance(read)
        } else if (!(await wait({ ready, subscribe }))) return
        else if (!ready()) yield member.nothing()
      }
    } finally {
      unsubscribe()
      release()
      if (isLast()) member.restart(committed)
    }
  }

  /**
   * @param as The generation it believes in, and the name it has as a static member, where it says so.
   * @throws SluiceError REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID; FENCED_INSTANCE_ID where another process has its static place.
   */
  heartbeat(group: string, memberId: string, as: Partial<MemberIdentity> = {}): { generation: number } {
    const member = this.memberOf(group, memberId, as)
    return { generation: member.generation }
  }

  /** @throws SluiceError UNKNOWN_MEMBER_ID. */
  leave(group: string, memberId: string): void {
    this.members.delete(keyOf(group, memberId))
    this.coordinator.leave(group, memberId)
  }

  /** See GroupCoordinator.commit. */
  async commit(group: string, commits: readonly OffsetCommit[], identity?: MemberIdentity): Promise<void> {
    if (identity !== undefined) this.members.get(keyOf(group, identity.memberId))?.checkReaders()
    return this.coordinator.commit(group, commits, identity)
  }

  /** See GroupCoordinator.remove. */
  remove(group: string): Promise<void> {
    return this.coordinator.remove(group)
  }

  list(): string[] {
    return this.coordinator.list()
  }

  /** @throws SluiceError GROUP_ID_NOT_FOUND. */
  describe(group: string): PullGroupDescription {
    const { state, generation, protocolType, protocol, members, offsets } = this.coordinator.describe(group)
    const described = members.map(({ assignment, memberId, instanceId, clientId }) => {
      const readable = protocolType === PROTOCOL_TYPE && assignment.length > 0
      return { memberId, instanceId, clientId, assignments: readable ? decode<AssignedPartition[]>(assignment) : [] }
    })
    return { state, generation, assignment: protocol, members: described, offsets }
  }

  private async sync(group: string, joined: JoinResult, instanceId?: string): Promise<AssignedPartition[]> {
    const { memberId, generation, protocol, members } = joined
    const subscribers = members.map((member) => ({
      memberId: member.memberId,
      streams: decode<string[]>(member.metadata),
    }))
    const partitionsOf = (stream: string): number => this.streams.streams.get(stream)?.partitions ?? 0
    const before = (id: string) => this.members.get(keyOf(group, id))?.positions ?? []
    const shares = assignBy(protocol, subscribers, partitionsOf, before)
    const assignments = new Map([...shares].map(([id, share]) => [id, encode(share)]))
    const assignment = await this.coordinator.sync(group, { memberId, generation, instanceId }, assignments)
    return assignment.length === 0 ? [] : decode<AssignedPartition[]>(assignment)
  }

  private async begin(
    group: string,
    { memberId, generation }: JoinResult,
    assigned: readonly AssignedPartition[],
    reset: StartPosition,
  ): Promise<PullJoined> {
    this.forgetGone()
    const key = keyOf(group, memberId)
    await this.coordinator.commitsSettled(group)
    const positions: Position[] = []
    for (const { stream, partition } of assigned) {
      const committed = this.offsets.get(group, stream, partition)?.offset
      positions.push({ stream, partition, next: committed ?? (await this.resolve(stream, partition, reset)) })
    }
    const member = new PullMember(group, memberId, generation, positions, this.streams)
    this.coordinator.heartbeat(group, { memberId, generation })
    this.members.get(key)?.ask()
    this.members.set(key, member)
    return { memberId, generation, assignments: positions.map(({ next, ...rest }) => ({ ...rest, position: next })) }
  }

  private async resolve(stream: string, partition: number, reset: StartPosition): Promise<Offset> {
    const reader = this.streams.stream(stream)
    const id = toPartitionId(partition)
    if (reset.at === 'earliest') return reader.logStartOffset(id)
    if (reset.at === 'latest') return reader.highWatermark(id)
    if (reset.at === 'offset') return toOffset(reset.offset)
    return reader.offsetForTime(id, reset.timestampMs)
  }

  private memberOf(group: string, memberId: string, as: Partial<MemberIdentity> = {}): PullMember {
    const member = this.members.get(keyOf(group, memberId))
    const { generation = member?.generation ?? 0, instanceId } = as
    // The coordinator knows why: another process may have its static place.
    if (member !== undefined || !this.coordinator.isMember(group, memberId))
      this.coordinator.heartbeat(group, { memberId, generation, instanceId })
    if (member === undefined) throw unknownMember(group, memberId)
    member.checkReaders()
    return member
  }

  private subscribe(member: PullMember, wake: () => void): () => void {
    const endRecords = member.onChange(wake)
    const endGroup = this.coordinator.onChange(member.group, wake)
    return () => {
      endRecords()
      endGroup()
    }
  }

  /** Members that the coordinator has put out leave this table when others join: it never outgrows the coordinator's own. */
  private forgetGone(): void {
    for (const [key, { group, id }] of this.members) if (!this.coordinator.isMember(group, id)) this.members.delete(key)
  }

  private checkStreams(streams: readonly string[]): void {
    if (streams.length === 0 || streams.length > MAX_STREAMS_PER_MEMBER)
      throw new SluiceError('INVALID_REQUEST', `a member names 1 to ${MAX_STREAMS_PER_MEMBER} streams`)
    for (const name of streams) this.streams.stream(name)
  }
}

function keyOf(group: string, memberId: string): string {
  return `${group}/${memberId}`
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

function decode<T>(bytes: Uint8Array): T {
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as T
}
