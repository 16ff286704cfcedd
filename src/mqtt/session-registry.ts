// All sessions by client identifier, and who is subscribed to what. One connection at a time has a session: a later CONNECT with the same
// identifier closes the earlier connection [MQTT-3.1.4-2].

import type { Qos } from '../record/record.js'
import type { Gate } from './gate.js'
import { Session } from './session.js'
import { TopicTree } from './topic-tree.js'

export class SessionRegistry {
  readonly tree = new TopicTree<Session>()
  private readonly sessions = new Map<string, Session>()

  get size(): number {
    return this.sessions.size
  }

  /**
   * Gives the gate the session of this client, a new one unless both the old and the new connection want it kept.
   * @returns the session, and whether it was there before.
   */
  async open(gate: Gate, clientId: string, clean: boolean): Promise<{ session: Session; present: boolean }> {
    const known = this.sessions.get(clientId)
    if (known?.gate) {
      const { gate: older } = known
      this.detach(known, older)
      older.close('another connection took the session over')
    }
    const present = known !== undefined && !clean && this.sessions.get(clientId) === known
    if (present) {
      known.gate = gate
      if (known.subscriptions.size > 0) this.tree.version += 1
      return { session: known, present }
    }
    if (known !== undefined) this.drop(known)
    const session = new Session(clientId, clean)
    session.gate = gate
    this.sessions.set(clientId, session)
    return { session, present }
  }

  /** The connection is gone: a session that wants no more than it ends. */
  detach(session: Session, gate: Gate): void {
    if (session.gate !== gate) return
    session.gate = null
    if (session.clean) this.drop(session)
    else if (session.subscriptions.size > 0) this.tree.version += 1
  }

  subscribe(session: Session, filter: string, qos: Qos): void {
    session.subscriptions.set(filter, qos)
    this.tree.add(filter, session, qos)
  }

  unsubscribe(session: Session, filter: string): void {
    if (session.subscriptions.delete(filter)) this.tree.remove(filter, session)
  }

  private drop(session: Session): void {
    for (const filter of session.subscriptions.keys()) this.tree.remove(filter, session)
    session.subscriptions.clear()
    if (this.sessions.get(session.clientId) === session) this.sessions.delete(session.clientId)
  }
}
