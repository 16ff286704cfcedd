// Durable sessions in the state store, a row per client. Written before SUBACK, before a QoS 2 message leaves, before its PUBREL, when a
// connection ends, and every so often in between: what a crash then forgets is only which QoS 1 messages were acknowledged last.

import type { Qos } from '../record/record.js'
import type { StateOperation, StateTable } from '../state/types.js'
import { type InflightDelivery, type PartitionName, Session, type Subscription } from './session.js'
import { isShared } from './shared-groups.js'

/** Arrays rather than objects: the names of the fields would be most of the row. */
export interface SessionRow {
  readonly subscriptions: readonly SubscriptionRow[]
  /** Partition name, next offset. */
  readonly positions: readonly (readonly [string, number])[]
  /**
   * Packet identifier, QoS, released, then partition name and offset, then the shared group it came through, if any. Of a retained message:
   * its topic and null, then the check of its payload, then partition name and offset of its record, as far as these are known.
   */
  readonly inflight: readonly InflightRow[]
  /** See Session; absent when there are none. */
  readonly retainedDue?: readonly (readonly [string, Qos])[]
  /** See Session; the QoS 2 handshakes of this generation are facts of the streams. */
  readonly generation: number
}
type InflightRow = readonly [number, 1 | 2, boolean, ...(StoredColumns | RetainedColumns)]
type StoredColumns = readonly [partition: string, offset: number, group?: string]
type RetainedColumns = readonly [mqttTopic: string, none: null, check?: number, partition?: string, offset?: number]
type SubscriptionRow = readonly [
  filter: string,
  qos: Qos,
  from: readonly (readonly [string, number])[],
  before: SubscriptionRow | null,
]

const ADOPTED_TOGETHER = 500

export class SessionStore {
  private count = 0
  /** Asked for and not begun. */
  private readonly saving = new Map<Session, Promise<void>>()
  private readonly unfinished = new Set<Promise<void>>()

  private constructor(private readonly table: StateTable<SessionRow>) {}

  /** @param onFound Called for each session there is. */
  static async open(
    table: StateTable<SessionRow>,
    onFound: (clientId: string, generation: number) => void,
  ): Promise<SessionStore> {
    const store = new SessionStore(table)
    for await (const [clientId, { generation }] of table.entries()) {
      store.count += 1
      onFound(clientId, generation)
    }
    return store
  }

  /**
   * The configuration has streams or partitions that it had not: sessions whose subscriptions match what goes there begin at their ends.
   * @param endsFor The partitions that may hold messages which a filter matches, each with its next offset.
   */
  async adopt(endsFor: (filter: string) => readonly (readonly [PartitionName, number])[]): Promise<void> {
    const operations: StateOperation<SessionRow>[] = []
    for await (const [clientId, row] of this.table.entries()) {
      const positions = new Map(row.positions)
      for (const [filter, qos] of row.subscriptions)
        if (qos > 0 && !isShared(filter))
          for (const [name, end] of endsFor(filter)) if (!positions.has(name)) positions.set(name, end)
      if (positions.size > row.positions.length)
        operations.push({ put: clientId, value: { ...row, positions: [...positions] } })
      if (operations.length >= ADOPTED_TOGETHER) await this.table.write(operations.splice(0))
    }
    if (operations.length > 0) await this.table.write(operations)
  }

  /** Durable sessions, connected or not. */
  get size(): number {
    return this.count
  }

  async load(clientId: string): Promise<Session | undefined> {
    const row = await this.table.get(clientId)
    return row === undefined ? undefined : sessionOf(clientId, row)
  }

  /** Durable when it resolves. */
  async create(session: Session): Promise<void> {
    this.count += 1
    await this.write(session)
  }

  /** The session as it is at the end of this turn of the event loop; one write for all who ask in it. */
  save(session: Session): Promise<void> {
    let saving = this.saving.get(session)
    if (saving === undefined) {
      saving = new Promise((resolve, reject) =>
        setImmediate(() => {
          this.saving.delete(session)
          this.write(session).then(resolve, reject)
        }),
      )
      this.saving.set(session, saving)
      this.unfinished.add(saving)
      const finish = () => this.unfinished.delete(saving!)
      saving.then(finish, finish)
    }
    return saving
  }

  /** Resolves when all that was asked for so far has been written. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.unfinished])
  }

  private async write(session: Session): Promise<void> {
    session.dirty = false
    session.rowsTaken += 1
    const row = session.rowsTaken
    try {
      await this.table.put(session.clientId, rowOf(session))
    } catch (error) {
      session.dirty = true
      throw error
    }
    // Rows become durable in the order in which they were taken.
    session.rowsStored = row
  }

  /** Forgets a durable session. */
  async remove(session: Session): Promise<void> {
    // A save that was asked for would bring it back.
    await this.saving.get(session)?.catch(() => {})
    await this.table.delete(session.clientId)
    this.count -= 1
  }
}

function rowOf(session: Session): SessionRow {
  const positions = session.currentPositions()
  return {
    subscriptions: [...session.subscriptions.values()].map((subscription) => subscriptionRow(subscription, positions)),
    positions: [...positions],
    inflight: [...session.inflight].map(([packetId, { qos, released, place }]) => [
      ...([packetId, qos, released] as const),
      ...placeColumns(place),
    ]),
    generation: session.generation,
    ...(session.retainedDue.size > 0 && { retainedDue: [...session.retainedDue] }),
  }
}

function placeColumns(place: InflightDelivery['place']): StoredColumns | RetainedColumns {
  if (!('retained' in place)) {
    const { partition, offset, group } = place
    return group === undefined ? [partition, offset] : [partition, offset, group]
  }
  const { retained, check, record } = place
  if (check === undefined) return [retained, null]
  return record === undefined ? [retained, null, check] : [retained, null, check, record.partition, record.offset]
}

function placeOf(columns: StoredColumns | RetainedColumns): InflightDelivery['place'] {
  if (columns[1] !== null) {
    const [partition, offset, group] = columns
    return { partition, offset, ...(group !== undefined && { group }) }
  }
  const [retained, , check, partition, offset] = columns
  const record = partition === undefined ? undefined : { partition, offset: offset! }
  return { retained, ...(check !== undefined && { check }), ...(record !== undefined && { record }) }
}

/** Offsets that the session has passed are left out. */
function subscriptionRow(
  { filter, qos, from, before }: Subscription,
  positions: ReadonlyMap<string, number>,
): SubscriptionRow {
  const ahead = [...from].filter(([name, offset]) => offset > (positions.get(name) ?? 0))
  return [filter, qos, ahead, before === null || ahead.length === 0 ? null : subscriptionRow(before, positions)]
}

function sessionOf(clientId: string, row: SessionRow): Session {
  const session = new Session(clientId, false, row.generation)
  for (const subscription of row.subscriptions) session.subscribe(subscriptionOf(subscription))
  for (const [name, offset] of row.positions) session.positions.set(name, offset)
  for (const [filter, qos] of row.retainedDue ?? []) session.retainedDue.set(filter, qos)
  for (const [packetId, qos, released, ...place] of row.inflight)
    session.inflight.set(packetId, { qos, released, place: placeOf(place) })
  return session
}

function subscriptionOf([filter, qos, from, before]: SubscriptionRow): Subscription {
  return { filter, qos, from: new Map(from), before: before === null ? null : subscriptionOf(before) }
}
