// The topic ids of one client (MQTT-SN 1.2, section 6.5): names the client registered and names the gateway gave an id to, in one numbering. Bounded:
// a client that asks for more is refused, what the gateway needs itself takes the place of its own id unused for longest.

/** 0x0000 and 0xffff are reserved. */
const MAX_TOPIC_ID = 0xfffe

interface Entry {
  readonly topicName: string
  readonly byClient: boolean
  /** The client has said that it knows this id, since it last connected. */
  confirmed: boolean
}

/** As stored: id, name, whether the client asked for it. */
export type TopicIdRow = readonly [topicId: number, topicName: string, byClient: boolean]

export class TopicIds {
  /** Least recently assigned first. */
  private readonly entries = new Map<number, Entry>()
  private readonly byName = new Map<string, number>()
  private lastId = 0

  /** @param maxIds Inclusive. */
  constructor(
    private readonly maxIds: number,
    rows: readonly TopicIdRow[] = [],
  ) {
    for (const [topicId, topicName, byClient] of rows) this.set(topicId, { topicName, byClient, confirmed: false })
  }

  get size(): number {
    return this.entries.size
  }

  nameOf(topicId: number): string | undefined {
    return this.entries.get(topicId)?.topicName
  }

  /** The client asks for an id, and knows it with the answer. @returns null when it has too many. */
  register(topicName: string): number | null {
    const known = this.byName.get(topicName)
    if (known === undefined && this.entries.size >= this.maxIds && !this.dropOldest()) return null
    const topicId = known ?? this.freeId()
    this.set(topicId, { topicName, byClient: true, confirmed: true })
    return topicId
  }

  /**
   * An id for a name that the gateway has something of.
   * @returns `isNew` when it has to be stored before the client is told; null when the client's own ids leave no room.
   */
  assign(topicName: string): { readonly topicId: number; readonly isNew: boolean } | null {
    const known = this.byName.get(topicName)
    if (known !== undefined) {
      this.set(known, this.entries.get(known)!)
      return { topicId: known, isNew: false }
    }
    if (this.entries.size >= this.maxIds && !this.dropOldest()) return null
    const topicId = this.freeId()
    this.set(topicId, { topicName, byClient: false, confirmed: false })
    return { topicId, isNew: true }
  }

  isConfirmed(topicId: number): boolean {
    return this.entries.get(topicId)?.confirmed ?? false
  }

  confirm(topicId: number, confirmed = true): void {
    const entry = this.entries.get(topicId)
    if (entry !== undefined) entry.confirmed = confirmed
  }

  /** The client has connected anew: it may have forgotten all of them. */
  doubtAll(): void {
    for (const entry of this.entries.values()) entry.confirmed = false
  }

  clear(): void {
    this.entries.clear()
    this.byName.clear()
  }

  rows(): TopicIdRow[] {
    return [...this.entries].map(([topicId, { topicName, byClient }]) => [topicId, topicName, byClient])
  }

  private set(topicId: number, entry: Entry): void {
    this.entries.delete(topicId)
    this.entries.set(topicId, entry)
    this.byName.set(entry.topicName, topicId)
    this.lastId = Math.max(this.lastId, topicId)
  }

  private dropOldest(): boolean {
    for (const [topicId, { byClient, topicName }] of this.entries) {
      if (byClient) continue
      this.entries.delete(topicId)
      this.byName.delete(topicName)
      return true
    }
    return false
  }

  /** Not soon again one that was dropped: a message under way would reach another topic. */
  private freeId(): number {
    do this.lastId = this.lastId >= MAX_TOPIC_ID ? 1 : this.lastId + 1
    while (this.entries.has(this.lastId))
    return this.lastId
  }
}
