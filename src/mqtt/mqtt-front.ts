// The MQTT side of a node, put together: listeners, gates, the publish path, sessions, and aedes behind them. Started and stopped by
// node.ts; `publish` is the way in for whatever else brings messages (HTTP, downlinks, the firmware bridge).

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Commit } from '../log/types.js'
import type { Offset } from '../record/record.js'
import type { AccessKind, Who } from './acl-file.js'
import { Connections, type ConnectionsOptions, type TrustedConnection, whose } from './connections.js'
import { Door } from './door.js'
import { FanOut } from './fan-out.js'
import { IncidentLog } from './incident-log.js'
import { type Listener, listen } from './listener.js'
import type { MqttFrontOptions, MqttStats, PublishMessage, StoredPlace } from './mqtt-front-options.js'
import { DEFAULT_MQTT_LIMITS, type MqttLimits } from './mqtt-limits.js'
import type { NumberedBy, NumberedPublish } from './numbered-publishes.js'
import { ProgramPublishes, type Published } from './program-publishes.js'
import { PublishPath } from './publish-path.js'
import { handshakePrefix, StoredHandshakes } from './received-messages.js'
import { RetainedMessages, type RetainedValue } from './retained-messages.js'
import { Router } from './router.js'
import type { Session } from './session.js'
import type { SessionPumpHost } from './session-pump.js'
import { SessionRegistry } from './session-registry.js'
import { SessionStore } from './session-store.js'
import type { SharedGroupHost } from './shared-group.js'
import { type SharedGroupRow, SharedGroups } from './shared-groups.js'
import { StoredDelivery } from './stored-delivery.js'
import type { StoredPartition } from './stored-partition.js'
import type { Subscriber } from './subscriber.js'
import { SubscriptionRequests } from './subscription-requests.js'
import { SysTopics } from './sys-topics.js'
import { TopicTree } from './topic-tree.js'
import { Wills } from './wills.js'

const SWEEP_INTERVAL_MS = 500
const CHECKPOINT_INTERVAL_MS = 5000
/** A message of a WebSocket may hold several packets. */
const MIN_WEBSOCKET_MESSAGE_BYTES = 1024 * 1024
const SHARED_TABLE = 'mqtt-shared'
const LAYOUT_TABLE = 'mqtt-layout'

export class MqttFront implements SessionPumpHost, SharedGroupHost {
  readonly fanOut: FanOut
  readonly logger: Logger
  readonly maxInflight: number
  private readonly clock: Clock
  readonly router: Router
  private readonly publishPath: PublishPath
  private readonly stored: StoredDelivery
  private readonly programs: ProgramPublishes
  private readonly sessions: SessionRegistry
  private readonly groups: SharedGroups
  private readonly sys: SysTopics
  private readonly subscriptions: SubscriptionRequests
  private readonly wills: Wills
  private readonly incidents: IncidentLog
  private readonly door: Door
  private listeners: Listener[] = []
  private connections!: Connections
  private stopSweep: () => void = () => {}
  private checkpointMs = 0
  private stopping = false

