// The connections there are, from the accepted socket to the line in the log that says why it ended: what a gate asks for when CONNECT,
// SUBSCRIBE or the end has come, and what aedes asks for in between. Used by the front.

import { randomUUID } from 'node:crypto'
import { type Duplex, duplexPair } from 'node:stream'
import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import { AedesBack, type AedesBackHost } from './aedes-back.js'
import { ACCESS_REVOKED, type CloseReason, JUDGED_AGAIN, NODE_STOPPING, pastLimit } from './close-reason.js'
import type { ConnectPacket } from './connect-packet.js'
import { Gate } from './gate.js'
import type { GateHost } from './gate-host.js'
import type { IncidentLog } from './incident-log.js'
import type { Accepted } from './listener.js'
import type { LoginRefusal, MqttFrontOptions } from './mqtt-front-options.js'
import type { MqttLimits } from './mqtt-limits.js'
import type { NodeLinks } from './node-links.js'
import { OpenConnections } from './open-connections.js'
import type { Outbox } from './outbox.js'
import type { PublishPath } from './publish-path.js'
import { ReadMemory } from './read-memory.js'
import type { Router } from './router.js'
import type { Session } from './session.js'
import type { SessionRegistry } from './session-registry.js'
import type { FilterPacket } from './subscribe-packet.js'
import type { SubscriptionRequests } from './subscription-requests.js'
import type { Wills } from './wills.js'

/** CONNACK return codes, MQTT 3.1.1 table 3.1. */
const SERVER_UNAVAILABLE = 3
/** Also for a wrong password, as mosquitto has it: 4 is for credentials that are malformed. */
const NOT_AUTHORIZED = 5

/** It could take any name. */
const NAMELESS: LoginRefusal = { reason: 'its certificate names nobody: it has no common name' }

export interface ConnectionsOptions {
  readonly limits: MqttLimits
  readonly clock: Clock
  readonly logger: Logger
  readonly incidents: IncidentLog
  readonly router: Router
  readonly publishPath: PublishPath
  readonly nodes: NodeLinks | null
  readonly sessions: SessionRegistry
  readonly subscriptions: SubscriptionRequests
  readonly wills: Wills
  readonly schedule: (outbox: Outbox) => void
  readonly authenticate: MqttFrontOptions['authenticate']
  /** See MqttFrontOptions. */
  readonly certificateNameIsUser: boolean
  readonly mayPublish: (session: Session, mqttTopic: string) => boolean
}

/** The client's end of a connection within the process. */
export interface TrustedConnection extends Duplex {
  /** Stored messages are still to be sent, or to be acknowledged; false once it has got all there are. */
  hasMore(): boolean
}

export class Connections implements GateHost, AedesBackHost {
  readonly limits: MqttLimits
  readonly clock: Clock
  readonly router: Router
  readonly publishPath: PublishPath
  readonly nodes: NodeLinks | null
  readonly readMemory: ReadMemory
  private readonly gates = new OpenConnections()
  /** Gates whose client is told that its session was there before. */
  private readonly present = new WeakSet<Gate>()
  private readonly trusted = new WeakSet<Gate>()
  private back!: AedesBack
  private stopping = false
  private lastGateClosed: () => void = () => {}

  private constructor(private readonly options: ConnectionsOptions) {
    this.limits = options.limits
    this.clock = options.clock
    this.router = options.router
    this.publishPath = options.publishPath
    this.nodes = options.nodes
    this.readMemory = new ReadMemory(options.limits.maxHeldBytes)
  }

  static async start(options: ConnectionsOptions): Promise<Connections> {
    const connections = new Connections(options)
    connections.back = await AedesBack.start(connections)
    return connections
  }

  /** @returns null when the node is stopping: the stream is destroyed. */
  add({ stream, remoteAddress, certificateName }: Accepted): Gate | null {
    if (this.stopping) {
      stream.destroy()
      return null
    }
    const gate = new Gate(stream, this, remoteAddress, certificateName)
    this.gates.add(gate)
    return gate
  }

  /**
   * A connection for code of this process: it needs no login, and no ACL holds for it.
   * @param maxInflight Messages it may be sent before it acknowledges any, inclusive; left out: as many as other clients.
   * @returns the client's end.
   */
  addTrusted(maxInflight?: number): TrustedConnection {
    const [ours, theirs] = duplexPair()
    // Like the ends of a socket: one that is destroyed takes the other along.
    ours.once('close', () => theirs.destroy())
    theirs.once('close', () => ours.destroy())
    const gate = this.add({ stream: ours, remoteAddress: 'this process' })
    if (gate !== null) {
      this.trusted.add(gate)
      gate.maxInflight = maxInflight ?? null
    }
    return Object.assign(theirs, { hasMore: () => gate?.session?.pump?.hasMore ?? true })
  }

  /** What may be published has changed. @param isRevoked Whose connections are closed, by the name they logged in with. */
  accessChanged(isRevoked: (username: string | undefined) => boolean): void {
    for (const gate of this.gates) {
      gate.forgetPermissions()
      if (gate.connectPacket === null || this.trusted.has(gate)) continue
      if (isRevoked(gate.connectPacket.username)) gate.close(ACCESS_REVOKED)
    }
  }

  /** Clients' certificates may rest on others than before: who has shown one comes again to be judged. */
  authoritiesChanged(): void {
    for (const gate of this.gates) if (gate.certificateName !== undefined) gate.close(JUDGED_AGAIN)
  }

  totals(): ReturnType<OpenConnections['totals']> {
    return this.gates.totals()
  }

  /** Called now and then: time-outs by the monotonic clock. */
  sweep(nowMs: number): void {
    for (const gate of this.gates) gate.sweep(nowMs)
  }

