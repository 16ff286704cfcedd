// The one coordinator of all consumer groups of a node (D10): members, generations and committed offsets, with the semantics of
// Kafka's classic groups. It speaks no protocol: pull-groups.ts puts HTTP's members over it, a wire protocol can be put beside that.
//
// Members live in memory and join again after a restart (their ids are never given out twice, so an old one is always refused);
// offsets are in state/, durable before a commit resolves.

import { randomUUID } from 'node:crypto'
import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { StreamCatalog } from '../log/types.js'
import { toPartitionId } from '../record/record.js'
import {
  type GroupOffset,
  type GroupOffsets,
  MAX_OFFSET_METADATA_LENGTH,
  type OffsetCommit,
} from '../state/group-offsets.js'
import { Group, type GroupOptions } from './group.js'
import { unknownMember } from './group-errors.js'
import type { GroupDescription, JoinRequest, JoinResult, MemberIdentity } from './membership.js'

export interface CoordinatorOptions extends GroupOptions {
  /** Groups with members or offsets, inclusive. */
  readonly maxGroups: number
  readonly minSessionTimeoutMs: number
  readonly maxSessionTimeoutMs: number
  readonly maxRebalanceTimeoutMs: number
}

export const DEFAULT_COORDINATOR_OPTIONS: CoordinatorOptions = {
  initialRebalanceDelayMs: 0,
  maxMembers: 256,
  maxGroups: 1_000,
  minSessionTimeoutMs: 1_000,
  maxSessionTimeoutMs: 30 * 60_000,
  maxRebalanceTimeoutMs: 30 * 60_000,
}

/** What it needs of state/group-offsets.ts. */
export type OffsetStore = Pick<GroupOffsets, 'get' | 'commit' | 'ofGroup' | 'groups' | 'remove'>

export interface CoordinatorDependencies {
  readonly streams: StreamCatalog
  readonly offsets: OffsetStore
  readonly clock: Clock
  /** Unique for ever: fencing rests on it. */
  readonly randomId?: () => string
  readonly options?: Partial<CoordinatorOptions>
}

export class GroupCoordinator {
  private readonly groups = new Map<string, Group>()
  /** By group: settles with all commits of it that are on their way. */
  private readonly committing = new Map<string, Promise<unknown>>()
  private readonly options: CoordinatorOptions
  private readonly randomId: () => string
  private stopped = false

  constructor(private readonly dependencies: CoordinatorDependencies) {
    this.options = { ...DEFAULT_COORDINATOR_OPTIONS, ...dependencies.options }
    this.randomId = dependencies.randomId ?? randomUUID
  }

  /** @throws SluiceError UNKNOWN_MEMBER_ID, INCONSISTENT_GROUP_PROTOCOL, FENCED_INSTANCE_ID, TOO_MANY_REQUESTS, INVALID_REQUEST. */
  async join(request: JoinRequest): Promise<JoinResult> {
    const { minSessionTimeoutMs, maxSessionTimeoutMs, maxRebalanceTimeoutMs } = this.options
    checkRange('session_timeout_ms', request.sessionTimeoutMs, minSessionTimeoutMs, maxSessionTimeoutMs)
    checkRange('rebalance_timeout_ms', request.rebalanceTimeoutMs, 0, maxRebalanceTimeoutMs)
    const known = this.groups.get(request.group)
    if (known === undefined && request.memberId !== '') throw unknownMember(request.group, request.memberId)
    return (known ?? this.create(request.group)).join(request)
  }

  async sync(
    group: string,
    identity: MemberIdentity,
    assignments?: ReadonlyMap<string, Uint8Array>,
  ): Promise<Uint8Array> {
    return this.groupOf(group, identity.memberId).sync(identity, assignments)
  }

  heartbeat(group: string, identity: MemberIdentity): void {
    this.groupOf(group, identity.memberId).heartbeat(identity)
  }

  leave(group: string, memberId: string): void {
    this.groupOf(group, memberId).leave(memberId)
  }

  leaveIfMember(group: string, memberId: string): void {
    if (this.isMember(group, memberId)) this.leave(group, memberId)
  }

  isMember(group: string, memberId: string): boolean {
    return this.groups.get(group)?.has(memberId) === true
  }

  /** Whether the member may go on as it is; false when its next call will tell it otherwise. Not a sign of life. */
  isCurrent(group: string, identity: MemberIdentity): boolean {
    return this.groups.get(group)?.isCurrent(identity) === true
  }

  /** Keeps a member alive, for as long as a request of its own waits here. */
  hold(group: string, memberId: string): () => void {
    return this.groups.get(group)?.hold(memberId) ?? (() => {})
  }

  /** See Group.onChange. */
  onChange(group: string, listener: () => void): () => void {
    return this.groups.get(group)?.onChange(listener) ?? (() => {})
  }

  /**
   * All or nothing; resolves once durable. Without `identity` it is for tools, and only while the group has no members.
   * @throws SluiceError UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, FENCED_INSTANCE_ID, OFFSET_OUT_OF_RANGE,
   * UNKNOWN_STREAM_OR_PARTITION, INVALID_REQUEST.
   */
  async commit(group: string, commits: readonly OffsetCommit[], identity?: MemberIdentity): Promise<void> {
    this.checkRunning()
    for (const commit of commits) this.checkOffset(commit)
    if (identity !== undefined) this.groupOf(group, identity.memberId).checkCommit(identity)
    else this.checkUnattended(group)
    const written = this.dependencies.offsets.commit(group, commits)
    const settled = Promise.allSettled([this.commitsSettled(group), written])
    this.committing.set(group, settled)
    settled.then(() => this.committing.get(group) === settled && this.committing.delete(group))
    await written
  }