  private constructor(
    private readonly options: MqttFrontOptions,
    readonly retained: RetainedMessages,
    private readonly store: SessionStore,
    handshakePrefixes: ReadonlySet<string>,
    sharedGroups: readonly SharedGroupRow[],
    private readonly limits: MqttLimits,
  ) {
    this.clock = options.clock
    this.logger = options.logger
    this.incidents = new IncidentLog(options.logger, options.clock)
    this.door = new Door(limits, options.clock, this.incidents)
    this.router = new Router(options.catalog, options.routes, limits.cachedTopics, options.republished)
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
      more: options.sysValues,
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
      maxReplaysPerClient: limits.maxReplaysPerClient,
      maxReplays: limits.maxReplays,
      partition: (name) => this.stored.partition(name),
      maySubscribe: (session, filter) => this.may(session, 'subscribe', filter),
      refused: (gate, refusal) => this.incidents.warn('subscription refused', { ...whose(gate), ...refusal }),
      mayReceive: (session, topic) => this.mayReceive(session, topic),
      mayPublish: (who, topic) => this.may(who, 'publish', topic),
    })
    this.wills = new Wills({
      table: options.state.table('mqtt-wills'),
      publish: (message) => this.publish(message),
      mayPublish: (who, topic) =>
        !('problem' in this.router.resolvePublishable(topic)) && this.may(who, 'publish', topic),
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
    front.connections = await Connections.start(front.forConnections())
    await front.adoptPartitions()
    await front.wills.publishLeftOver()
    try {
      for (const address of options.listen) {
        const listener = await listen(address, {
          door: front.door,
          accept: (accepted) => front.connections.add(accepted),
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
   * Publishes messages in one go: those of one stream become durable together, or none does.
   * @returns where each lies, and what must be durable before it may be acknowledged.
   * @throws SluiceError as publish: then nothing has happened.
   */
  publishAll(messages: readonly PublishMessage[]): readonly Published[] {
    return this.programs.publishAll(messages)
  }

  /** Where a message goes; null when no configured stream takes it. */
  routeOf(mqttTopic: string, clientId: string): { readonly stream: string; readonly partition: number } | null {
    return this.programs.routeOf(mqttTopic, clientId)
  }

  /** Makes a message that is stored already the retained one of its topic. */
  retainAgain(message: PublishMessage): Commit {
    return this.programs.retainAgain(message)
  }

  /**
   * As publish, for a message its producer has numbered: one that is sent again is neither stored nor delivered again.
   * @throws RangeError for numbers out of range, and for a message that nothing would store (QoS 0 that no stream takes).
   */
  publishNumbered(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.programs.publishNumbered(message, by)
  }

  /**
   * Gives a record of a mirror to the subscribers here. It is stored in the stream named `republished`, whatever the routes say, and there only once.
   * @throws as publish, and as publishNumbered.
   */
  republish(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.programs.republish(message, by)
  }

  /**
   * A connection for code of this process: it needs no login, and no ACL holds for it.
   * @returns the client's end.
   */
  connectTrusted(maxInflight?: number): TrustedConnection {
    return this.connections.addTrusted(maxInflight)
  }

  /** Where a message lies that is on its way to a session; null for one that is in no log, or not on its way. */
  placeOf(clientId: string, packetId: number): StoredPlace | null {
    const place = this.sessions.placeOf(clientId, packetId)
    const partition = place && this.partition(place.partition)
    return partition
      ? { stream: partition.stream.name, partition: partition.partition, offset: place.offset as Offset }
      : null
  }

  /**
   * What `authorize` and `authenticate` answer has changed: nothing remembered of it is used any more.
   * @param isRevoked Whose connections are closed, by the name they logged in with.
   */
  accessChanged(isRevoked: (username: string | undefined) => boolean = () => false): void {
    this.sessions.accessChanged()
    this.connections.accessChanged(isRevoked)
  }

  /**
   * Reads the certificates of the listeners again; where one is not good, the one before stays and the log says why. Where those that clients'
   * certificates rest on have changed, who has shown one must show it again.
   */
  async reloadCertificates(): Promise<void> {
    let others = false
    for (const { address, reloadCertificate } of this.listeners)
      await reloadCertificate?.().then(
        (changed) => {
          others ||= changed
          this.logger.info('certificate read again', { address })
        },
        (error) => this.logger.error('certificate not renewed', { address, error: messageOf(error) }),
      )
    if (others) this.connections.authoritiesChanged()
  }

  /** Tells whoever is subscribed now, at QoS 0; nothing is stored. For what the node says of itself, below `$SYS/`. */
  deliverUnstored(mqttTopic: string, payload: Buffer): void {
    const topic = Buffer.from(mqttTopic)
    const entry = this.router.resolve(topic, 0, topic.length)
    if (!('problem' in entry)) this.fanOut.deliver(entry, 0, payload, 0, payload.length)
  }

  /** Tells at once what has changed of `$SYS/…`. */
  tellSys(): void {
    this.sys.tell()
  }

  stats(): MqttStats {
    const { connectedDurable, ...ofConnections } = this.connections.totals()
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
    await this.connections.stop()
    await Promise.all(closing)
    this.stored.stop()
    await this.wills.stop()
    this.groups.stop()
    await this.sessions.checkpoint()
    this.tellDropped()
    this.incidents.stop()
  }

  // ---- what the pumps of sessions and groups ask for

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

  // ---- own affairs

  private forConnections(): ConnectionsOptions {
    const { limits, clock, logger, incidents, router, publishPath, sessions, subscriptions, wills, options } = this
    return {
      ...{ limits, clock, logger, incidents, router, publishPath, sessions, subscriptions, wills },
      nodes: options.nodes ?? null,
      schedule: (outbox) => this.fanOut.schedule(outbox),
      authenticate: options.authenticate,
      certificateNameIsUser: options.certificateNameIsUser ?? false,
      mayPublish: (session, topic) => this.may(session, 'publish', topic),
    }
  }

  /** Sessions and groups that are kept are given what the configuration has added since the last start. */
  private async adoptPartitions(): Promise<void> {
    await this.groups.snapshot()()
    const table = this.options.state.table<string>(LAYOUT_TABLE)
    const { layout } = this.stored
    if ((await table.get('last')) === layout) return
    await this.store.adopt((filter) => this.stored.endsFor(filter))
    await table.put('last', layout)
  }

  private tellDropped(): void {
    for (const range of this.publishPath.dropped.take()) this.options.onDropped?.(range)
  }

  private may(who: Who & { readonly trusted?: boolean }, kind: AccessKind, topic: string): boolean {
    return who.trusted === true || (this.options.authorize?.(who, kind, topic) ?? true)
  }

  private sweepLater(): void {
    this.stopSweep = this.clock.after(SWEEP_INTERVAL_MS, () => {
      const nowMs = this.clock.monotonicMs()
      this.door.sweep(nowMs)
      this.connections.sweep(nowMs)
      if (nowMs - this.checkpointMs >= CHECKPOINT_INTERVAL_MS) {
        this.checkpointMs = nowMs
        this.tellDropped()
        this.sessions.checkpoint().catch((error) => this.logger.error('session state could not be stored', { error }))
      }
      if (!this.stopping) this.sweepLater()
    })
  }
}