  /** Closes every connection; resolves when the last is gone and the wills that are due have been handed on. */
  async stop(): Promise<void> {
    this.stopping = true
    for (const gate of this.gates) gate.close(NODE_STOPPING)
    if (this.gates.size > 0)
      await new Promise<void>((resolve) => {
        this.lastGateClosed = resolve
      })
    await this.back.stop()
  }

  // ---- what gates ask for

  connect(gate: Gate, connect: ConnectPacket): void {
    this.back.connect(gate, connect.clientId || `sluice-${randomUUID()}`, connect)
  }

  disconnect(gate: Gate): void {
    this.options.wills.drop(gate)
    this.back.disconnect(gate)
  }

  closed(gate: Gate, reason: CloseReason): void {
    this.gates.delete(gate)
    this.back.closed(gate)
    if (gate.session !== null) this.options.sessions.detach(gate.session, gate)
    if (this.gates.size === 0) this.lastGateClosed()
    const dropped = gate.outbox.dropped || undefined
    const fields = { ...whose(gate), reason: reason.text, raise: reason.raise, dropped }
    if (reason.kind === 'fault') this.options.incidents.warn('client cut off', fields)
    else this.options.logger[reason.kind === 'notable' ? 'info' : 'debug']('connection closed', fields)
  }

  dropping(gate: Gate): void {
    this.options.incidents.warn('QoS 0 messages to a client are being dropped', {
      ...whose(gate),
      reason: 'it reads too slowly and its queue is full',
      raise: 'mqtt.max_pending_bytes',
    })
  }

  denied(gate: Gate, mqttTopic: string): void {
    this.options.incidents.warn('QoS 0 messages of a client are not taken', {
      ...whose(gate),
      reason: `not allowed to publish to ${mqttTopic}`,
    })
  }

  subscribe(gate: Gate, packet: FilterPacket): Promise<void> {
    return this.options.subscriptions.subscribe(gate, packet)
  }

  unsubscribe(gate: Gate, packet: FilterPacket): Promise<void> {
    return this.options.subscriptions.unsubscribe(gate, packet)
  }

  acknowledged(gate: Gate, type: number, packetId: number): string | null {
    return gate.session?.pump?.acknowledged(type, packetId) ?? null
  }

  /** Who holds most gives way: a client that is in the middle of a small packet does not pay for one that never ends a large one. */
  relieveReadMemory(): void {
    const { readMemory, gates } = this
    while (readMemory.isOver) {
      let most: Gate | null = null
      for (const gate of gates) if (gate.heldBytes > (most?.heldBytes ?? 0)) most = gate
      if (most === null) return
      most.close(
        pastLimit(
          `${most.heldBytes} bytes of it wait, and all clients together have more than ${readMemory.maxBytes}`,
          'mqtt.max_unfinished_bytes',
        ),
      )
    }
  }

  drained(gate: Gate): void {
    gate.session?.pump?.drained()
  }

  schedule(outbox: Outbox): void {
    this.options.schedule(outbox)
  }

  mayPublish(session: Session, mqttTopic: string): boolean {
    return this.options.mayPublish(session, mqttTopic)
  }

  // ---- what aedes asks for

  async admit(gate: Gate, clientId: string): Promise<number> {
    const { sessions, incidents, certificateNameIsUser } = this.options
    const { username, clean } = gate.connectPacket!
    const { remoteAddress } = gate
    const trusted = this.trusted.has(gate)
    const refusal = trusted ? null : await this.refusalOf(gate, clientId)
    if (refusal !== null) {
      const { reason, passing } = refusal
      if (reason !== null)
        incidents.warn('login refused', { client: clientId, username, address: remoteAddress, reason })
      return passing ? SERVER_UNAVAILABLE : NOT_AUTHORIZED
    }
    const opened = await sessions.open(gate, clientId, clean)
    if (opened === null) {
      incidents.warn('connection refused', {
        client: clientId,
        address: remoteAddress,
        reason: `there are ${this.limits.maxDurableSessions} durable sessions already`,
        raise: 'mqtt.max_sessions',
      })
      return SERVER_UNAVAILABLE
    }
    const { session, present } = opened
    session.username = (certificateNameIsUser && gate.certificateName) || username
    session.trusted = trusted
    gate.session = session
    if (gate.state === 'closed') sessions.detach(session, gate)
    // MQTT 3.1 has no such flag: there the byte is unused.
    if (present && gate.connectPacket!.protocolLevel >= 4) this.present.add(gate)
    return 0
  }

  private async refusalOf(gate: Gate, clientId: string): Promise<LoginRefusal | null> {
    const { authenticate, certificateNameIsUser } = this.options
    if (certificateNameIsUser && gate.certificateName === '') return NAMELESS
    const { username, password } = gate.connectPacket!
    const { remoteAddress } = gate
    const isGone = () => gate.state === 'closed'
    const answer = await authenticate?.({ clientId, username, password, remoteAddress, isGone })
    if (answer === false) return { reason: 'its user name or password is wrong' }
    return answer === true || answer === undefined ? null : answer
  }

  isSessionPresent(gate: Gate): boolean {
    return this.present.has(gate)
  }

  admitted(gate: Gate): void {
    const session = gate.session!
    this.options.sessions.attach(session, gate)
    this.options.subscriptions.resume(gate)
    gate.opened(session)
  }

  keepWill(gate: Gate): Promise<void> {
    return this.options.wills.keep(gate)
  }

  publishWill(gate: Gate): void {
    this.options.wills.publish(gate)
  }
}

/** Which client a line of the log is about. */
export function whose(gate: Gate): { client: string | undefined; address: string } {
  return { client: gate.session?.clientId ?? gate.connectPacket?.clientId, address: gate.remoteAddress }
}
