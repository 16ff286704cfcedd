// The MQTT side of a node, put together: listeners, gates, the publish path, sessions, and aedes behind them. Started and stopped by
// node.ts; `publish` is the way in for whatever else brings messages (HTTP, downlinks, the firmware bridge).

import { randomUUID } from 'node:crypto'
import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Commit } from '../log/types.js'
import type { Offset } from '../record/record.js'
import type { AccessKind } from './acl-file.js'
import { AedesBack, type AedesBackHost } from './aedes-back.js'
import { ACCESS_REVOKED, type CloseReason, NODE_STOPPING } from './close-reason.js'
import type { ConnectPacket } from './connect-packet.js'
import { Door } from './door.js'
import { FanOut } from './fan-out.js'
import { Gate, type GateHost } from './gate.js'
import { IncidentLog } from './incident-log.js'
import { type Accepted, type Listener, listen } from './listener.js'
import type { MqttFrontOptions, MqttStats, PublishMessage } from './mqtt-front-options.js'
import { DEFAULT_MQTT_LIMITS, type MqttLimits } from './mqtt-limits.js'
import type { NodeLinks } from './node-links.js'
import type { NumberedBy, NumberedPublish } from './numbered-publishes.js'
import { OpenConnections } from './open-connections.js'
import type { Outbox } from './outbox.js'
import { ProgramPublishes } from './program-publishes.js'
import { PublishPath } from './publish-path.js'
import { handshakePrefix, StoredHandshakes } from './received-messages.js'
import { RetainedMessages, type RetainedValue } from './retained-messages.js'
import { Router } from './router.js'
import type { Session } from './session.js'
import type { SessionPumpHost } from './session-pump.js'
import { SessionRegistry } from './session-registry.js'
import { SessionStore } from './session-store.js'
import { type SharedGroupRow, SharedGroups } from './shared-groups.js'
import { StoredDelivery } from './stored-delivery.js'
import type { StoredPartition } from './stored-partition.js'
import type { FilterPacket } from './subscribe-packet.js'
import type { Subscriber } from './subscriber.js'
import { SubscriptionRequests } from './subscription-requests.js'
import { SysTopics } from './sys-topics.js'
import { TopicTree } from './topic-tree.js'
import { Wills } from './wills.js'

const SWEEP_INTERVAL_MS = 500
const CHECKPOINT_INTERVAL_MS = 5000
/** CONNACK return codes, MQTT 3.1.1 table 3.1. */
const SERVER_UNAVAILABLE = 3
const BAD_CREDENTIALS = 4
const NOT_AUTHORIZED = 5
/** A message of a WebSocket may hold several packets. */
const MIN_WEBSOCKET_MESSAGE_BYTES = 1024 * 1024
const SHARED_TABLE = 'mqtt-shared'

export class MqttFront implements GateHost, SessionPumpHost, AedesBackHost {
  readonly limits: MqttLimits
  readonly clock: Clock
  readonly router: Router
  readonly publishPath: PublishPath
  readonly fanOut: FanOut
  readonly logger: Logger
  readonly nodes: NodeLinks | null
  readonly maxInflight: number
  private readonly stored: StoredDelivery
  private readonly programs: ProgramPublishes
  private readonly sessions: SessionRegistry
  private readonly groups: SharedGroups
  private readonly sys: SysTopics
  private readonly subscriptions: SubscriptionRequests
  private readonly wills: Wills
  private readonly incidents: IncidentLog
  private readonly gates = new OpenConnections()
  private readonly door: Door
  private readonly present = new WeakSet<Gate>()
  private listeners: Listener[] = []
  private back!: AedesBack
  private stopSweep: () => void = () => {}
  private lastGateClosed: () => void = () => {}
  private checkpointMs = 0
  private stopping = false

