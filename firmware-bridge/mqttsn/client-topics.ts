// How one client and the gateway name topics to each other: ids that were registered or assigned, short names, and of the predefined ids those that the
// client has used itself. Created by SnClient.

import type { StoredClient } from './client-store.js'
import type { NamedTopic } from './delivery-queue.js'
import type { PublishMessage } from './messages.js'
import { TopicIds } from './topic-ids.js'

export interface ClientTopicsOwner {
  /** Durable when it resolves: there are other ids than before. */
  save(): Promise<void>
  /** As `save`: no hurry. */
  changed(): void
}

export class ClientTopics {
  private readonly ids: TopicIds
  private readonly predefinedUsed: Set<number>

  /** @param predefined Topic name, without the prefix, by id. */
  constructor(
    private readonly owner: ClientTopicsOwner,
    private readonly predefined: ReadonlyMap<number, string>,
    maxTopicIds: number,
    stored?: Pick<StoredClient, 'topicIds' | 'predefined'>,
  ) {
    this.ids = new TopicIds(maxTopicIds, stored?.topicIds)
    this.predefinedUsed = new Set(stored?.predefined)
  }

  rows(): Pick<StoredClient, 'topicIds' | 'predefined'> {
    return { topicIds: this.ids.rows(), predefined: [...this.predefinedUsed] }
  }

  /** The session has begun anew: nothing is known of before. */
  clear(): void {
    this.ids.clear()
    this.predefinedUsed.clear()
  }

  /** The client has connected anew: it may have forgotten its ids. */
  doubtAll(): void {
    this.ids.doubtAll()
  }

  nameOf({ topicIdType, topicId }: Pick<PublishMessage, 'topicIdType' | 'topicId'>): string | undefined {
    if (topicIdType === 'normal') return this.ids.nameOf(topicId)
    if (topicIdType === 'short') return shortTopicName(topicId)
    return this.predefinedName(topicId)
  }

  /** The id is used towards the client as well, from now on. */
  predefinedName(topicId: number): string | undefined {
    const topicName = this.predefined.get(topicId)
    if (topicName !== undefined && !this.predefinedUsed.has(topicId)) {
      this.predefinedUsed.add(topicId)
      this.owner.changed()
    }
    return topicName
  }

  /** An id for a name that the answer tells. @returns null when there are too many. */
  register(topicName: string): number | null {
    return this.ids.register(topicName)
  }

  /** How the gateway names it to the client. @returns null when the client's own ids leave no room. */
  async topicFor(topicName: string): Promise<NamedTopic | null> {
    const short = Buffer.from(topicName)
    if (short.length === 2) return { topicIdType: 'short', topicId: short.readUInt16BE(0), confirmed: true }
    for (const topicId of this.predefinedUsed)
      if (this.predefined.get(topicId) === topicName) return { topicIdType: 'predefined', topicId, confirmed: true }
    const assigned = this.ids.assign(topicName)
    if (assigned === null) return null
    const { topicId, isNew } = assigned
    // The client may publish to it as soon as it knows it.
    if (isNew) await this.owner.save()
    return { topicIdType: 'normal', topicId, confirmed: this.ids.isConfirmed(topicId) }
  }

  confirm(topicId: number, confirmed: boolean): void {
    this.ids.confirm(topicId, confirmed)
  }
}

function shortTopicName(topicId: number): string | undefined {
  const name = Buffer.of(topicId >> 8, topicId & 0xff).toString()
  return Buffer.byteLength(name) === 2 && !name.includes('\ufffd') ? name : undefined
}
