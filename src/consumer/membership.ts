// The words of group membership, as in Kafka's classic protocol: what a member says when it joins and what it hears. Metadata and
// assignments are bytes that the coordinator passes on unread, so that any client protocol fits over it.

export interface MemberProtocol {
  /** Name of an assignment strategy that the member can follow, such as `range`. */
  readonly name: string
  readonly metadata: Uint8Array
}

export interface JoinRequest {
  readonly group: string
  /** Empty for a member that has no id yet. */
  readonly memberId: string
  /** Static membership (KIP-345): the member keeps its place over restarts within its session time-out. */
  readonly instanceId?: string
  /** What the member calls itself; the first part of its id. */
  readonly clientId: string
  readonly sessionTimeoutMs: number
  /** How long a rebalance waits for this member to join again. */
  readonly rebalanceTimeoutMs: number
  /** All members of a group speak one: `consumer` over Kafka's wire, `sluice` over HTTP. */
  readonly protocolType: string
  /** In order of preference, at least one. */
  readonly protocols: readonly MemberProtocol[]
}

export interface JoinResult {
  readonly memberId: string
  readonly generation: number
  readonly protocol: string
  readonly leaderId: string
  /** For the leader of a new generation, who assigns; empty for everyone else, and when the old assignment stands. */
  readonly members: readonly {
    readonly memberId: string
    readonly instanceId: string | undefined
    readonly metadata: Uint8Array
  }[]
}

/** Who commits, or asks to go on: refused when it is not of the current generation. */
export interface MemberIdentity {
  readonly memberId: string
  readonly generation: number
  readonly instanceId?: string
}

/** As in Kafka. A group without members is Empty; one that was never heard of has no state. */
export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable'

export interface MemberDescription {
  readonly memberId: string
  readonly instanceId: string | undefined
  readonly clientId: string
  readonly sessionTimeoutMs: number
  readonly assignment: Uint8Array
}

export interface GroupDescription {
  readonly state: GroupState
  readonly generation: number
  readonly protocolType: string | undefined
  readonly protocol: string | undefined
  readonly members: readonly MemberDescription[]
}