  private constructor(
    private readonly options: MqttFrontOptions,
    readonly retained: RetainedMessages,
    private readonly store: SessionStore,
    handshakePrefixes: ReadonlySet<string>,
    sharedGroups: readonly SharedGroupRow[],
    limits: MqttLimits,
  ) {
    this.limits = limits
    this.clock = options.clock
    this.logger = options.logger
    this.incidents = new IncidentLog(options.logger, options.clock)
    this.door = new Door(limits, options.clock, this.incidents)
    this.nodes = options.nodes ?? null
    this.router = new Router(options.catalog, options.routes, limits.cachedTopics)
    const tree = new TopicTree<Subscriber>()
    this.fanOut = new FanOut(tree, (session, topic) => this.mayReceive(session, topic))
    this.stored = new StoredDelivery(this.router, this.fanOut, (error) =>
      this.logger.error('the end of a stream could not be read for subscribers', { error }),
    )
    this.publishPath = new PublishPath(this.fanOut, retained, this.stored)
    this.programs = new ProgramPublishes(this.router, this.publishPath, retained, options.clock)
    this.maxInflight = limits.maxInflightPerClient
    this.groups = new SharedGroups(
      {
        table: options.state.table(SHARED_TABLE),
        tree,
        stored: this.stored,
        host: this,
        maxGroups: limits.maxSharedGroups,
      },
      sharedGroups,
    )
    this.sessions = new SessionRegistry({
      tree,
      groups: this.groups,
      store,
      handshakes: new StoredHandshakes(this.router.streams, (prefix) => handshakePrefixes.has(prefix)),
      stored: this.stored,
      pumpHost: this,
      maxOfflineInMemory: limits.maxOfflineSessionsInMemory,
      maxDurable: limits.maxDurableSessions,
      onSaveError: (error) => this.logger.error('session state could not be stored', { error }),
    })
    this.sys = new SysTopics({
      stats: () => this.stats(),
      deliver: (mqttTopic, payload) => this.deliverUnstored(mqttTopic, payload),
      version: options.version ?? 'sluice',
      clock: options.clock,
    })
    this.subscriptions = new SubscriptionRequests({
      sys: this.sys,
      sessions: this.sessions,
      groups: this.groups,
      retained,
      maxSubscriptions: limits.maxSubscriptionsPerClient,
      maySubscribe: (session, filter) => this.may(session, 'subscribe', filter),
      mayReceive: (session, topic) => this.mayReceive(session, topic),
    })
    this.wills = new Wills({
      table: options.state.table('mqtt-wills'),
      publish: (message) => this.publish(message),
      mayPublish: (session, topic) => this.mayPublish(session, topic),
      clock: options.clock,
      logger: options.logger,
    })
  }

  /** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG, UNKNOWN_STREAM_OR_PARTITION. */
  static async start(options: MqttFrontOptions): Promise<MqttFront> {
    const limits = { ...DEFAULT_MQTT_LIMITS, ...options.limits }
    const table = options.state.table<RetainedValue>('mqtt-retained')
    const retained = await RetainedMessages.open(table, limits.maxRetainedMessages, options.logger)
    const prefixes = new Set<string>()
    const store = await SessionStore.open(options.state.table('mqtt-sessions'), (clientId, generation) =>
      prefixes.add(handshakePrefix(clientId, generation)),
    )
    const shared: SharedGroupRow[] = []
    for await (const [, row] of options.state.table<SharedGroupRow>(SHARED_TABLE).entries()) shared.push(row)
    const front = new MqttFront(options, retained, store, prefixes, shared, limits)
    front.back = await AedesBack.start(front)
    await front.wills.publishLeftOver()
    try {
      for (const address of options.listen) {
        const listener = await listen(address, {
          door: front.door,
          accept: (accepted) => front.accept(accepted),
          tls: options.tls,
          allowedOrigins: options.allowedOrigins ?? [],
          maxMessageBytes: Math.max(MIN_WEBSOCKET_MESSAGE_BYTES, 2 * limits.maxPacketBytes),
        })
        front.listeners.push(listener)
        options.logger.info('listening', { address: listener.address })
      }
    } catch (error) {
      await front.stop()
      throw error
    }
    front.sweepLater()
    return front
  }

  /** As bound, in the order of `listen`. */
  get addresses(): readonly string[] {
    return this.listeners.map(({ address }) => address)
  }

  /**
   * Publishes a message as if a client had: stored, delivered, retained.
   * @returns what holds it; already durable where nothing is stored (QoS 0 that no stream takes).
   * @throws SluiceError INVALID_TOPIC; RECORD_TOO_LARGE; TOO_MANY_REQUESTS while the stream has too much waiting; STORAGE_FULL,
   * STORAGE_READ_ONLY, SHUTTING_DOWN.
   */
  publish(message: PublishMessage): Commit {
    return this.programs.publish(message)
  }