  /**
   * Resolves once the commits that are on their way to the disk have got there, or failed. A member of a new generation reads its positions after
   * that: nobody of an earlier one may commit any more, but what was taken just before may still be on its way.
   */
  async commitsSettled(group: string): Promise<void> {
    await this.committing.get(group)
  }

  /** @throws SluiceError GROUP_ID_NOT_FOUND for a group that has neither members nor offsets. */
  describe(group: string): GroupDescription & { readonly offsets: readonly GroupOffset[] } {
    const offsets = this.dependencies.offsets.ofGroup(group)
    const live = this.groups.get(group)
    if (offsets.length === 0 && (live === undefined || live.isEmpty))
      throw new SluiceError('GROUP_ID_NOT_FOUND', `no group ${group}: "sluice groups" lists those there are`, { group })
    return { ...(live?.describe() ?? NO_MEMBERS), offsets }
  }

  /** Forgets a group and its offsets; durable when it resolves. @throws SluiceError GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP. */
  async remove(group: string): Promise<void> {
    this.checkRunning()
    const { members } = this.describe(group)
    if (members.length > 0)
      throw new SluiceError('NON_EMPTY_GROUP', `group ${group} has ${members.length} members: stop them first`, {
        group,
        members: members.length,
      })
    await this.dependencies.offsets.remove(group)
    const live = this.groups.get(group)
    if (live?.isEmpty) this.groups.delete(group)
  }

  list(): string[] {
    const live = [...this.groups.values()].filter((group) => !group.isEmpty).map(({ id }) => id)
    return [...new Set([...live, ...this.dependencies.offsets.groups()])].sort()
  }

  /** Groups that have committed something. */
  withOffsets(): readonly string[] {
    return this.dependencies.offsets.groups()
  }

  /** Ends every wait with SHUTTING_DOWN. Commits already on their way finish. */
  stop(): void {
    this.stopped = true
    for (const group of this.groups.values()) group.close(shuttingDown())
    this.groups.clear()
  }

  private create(id: string): Group {
    this.checkRunning()
    this.makeRoom(id)
    const group = new Group(id, this.options, this.dependencies.clock, this.randomId)
    this.groups.set(id, group)
    return group
  }

  /** An empty group is kept for its generation's sake only: the oldest gives way. */
  private makeRoom(id: string): void {
    const { maxGroups } = this.options
    const { offsets } = this.dependencies
    for (const group of this.groups.values()) {
      if (this.groups.size < maxGroups) break
      if (group.isEmpty) this.groups.delete(group.id)
    }
    const stored = offsets.groups()
    if (this.groups.size < maxGroups && (stored.length < maxGroups || stored.includes(id))) return
    throw new SluiceError('TOO_MANY_REQUESTS', `this node has ${maxGroups} groups, the most it may have`, {
      max_groups: maxGroups,
    })
  }

  private checkOffset({ stream: name, partition, offset, metadata = '' }: OffsetCommit): void {
    const stream = this.dependencies.streams.stream(name)
    if (partition >= stream.partitions)
      throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `stream ${name} has no partition ${partition}`, {
        stream: name,
        partition,
        partitions: stream.partitions,
      })
    if (metadata.length > MAX_OFFSET_METADATA_LENGTH)
      throw new SluiceError('INVALID_REQUEST', `metadata is longer than ${MAX_OFFSET_METADATA_LENGTH} characters`)
    const highWatermark = stream.highWatermark(toPartitionId(partition))
    if (offset > highWatermark)
      throw new SluiceError(
        'OFFSET_OUT_OF_RANGE',
        `cannot commit ${offset} in ${name}/${partition}: its records end at ${highWatermark}`,
        {
          stream: name,
          partition,
          offset,
          log_start_offset: stream.logStartOffset(toPartitionId(partition)),
          high_watermark: highWatermark,
        },
      )
  }

  private checkUnattended(id: string): void {
    const group = this.groups.get(id)
    if (group === undefined && !this.dependencies.offsets.groups().includes(id)) this.makeRoom(id)
    if (group === undefined || group.isEmpty) return
    throw new SluiceError(
      'UNKNOWN_MEMBER_ID',
      `group ${id} has ${group.memberCount} members, and only they may move its offsets: stop them first`,
      { group: id, members: group.memberCount },
    )
  }

  private groupOf(id: string, memberId: string): Group {
    this.checkRunning()
    const group = this.groups.get(id)
    if (group === undefined) throw unknownMember(id, memberId)
    return group
  }

  private checkRunning(): void {
    if (this.stopped) throw shuttingDown()
  }
}

const NO_MEMBERS: GroupDescription = {
  state: 'Empty',
  generation: 0,
  protocolType: undefined,
  protocol: undefined,
  members: [],
}

function shuttingDown(): SluiceError {
  return new SluiceError('SHUTTING_DOWN', 'this node is shutting down: try again once it is back')
}

function checkRange(name: string, value: number, minimum: number, maximum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return
  throw new SluiceError('INVALID_REQUEST', `${name} is ${value}: use ${minimum} to ${maximum} milliseconds`, {
    [name]: value,
    minimum,
    maximum,
  })
}
