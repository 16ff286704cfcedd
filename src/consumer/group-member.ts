// One member of a group: what it said when it joined, its session, and the answers it waits for. Used by Group alone.

import type { Clock } from '../base/clock.js'
import type { SluiceError } from '../base/errors.js'
import type { JoinRequest, JoinResult, MemberDescription, MemberProtocol } from './membership.js'

interface Waiting<T> {
  resolve(value: T): void
  reject(error: SluiceError): void
}

export class GroupMember {
  assignment: Uint8Array = new Uint8Array(0)
  hasSynced = false
  protocols: readonly MemberProtocol[] = []
  rebalanceTimeoutMs = 0
  readonly instanceId: string | undefined
  private clientId = ''
  private sessionTimeoutMs = 0
  private lastSeenMs = 0
  private holds = 0
  private joining: Waiting<JoinResult> | undefined
  private syncing: Waiting<Uint8Array> | undefined
  private cancelTimer: (() => void) | undefined
  private ended = false

  /** @param onLate Called once the session has timed out. */
  constructor(
    public id: string,
    request: JoinRequest,
    private readonly clock: Clock,
    private readonly onLate: (member: GroupMember) => void,
  ) {
    this.instanceId = request.instanceId
    this.update(request)
  }

  update(request: JoinRequest): void {
    this.protocols = request.protocols
    this.clientId = request.clientId
    this.sessionTimeoutMs = request.sessionTimeoutMs
    this.rebalanceTimeoutMs = request.rebalanceTimeoutMs
    this.cancelTimer?.()
    this.cancelTimer = undefined
  }

  get isJoining(): boolean {
    return this.joining !== undefined
  }

  /**
   * While it waits to join, its session rests: the rebalance time-out bounds that wait.
   * @param superseded What an earlier wait of the same member hears: it has asked again.
   */
  awaitJoin(superseded: SluiceError): Promise<JoinResult> {
    return new Promise((resolve, reject) => {
      this.joining?.reject(superseded)
      this.joining = { resolve, reject }
    })
  }

  joined(result: JoinResult): void {
    const { joining } = this
    if (joining === undefined) return
    this.joining = undefined
    this.touch()
    joining.resolve(result)
  }

  awaitSync(superseded: SluiceError): Promise<Uint8Array> {
    this.hasSynced = true
    return new Promise((resolve, reject) => {
      this.syncing?.reject(superseded)
      this.syncing = { resolve, reject }
    })
  }

  synced(): void {
    const { syncing } = this
    if (syncing === undefined) return
    this.syncing = undefined
    this.touch()
    syncing.resolve(this.assignment)
  }

  rejectSync(error: SluiceError): void {
    const { syncing } = this
    if (syncing === undefined) return
    this.syncing = undefined
    this.touch()
    syncing.reject(error)
  }

  rejectWaits(error: SluiceError): void {
    const { joining } = this
    this.joining = undefined
    joining?.reject(error)
    this.rejectSync(error)
  }

  /** The member is out of the group. */
  end(error: SluiceError): void {
    this.ended = true
    this.rejectWaits(error)
    this.cancelTimer?.()
  }

  /** It was heard of just now. The timer runs on and looks at the time when it fires: a heartbeat costs no timer. */
  touch(): void {
    this.lastSeenMs = this.clock.monotonicMs()
    if (this.cancelTimer === undefined) this.arm(this.sessionTimeoutMs)
  }

  hold(): () => void {
    this.holds += 1
    let held = true
    return () => {
      if (!held) return
      held = false
      this.holds -= 1
      this.touch()
    }
  }

  hasSameProtocols(others: readonly MemberProtocol[]): boolean {
    if (others.length !== this.protocols.length) return false
    return this.protocols.every(
      ({ name, metadata }, i) => name === others[i].name && Buffer.compare(metadata, others[i].metadata) === 0,
    )
  }

  metadataOf(protocol: string): Uint8Array | undefined {
    return this.protocols.find(({ name }) => name === protocol)?.metadata
  }

  describe(): MemberDescription {
    const { id, instanceId, clientId, sessionTimeoutMs, assignment } = this
    return { memberId: id, instanceId, clientId, sessionTimeoutMs, assignment }
  }

  private arm(delayMs: number): void {
    this.cancelTimer = this.clock.after(delayMs, () => {
      this.cancelTimer = undefined
      if (this.ended) return
      const silentMs = this.clock.monotonicMs() - this.lastSeenMs
      if (this.isJoining || this.syncing !== undefined || this.holds > 0) this.arm(this.sessionTimeoutMs)
      else if (silentMs < this.sessionTimeoutMs) this.arm(this.sessionTimeoutMs - silentMs)
      else this.onLate(this)
    })
  }
}
