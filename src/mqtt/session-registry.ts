// All sessions by client identifier, and who is subscribed to what. One connection at a time has a session: a later CONNECT with the same
// identifier closes the earlier connection [MQTT-3.1.4-2]. Subscriptions are in the tree only while their session is connected.

import type { Qos } from '../record/record.js'
import { TAKEN_OVER } from './close-reason.js'
import type { Gate } from './gate.js'
import { handshakePrefix, type StoredHandshakes } from './received-messages.js'
import { type RecordPlace, replaced, Session } from './session.js'
import { SessionPump, type SessionPumpHost } from './session-pump.js'
import type { SessionStore } from './session-store.js'
import { isShared, type SharedGroups } from './shared-groups.js'
import type { StoredDelivery } from './stored-delivery.js'
import type { Subscriber } from './subscriber.js'
import type { TopicTree } from './topic-tree.js'

export interface SessionRegistryOptions {
  readonly tree: TopicTree<Subscriber>
  readonly groups: SharedGroups
  readonly store: SessionStore
  readonly handshakes: StoredHandshakes
  readonly stored: StoredDelivery
  readonly pumpHost: SessionPumpHost
  /** Sessions of clients that are not connected, kept in memory; the others are read back from the store. */
  readonly maxOfflineInMemory: number
  /** Durable sessions in all. */
  readonly maxDurable: number
  readonly onSaveError: (error: unknown) => void
}

export class SessionRegistry {
  /** Connected, or lately so; offline ones in the order in which they left. */
  private readonly sessions = new Map<string, Session>()
  private readonly opening = new Map<string, Promise<unknown>>()
  private offline = 0

  constructor(private readonly options: SessionRegistryOptions) {}

  /**
   * Gives the gate the session of this client, a new one unless both the old and the new connection want it kept. What this changes is durable when it resolves.
   * @returns the session and whether it was there before; null when there are too many.
   */
  async open(gate: Gate, clientId: string, clean: boolean): Promise<{ session: Session; present: boolean } | null> {
    // One after the other per client: the last one has it.
    const before = this.opening.get(clientId) ?? Promise.resolve()
    const mine = before.then(() => this.openNow(gate, clientId, clean))
    const settled = mine.catch(() => {})
    this.opening.set(clientId, settled)
    try {
      return await mine
    } finally {
      if (this.opening.get(clientId) === settled) this.opening.delete(clientId)
    }
  }

  /** Where a message lies that the client has not acknowledged yet; null for one that is in no log, or not on its way. */
  placeOf(clientId: string, packetId: number): RecordPlace | null {
    const place = this.sessions.get(clientId)?.inflight.get(packetId)?.place
    return (place !== undefined && 'retained' in place ? place.record : place) ?? null
  }

  /** CONNACK has gone out: messages may follow. */
  attach(session: Session, gate: Gate): void {
    if (session.gate !== gate) return
    session.pump = new SessionPump(session, gate, this.options.pumpHost)
    for (const { filter, qos } of session.subscriptions.values()) {
      if (isShared(filter)) this.options.groups.join(session, filter, qos)
      else this.options.tree.add(filter, session, qos)
    }
    session.pump.run()
  }

  /** The connection is gone: a session that wants no more than it ends. */
  detach(session: Session, gate: Gate): void {
    if (session.gate !== gate) return
    session.gate = null
    session.pump?.end()
    session.pump = null
    this.options.groups.disconnected(session)
    for (const filter of session.subscriptions.keys()) if (!isShared(filter)) this.options.tree.remove(filter, session)
    this.sessions.delete(session.clientId)
    if (session.clean) return
    this.sessions.set(session.clientId, session)
    this.offline += 1
    // Not waited for: what a crash just now forgets is sent once more.
    this.options.store.save(session).catch(this.options.onSaveError)
    this.forgetOldest()
  }