  /**
   * As publish, for a message its producer has numbered: one that is sent again is neither stored nor delivered again.
   * @throws RangeError for numbers out of range, and for a message that nothing would store (QoS 0 that no stream takes).
   */
  publishNumbered(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.programs.publishNumbered(message, by)
  }

  /**
   * What `authorize` and `authenticate` answer has changed: nothing remembered of it is used any more.
   * @param isRevoked Whose connections are closed, by the name they logged in with.
   */
  accessChanged(isRevoked: (username: string | undefined) => boolean = () => false): void {
    this.sessions.accessChanged()
    for (const gate of this.gates) {
      gate.forgetPermissions()
      if (gate.connectPacket !== null && isRevoked(gate.connectPacket.username)) gate.close(ACCESS_REVOKED)
    }
  }

  /** Reads the certificates of the listeners again; where one is not good, the one before stays and the log says why. */
  async reloadCertificates(): Promise<void> {
    for (const { address, reloadCertificate } of this.listeners)
      await reloadCertificate?.().then(
        () => this.logger.info('certificate read again', { address }),
        (error) => this.logger.error('certificate not renewed', { address, error: messageOf(error) }),
      )
  }

  stats(): MqttStats {
    const { connectedDurable, ...ofConnections } = this.gates.totals()
    return {
      ...ofConnections,
      durableSessions: this.store.size,
      offlineSessions: Math.max(0, this.store.size - connectedDurable),
      sharedGroups: this.groups.size,
      retainedMessages: this.retained.size,
      receivedMessages: this.publishPath.messages,
      receivedPayloadBytes: this.publishPath.payloadBytes,
      unroutedMessages: this.publishPath.unrouted,
      refusedMessages: this.publishPath.refused,
      deliveredMessages: this.fanOut.delivered,
      refusedConnections: this.door.refused,
    }
  }

  /** Stops listening, closes every connection, publishes the wills that are due. The log must still be open. */
  async stop(): Promise<void> {
    if (this.stopping) return
    this.stopping = true
    this.stopSweep()
    this.sys.stop()
    const closing = this.listeners.map((listener) => listener.close())
    this.door.close()
    for (const gate of this.gates) gate.close(NODE_STOPPING)
    if (this.gates.size > 0)
      await new Promise<void>((resolve) => {
        this.lastGateClosed = resolve
      })
    await this.back.stop()
    await Promise.all(closing)
    this.stored.stop()
    await this.wills.stop()
    this.groups.stop()
    await this.sessions.checkpoint()
    this.tellDropped()
    this.incidents.stop()
  }

  // ---- what gates ask for

  connect(gate: Gate, connect: ConnectPacket, packet: Buffer): void {
    this.back.connect(gate, connect.clientId || `sluice-${randomUUID()}`, packet)
  }

  disconnect(gate: Gate): void {
    this.wills.drop(gate)
    this.back.disconnect(gate)
  }

  closed(gate: Gate, reason: CloseReason): void {
    this.gates.delete(gate)
    this.back.closed(gate)
    if (gate.session !== null) this.sessions.detach(gate.session, gate)
    if (this.gates.size === 0) this.lastGateClosed()
    const dropped = gate.outbox.dropped || undefined
    const fields = { ...whose(gate), reason: reason.text, raise: reason.raise, dropped }
    if (reason.kind === 'fault') this.incidents.warn('client cut off', fields)
    else this.logger[reason.kind === 'notable' ? 'info' : 'debug']('connection closed', fields)
  }

  dropping(gate: Gate): void {
    const raise = 'mqtt.max_pending_bytes'
    this.incidents.warn('QoS 0 messages to a client are being dropped', {
      ...whose(gate),
      reason: 'it reads too slowly and its queue is full',
      raise,
    })
  }

  subscribe(gate: Gate, packet: FilterPacket): Promise<void> {
    return this.subscriptions.subscribe(gate, packet)
  }

  unsubscribe(gate: Gate, packet: FilterPacket): Promise<void> {
    return this.subscriptions.unsubscribe(gate, packet)
  }

  acknowledged(gate: Gate, type: number, packetId: number): void {
    gate.session?.pump?.acknowledged(type, packetId)
  }

  drained(gate: Gate): void {
    gate.session?.pump?.drained()
  }

