// One consumer group: the state machine of Kafka's classic protocol (Kafka: GroupMetadata, "Consumer Rebalance Protocol").
//
//   Empty ──join──▶ PreparingRebalance ──all have joined, or time is up──▶ CompletingRebalance ──leader syncs──▶ Stable
//     ▲                 ▲      │                                                │  join, leave, time-out            │
//     └──nobody left────│──────┘                                                ▼                                   │
//                       └───────────────────────────────────────────────────────┴◀──────────────────────────────────┘
//
// Invariants: a generation never goes back; the members of a generation are fixed when it begins; an assignment given out belongs to
// the generation it was made for. Every call is synchronous up to the promise it may return, so no two can interleave.

import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import { fenced, rebalancing, unknownMember } from './group-errors.js'
import { GroupMember } from './group-member.js'
import type { GroupDescription, GroupState, JoinRequest, JoinResult, MemberIdentity } from './membership.js'
import { checkProtocols, electProtocol } from './protocol-vote.js'

const NOTHING = new Uint8Array(0)

export interface GroupOptions {
  /** How long the first members of an empty group wait for more to come. */
  readonly initialRebalanceDelayMs: number
  readonly maxMembers: number
}

export class Group {
  private state: GroupState = 'Empty'
  private generation = 0
  private protocolType: string | undefined
  private protocol: string | undefined
  private leaderId: string | undefined
  private readonly members = new Map<string, GroupMember>()
  private readonly listeners = new Set<() => void>()
  private cancelTimer = () => {}
  /** The first members of an empty group wait for more. */
  private isGathering = false

  constructor(
    readonly id: string,
    private readonly options: GroupOptions,
    private readonly clock: Clock,
    private readonly randomId: () => string,
  ) {}

  get isEmpty(): boolean {
    return this.state === 'Empty'
  }

  get memberCount(): number {
    return this.members.size
  }

  has(memberId: string): boolean {
    return this.members.has(memberId)
  }

  /** See GroupCoordinator.isCurrent. */
  isCurrent({ memberId, generation }: MemberIdentity): boolean {
    return this.members.has(memberId) && generation === this.generation && this.state !== 'PreparingRebalance'
  }

  /** Calls `listener` whenever members may have to act: a rebalance has begun or ended. The returned function ends it. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Resolves once the generation has begun that this member is part of. */
  join(request: JoinRequest): Promise<JoinResult> {
    checkProtocols(this.id, this.protocolType, [...this.members.values()], request)
    const known = this.memberFor(request)
    if (known === undefined) return this.admit(request)
    const changed = !known.hasSameProtocols(request.protocols)
    const replaced = request.memberId === ''
    if (replaced) this.replaceStatic(known, request)
    known.update(request)
    const keeps = this.state === 'Stable' && !changed && (replaced || known.id !== this.leaderId)
    if (keeps || (this.state === 'CompletingRebalance' && !changed && !replaced)) {
      // Its answer was lost, or it came back in time under its static id: the generation stands.
      known.touch()
      return Promise.resolve(this.joinResult(known, this.state !== 'Stable'))
    }
    const joined = known.awaitJoin(rebalancing(this.id, this.generation))
    this.rebalance()
    return joined
  }

  /** The leader brings the assignment of every member; resolves to this member's own once the leader has. */
  sync(identity: MemberIdentity, assignments?: ReadonlyMap<string, Uint8Array>): Promise<Uint8Array> {
    const member = this.memberOf(identity)
    member.touch()
    if (this.state === 'PreparingRebalance') throw rebalancing(this.id, this.generation)
    if (this.state === 'Stable') return Promise.resolve(member.assignment)
    const synced = member.awaitSync(rebalancing(this.id, this.generation))
    if (member.id === this.leaderId) this.assign(assignments ?? new Map())
    return synced
  }

  /** Keeps the member alive. @throws SluiceError REBALANCE_IN_PROGRESS when it has to join again. */
  heartbeat(identity: MemberIdentity): void {
    const member = this.memberOf(identity)
    member.touch()
    if (this.state === 'PreparingRebalance') throw rebalancing(this.id, this.generation)
  }

  /** Keeps the member alive until the returned function is called. */
  hold(memberId: string): () => void {
    return this.members.get(memberId)?.hold() ?? (() => {})
  }

  leave(memberId: string): void {
    const member = this.members.get(memberId)
    if (member === undefined) throw unknownMember(this.id, memberId)
    this.remove(member, 'has left')
  }

  /** @throws SluiceError unless this member may commit now (also while a rebalance waits for it to do so). */
  checkCommit(identity: MemberIdentity): void {
    this.memberOf(identity).touch()
    if (this.state === 'CompletingRebalance') throw rebalancing(this.id, this.generation)
  }

  describe(): GroupDescription {
    const { state, generation, protocolType, protocol } = this
    return { state, generation, protocolType, protocol, members: [...this.members.values()].map((m) => m.describe()) }
  }

  /** Ends every wait with `error`; the group is not used afterwards. */
  close(error: SluiceError): void {
    this.cancelTimer()
    for (const member of this.members.values()) member.end(error)
    this.members.clear()
    this.changed()
  }

  private admit(request: JoinRequest): Promise<JoinResult> {
    const { maxMembers } = this.options
    if (this.members.size >= maxMembers) {
      const message = `group ${this.id} has ${this.members.size} members, the most it may have`
      throw new SluiceError('TOO_MANY_REQUESTS', message, { group: this.id, max_members: maxMembers })
    }
    const id = `${request.clientId}-${this.randomId()}`
    const member = new GroupMember(id, request, this.clock, (late) => this.remove(late, 'was not heard of in time'))
    this.members.set(id, member)
    this.protocolType = request.protocolType
    const joined = member.awaitJoin(rebalancing(this.id, this.generation))
    this.rebalance()
    return joined
  }