  /** What a SUBSCRIBE asks for, in effect when this returns; `save` it before it is acknowledged. */
  subscribe(session: Session, filter: string, qos: Qos): void {
    const known = session.subscriptions.get(filter)
    if (known?.qos === qos) return
    const from = new Map<string, number>()
    if (isShared(filter)) {
      session.subscribe({ filter, qos, from, before: null })
      this.options.groups.join(session, filter, qos)
      return
    }
    // One of QoS 0 needs no offsets, unless there is something stored to be delivered by what it replaces.
    if (qos > 0 || known !== undefined)
      for (const partition of this.options.stored.partitionsFor(filter)) {
        from.set(partition.name, partition.stream.nextOffset(partition.partition))
        if (!session.positions.has(partition.name)) session.positions.set(partition.name, partition.highWatermark)
      }
    const before = known === undefined ? null : replaced(known, session.currentPositions())
    session.subscribe({ filter, qos, from, before })
    this.options.tree.add(filter, session, qos)
    session.pump?.run()
  }

  unsubscribe(session: Session, filters: readonly string[]): void {
    for (const filter of filters) {
      if (!session.subscriptions.has(filter)) continue
      session.unsubscribe(filter)
      if (isShared(filter)) this.options.groups.leave(session, filter)
      else this.options.tree.remove(filter, session)
    }
    const needed = new Set<string>()
    for (const { filter, qos, before } of session.subscriptions.values())
      if ((qos > 0 || before !== null) && !isShared(filter))
        for (const { name } of this.options.stored.partitionsFor(filter)) needed.add(name)
    for (const name of [...session.positions.keys()]) if (!needed.has(name)) session.follower?.leave(name)
  }

  /** Who may receive what has changed. */
  accessChanged(): void {
    this.options.tree.version += 1
  }

  /** Durable when it resolves; at once for a clean session. */
  async save(session: Session): Promise<void> {
    if (session.clean) return
    const writeGroups = this.options.groups.snapshot()
    await this.options.store.save(session)
    await writeGroups()
  }

  /** Writes down how far the connected durable sessions have come. */
  async checkpoint(): Promise<void> {
    const writeGroups = this.options.groups.snapshot()
    const changed = [...this.sessions.values()].filter((session) => session.dirty && !session.clean)
    await Promise.all(changed.map((session) => this.options.store.save(session)))
    await this.options.store.settled()
    await writeGroups()
  }

  private async openNow(
    gate: Gate,
    clientId: string,
    clean: boolean,
  ): Promise<{ session: Session; present: boolean } | null> {
    const { store } = this.options
    let known = this.sessions.get(clientId)
    if (known?.gate) {
      const { gate: older } = known
      this.detach(known, older)
      older.close(TAKEN_OVER)
    }
    known = this.sessions.get(clientId) ?? (await this.load(clientId))
    if (known !== undefined && !clean) {
      if (this.sessions.get(clientId) === known) this.offline -= 1
      this.own(known, gate)
      return { session: known, present: true }
    }
    if (known !== undefined) {
      if (this.sessions.delete(clientId)) this.offline -= 1
      known.received.forget()
      this.options.groups.over(known)
      await store.remove(known)
    }
    if (!clean && store.size >= this.options.maxDurable) return null
    const session = new Session(clientId, clean)
    this.own(session, gate)
    if (!clean) await store.create(session)
    return { session, present: false }
  }

  private async load(clientId: string): Promise<Session | undefined> {
    const session = await this.options.store.load(clientId)
    session?.received.restore(this.options.handshakes.claim(handshakePrefix(clientId, session.generation)))
    return session
  }

  private own(session: Session, gate: Gate): void {
    session.gate = gate
    this.sessions.delete(session.clientId)
    this.sessions.set(session.clientId, session)
  }

  private forgetOldest(): void {
    if (this.offline <= this.options.maxOfflineInMemory) return
    for (const session of this.sessions.values()) {
      if (session.gate !== null || this.opening.has(session.clientId)) continue
      const handshakes = session.received.stored()
      if (handshakes === null) continue
      this.options.handshakes.put(handshakePrefix(session.clientId, session.generation), handshakes)
      this.sessions.delete(session.clientId)
      this.offline -= 1
      return
    }
  }
}