  mayPublish(session: Session, mqttTopic: string): boolean {
    return this.may(session, 'publish', mqttTopic)
  }

  mayReceive(session: Session, mqttTopic: string): boolean {
    return this.may(session, 'receive', mqttTopic)
  }

  partition(name: string): StoredPartition | undefined {
    return this.stored.partition(name)
  }

  save(session: Session): Promise<void> {
    return this.sessions.save(session)
  }

  groupFailed(group: string, error: unknown): void {
    this.logger.error('delivery to a shared group failed', { group, error })
  }

  overtaken(destination: string, partition: StoredPartition, from: number, to: number): void {
    const fields = { session: destination, stream: partition.stream.name, from, to: to - 1 }
    this.logger.warn('retention has removed messages that a session had not been sent', fields)
    this.options.onOvertaken?.(
      destination,
      partition.stream.name,
      partition.partition,
      from as Offset,
      (to - 1) as Offset,
    )
  }

  schedule(outbox: Outbox): void {
    this.fanOut.schedule(outbox)
  }

  // ---- what aedes asks for

  async admit(gate: Gate, clientId: string): Promise<number> {
    const { username, password, clean } = gate.connectPacket!
    const { authenticate } = this.options
    if (
      authenticate !== undefined &&
      !(await authenticate({ clientId, username, password, remoteAddress: gate.remoteAddress }))
    ) {
      this.incidents.warn('login refused', { client: clientId, username, address: gate.remoteAddress })
      return username === undefined ? NOT_AUTHORIZED : BAD_CREDENTIALS
    }
    const opened = await this.sessions.open(gate, clientId, clean)
    if (opened === null) {
      this.incidents.warn('connection refused', {
        client: clientId,
        address: gate.remoteAddress,
        reason: `there are ${this.limits.maxDurableSessions} durable sessions already`,
        raise: 'mqtt.max_sessions',
      })
      return SERVER_UNAVAILABLE
    }
    const { session, present } = opened
    session.username = (this.options.certificateNameIsUser && gate.certificateName) || username
    gate.session = session
    if (gate.state === 'closed') this.sessions.detach(session, gate)
    if (present) this.present.add(gate)
    return 0
  }

  isSessionPresent(gate: Gate): boolean {
    return this.present.has(gate)
  }

  admitted(gate: Gate): void {
    const session = gate.session!
    this.sessions.attach(session, gate)
    this.subscriptions.resume(gate)
    gate.opened(session)
  }

  keepWill(gate: Gate): Promise<void> {
    return this.wills.keep(gate)
  }

  publishWill(gate: Gate): void {
    this.wills.publish(gate)
  }

  // ---- own affairs

  private accept({ stream, remoteAddress, certificateName }: Accepted): void {
    if (this.stopping) stream.destroy()
    else this.gates.add(new Gate(stream, this, remoteAddress, certificateName))
  }

  private tellDropped(): void {
    for (const range of this.publishPath.dropped.take()) this.options.onDropped?.(range)
  }

  private deliverUnstored(mqttTopic: string, payload: Buffer): void {
    const topic = Buffer.from(mqttTopic)
    const entry = this.router.resolve(topic, 0, topic.length)
    if (!('problem' in entry)) this.fanOut.deliver(entry, 0, payload, 0, payload.length)
  }

  private may(session: Session, kind: AccessKind, topic: string): boolean {
    return this.options.authorize?.(session, kind, topic) ?? true
  }

  private sweepLater(): void {
    this.stopSweep = this.clock.after(SWEEP_INTERVAL_MS, () => {
      const nowMs = this.clock.monotonicMs()
      this.door.sweep(nowMs)
      for (const gate of this.gates) gate.sweep(nowMs)
      if (nowMs - this.checkpointMs >= CHECKPOINT_INTERVAL_MS) {
        this.checkpointMs = nowMs
        this.tellDropped()
        this.sessions.checkpoint().catch((error) => this.logger.error('session state could not be stored', { error }))
      }
      if (!this.stopping) this.sweepLater()
    })
  }
}

/** Which client a line of the log is about. */
function whose(gate: Gate): { client: string | undefined; address: string } {
  return { client: gate.session?.clientId ?? gate.connectPacket?.clientId, address: gate.remoteAddress }
}