  private rebalance(): void {
    if (this.state === 'PreparingRebalance') {
      this.beginIfComplete()
      return
    }
    this.isGathering = this.state === 'Empty' && this.options.initialRebalanceDelayMs > 0
    for (const member of this.members.values()) member.rejectSync(rebalancing(this.id, this.generation))
    this.state = 'PreparingRebalance'
    const delayMs = this.isGathering ? this.options.initialRebalanceDelayMs : this.rebalanceTimeoutMs()
    this.startTimer(delayMs, () => this.begin())
    this.changed()
    this.beginIfComplete()
  }

  private beginIfComplete(): void {
    if (this.isGathering) return
    for (const member of this.members.values()) if (!member.isJoining) return
    this.begin()
  }

  /** The next generation, of those who have joined; a static member that has not keeps its place until its session ends. */
  private begin(): void {
    this.cancelTimer()
    this.isGathering = false
    for (const member of this.members.values()) {
      if (member.isJoining || member.instanceId !== undefined) continue
      this.members.delete(member.id)
      member.end(unknownMember(this.id, member.id))
    }
    this.generation += 1
    if (this.members.size === 0) {
      this.empty()
      return
    }
    if (this.leaderId === undefined || !this.members.get(this.leaderId)?.isJoining)
      this.leaderId = [...this.members.values()].find((member) => member.isJoining)?.id ?? this.leaderId
    this.protocol = electProtocol([...this.members.values()])
    this.state = 'CompletingRebalance'
    this.startTimer(this.rebalanceTimeoutMs(), () => this.removeUnsynced())
    for (const member of this.members.values()) {
      member.assignment = NOTHING
      member.hasSynced = false
      member.joined(this.joinResult(member, true))
    }
    this.changed()
  }

  private assign(assignments: ReadonlyMap<string, Uint8Array>): void {
    this.cancelTimer()
    this.state = 'Stable'
    for (const member of this.members.values()) {
      member.assignment = assignments.get(member.id) ?? NOTHING
      member.synced()
    }
    this.changed()
  }

  private removeUnsynced(): void {
    for (const member of [...this.members.values()])
      if (!member.hasSynced) this.remove(member, 'did not take its assignment in time')
  }

  private remove(member: GroupMember, why: string): void {
    this.members.delete(member.id)
    member.end(new SluiceError('UNKNOWN_MEMBER_ID', `member ${member.id} of group ${this.id} ${why}: join again`, {}))
    if (this.leaderId === member.id) this.leaderId = undefined
    if (this.members.size > 0) {
      this.rebalance()
      return
    }
    this.generation += 1
    this.empty()
  }

  private empty(): void {
    this.cancelTimer()
    this.state = 'Empty'
    this.protocolType = this.protocol = this.leaderId = undefined
    this.changed()
  }

  private memberFor({ memberId, instanceId }: JoinRequest): GroupMember | undefined {
    if (memberId !== '') {
      const member = this.members.get(memberId)
      if (member === undefined) throw this.notAMember(memberId, instanceId)
      return member
    }
    return this.staticMember(instanceId)
  }

  private staticMember(instanceId: string | undefined): GroupMember | undefined {
    if (instanceId === undefined) return undefined
    return [...this.members.values()].find((member) => member.instanceId === instanceId)
  }

  /** The same static member, restarted: the old process is fenced, its place and assignment go to the new one. */
  private replaceStatic(member: GroupMember, request: JoinRequest): void {
    member.rejectWaits(fenced(this.id, request.instanceId ?? ''))
    const wasLeader = this.leaderId === member.id
    this.members.delete(member.id)
    member.id = `${request.clientId}-${this.randomId()}`
    this.members.set(member.id, member)
    if (wasLeader) this.leaderId = member.id
    this.changed()
  }

  private memberOf({ memberId, generation, instanceId }: MemberIdentity): GroupMember {
    const member = this.members.get(memberId)
    if (member === undefined) throw this.notAMember(memberId, instanceId)
    if (generation === this.generation) return member
    throw new SluiceError(
      'ILLEGAL_GENERATION',
      `generation ${generation} of group ${this.id} is over, it is at ${this.generation}: join again`,
      { group: this.id, generation: this.generation },
    )
  }

  private joinResult(member: GroupMember, begins: boolean): JoinResult {
    const protocol = this.protocol ?? ''
    const leads = begins && member.id === this.leaderId
    const members = [...(leads ? this.members.values() : [])].map((each) => ({
      memberId: each.id,
      instanceId: each.instanceId,
      metadata: each.metadataOf(protocol) ?? NOTHING,
    }))
    return { memberId: member.id, generation: this.generation, protocol, leaderId: this.leaderId ?? '', members }
  }

  private rebalanceTimeoutMs(): number {
    return Math.max(0, ...[...this.members.values()].map((member) => member.rebalanceTimeoutMs))
  }

  private startTimer(delayMs: number, callback: () => void): void {
    this.cancelTimer()
    this.cancelTimer = this.clock.after(delayMs, callback)
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener()
  }

  /** A static member whose place another process has is told so: if it joined anew, the two would put each other out for ever. */
  private notAMember(memberId: string, instanceId: string | undefined): SluiceError {
    const isTaken = instanceId !== undefined && this.staticMember(instanceId) !== undefined
    return isTaken ? fenced(this.id, instanceId) : unknownMember(this.id, memberId)
  }
}
