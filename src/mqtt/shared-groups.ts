// All shared groups, by their names as subscribed. One with a member whose session is kept is a row of the state store: its members and how far
// it has come, so that what arrives while none of them is connected waits for the first to return, across restarts too. Across a crash
// a shared message is delivered at least once, whatever its QoS: the member it went to and the group are two rows.

import { topicFilterProblem } from '../base/topic-filter.js'
import type { Qos } from '../record/record.js'
import type { StateTable } from '../state/types.js'
import type { PartitionName, Session } from './session.js'
import { SharedGroup, type SharedGroupHost } from './shared-group.js'
import type { StoredDelivery } from './stored-delivery.js'
import type { Subscriber } from './subscriber.js'
import { topicKey } from './topic-key.js'
import type { TopicTree } from './topic-tree.js'

const PREFIX = '$share/'

export interface SharedGroupRow {
  readonly name: string
  readonly members: readonly string[]
  readonly positions: readonly (readonly [PartitionName, number])[]
  readonly from: readonly (readonly [PartitionName, number])[]
}

export interface SharedGroupsOptions {
  readonly table: StateTable<SharedGroupRow>
  readonly tree: TopicTree<Subscriber>
  readonly stored: StoredDelivery
  readonly host: SharedGroupHost
  /** Inclusive. */
  readonly maxGroups: number
}

export function isShared(filter: string): boolean {
  return filter.startsWith(PREFIX)
}

/** The filter inside `$share/GROUP/FILTER`; null if that is malformed. */
export function sharedFilterOf(name: string): string | null {
  const match = /^\$share\/([^/+#]+)\/(.+)$/s.exec(name)
  return match === null || topicFilterProblem(match[2]) !== null ? null : match[2]
}

export class SharedGroups {
  private readonly groups = new Map<string, SharedGroup>()

  /** @param rows What an earlier run of the node has stored. */
  constructor(
    private readonly options: SharedGroupsOptions,
    rows: Iterable<SharedGroupRow>,
  ) {
    for (const row of rows) {
      const group = this.make(row.name)
      for (const member of row.members) group.durableMembers.add(member)
      for (const [name, offset] of row.positions) group.positions.set(name, offset)
      for (const [name, offset] of row.from) group.from.set(name, offset)
      // Of streams and partitions that the configuration had not before.
      for (const [name, end] of this.options.stored.endsFor(group.filter))
        if (!group.positions.has(name)) {
          group.positions.set(name, end)
          group.dirty = true
        }
    }
  }

  get size(): number {
    return this.groups.size
  }

  /** Whether there may be a group of this name, a new one if need be. */
  hasRoomFor(name: string): boolean {
    return this.groups.has(name) || this.groups.size < this.options.maxGroups
  }

  /** The connected session has subscribed, or comes back to what it had subscribed to. In effect when this returns. */
  join(session: Session, name: string, qos: Qos): void {
    let group = this.groups.get(name)
    if (group === undefined) {
      group = this.make(name)
      for (const partition of this.options.stored.partitionsFor(group.filter)) {
        group.positions.set(partition.name, partition.highWatermark)
        group.from.set(partition.name, partition.stream.nextOffset(partition.partition))
      }
    }
    group.add(session, qos)
    if (!session.clean && !group.durableMembers.has(session.clientId)) {
      group.durableMembers.add(session.clientId)
      group.dirty = true
    }
    this.options.tree.add(group.filter, group, group.qos)
    group.run()
  }

  /** The connection of the session is gone. */
  disconnected(session: Session): void {
    const groups = [...session.groups]
    for (const group of groups) this.without(group, session)
    if (session.clean) this.takeBack(session)
    for (const group of groups) this.forgetIfEmpty(group)
  }

  /** The session has unsubscribed from the group. */
  leave(session: Session, name: string): void {
    const group = this.groups.get(name)
    if (group === undefined) return
    this.without(group, session)
    if (group.durableMembers.delete(session.clientId)) {
      group.dirty = true
      if (group.durableMembers.size === 0) this.deleteRow(group)
    }
    this.forgetIfEmpty(group)
  }

  /** A session that was kept is kept no longer. */
  over(session: Session): void {
    this.takeBack(session)
    for (const filter of session.subscriptions.keys()) if (isShared(filter)) this.leave(session, filter)
  }

  /** What a restart would need, as it is now; `write` it when the sessions have been saved, so that nothing is in neither. */
  snapshot(): () => Promise<void> {
    const operations = [...this.groups.values()]
      .filter(({ dirty, durableMembers }) => dirty && durableMembers.size > 0)
      .map((group) => {
        group.dirty = false
        return { put: topicKey(group.name), value: rowOf(group) }
      })
    return async () => {
      if (operations.length > 0) await this.options.table.write(operations)
    }
  }

  stop(): void {
    for (const group of this.groups.values()) group.follower.end()
  }

  private without(group: SharedGroup, session: Session): void {
    const { tree } = this.options
    group.remove(session)
    if (group.isConnected) tree.add(group.filter, group, group.qos)
    else {
      tree.remove(group.filter, group)
      group.follower.pause()
    }
  }

  /** What the session has not acknowledged goes to other members. */
  private takeBack(session: Session): void {
    for (const { place } of session.inflight.values())
      if ('offset' in place && place.group !== undefined) this.groups.get(place.group)?.takeBack(place)
  }

  private forgetIfEmpty(group: SharedGroup): void {
    if (!group.isEmpty) return
    group.follower.end()
    this.groups.delete(group.name)
  }

  private deleteRow(group: SharedGroup): void {
    this.options.table.delete(topicKey(group.name)).catch((error) => this.options.host.groupFailed(group.name, error))
  }

  private make(name: string): SharedGroup {
    const group = new SharedGroup(name, sharedFilterOf(name)!, this.options.host)
    this.groups.set(name, group)
    return group
  }
}

function rowOf(group: SharedGroup): SharedGroupRow {
  return {
    name: group.name,
    members: [...group.durableMembers],
    positions: [...group.positions.keys()].map((name) => [name, group.safePosition(name)] as const),
    from: [...group.from],
  }
}
