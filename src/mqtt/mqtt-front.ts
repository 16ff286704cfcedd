// The MQTT side of a node: its parts (mqtt-parts.ts), its connections and its listeners. Started and stopped by node.ts; `publish` is the way in for
// whatever else brings messages (HTTP, downlinks, the firmware bridge).

import type { Logger } from '../base/logger.js'
import type { Commit } from '../log/types.js'
import type { Offset } from '../record/record.js'
import { Connections, type ConnectionsOptions, type TrustedConnection } from './connections.js'
import { Housekeeping } from './housekeeping.js'
import { Listeners } from './listeners.js'
import type { MqttFrontOptions, MqttStats, PublishMessage, StoredPlace } from './mqtt-front-options.js'
import { DEFAULT_MQTT_LIMITS, type MqttLimits } from './mqtt-limits.js'
import { MqttParts } from './mqtt-parts.js'
import type { NumberedBy, NumberedPublish } from './numbered-publishes.js'
import type { Published } from './program-publishes.js'

/** A message of a WebSocket may hold several packets. */
const MIN_WEBSOCKET_MESSAGE_BYTES = 1024 * 1024

export class MqttFront {
  private readonly logger: Logger
  private readonly listeners: Listeners
  private readonly housekeeping: Housekeeping
  private parts!: MqttParts
  private connections!: Connections
  private stopping = false

  private constructor(
    private readonly options: MqttFrontOptions,
    private readonly limits: MqttLimits,
  ) {
    this.logger = options.logger
    this.listeners = new Listeners(options.logger)
    this.housekeeping = new Housekeeping(options.clock, {
      sweep: (nowMs) => {
        this.parts.door.sweep(nowMs)
        this.connections.sweep(nowMs)
      },
      checkpoint: () => {
        this.tellDropped()
        this.parts.sessions
          .checkpoint()
          .catch((error) => this.logger.error('session state could not be stored', { error }))
      },
    })
  }

  /** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG, UNKNOWN_STREAM_OR_PARTITION. */
  static async start(options: MqttFrontOptions): Promise<MqttFront> {
    const limits = { ...DEFAULT_MQTT_LIMITS, ...options.limits }
    const front = new MqttFront(options, limits)
    front.parts = await MqttParts.open(options, limits, () => front.stats())
    front.connections = await Connections.start(front.forConnections())
    await front.parts.adoptPartitions(options.state)
    await front.parts.wills.publishLeftOver()
    try {
      await front.listeners.listen(options.listen, {
        door: front.parts.door,
        accept: (accepted) => front.connections.add(accepted),
        tls: options.tls,
        allowedOrigins: options.allowedOrigins ?? [],
        maxMessageBytes: Math.max(MIN_WEBSOCKET_MESSAGE_BYTES, 2 * limits.maxPacketBytes),
      })
    } catch (error) {
      await front.stop()
      throw error
    }
    front.housekeeping.start()
    return front
  }

  /** As bound, in the order of `listen`. */
  get addresses(): readonly string[] {
    return this.listeners.addresses
  }

  /**
   * Publishes a message as if a client had: stored, delivered, retained.
   * @returns what holds it; already durable where nothing is stored (QoS 0 that no stream takes).
   * @throws SluiceError INVALID_TOPIC; RECORD_TOO_LARGE; TOO_MANY_REQUESTS while the stream has too much waiting; STORAGE_FULL,
   * STORAGE_READ_ONLY, SHUTTING_DOWN.
   */
  publish(message: PublishMessage): Commit {
    return this.parts.programs.publish(message)
  }

  /**
   * Publishes messages in one go: those of one stream become durable together, or none does.
   * @returns where each lies, and what must be durable before it may be acknowledged.
   * @throws SluiceError as publish: then nothing has happened.
   */
  publishAll(messages: readonly PublishMessage[]): readonly Published[] {
    return this.parts.programs.publishAll(messages)
  }

  /** Where a message goes; null when no configured stream takes it. */
  routeOf(mqttTopic: string, clientId: string): { readonly stream: string; readonly partition: number } | null {
    return this.parts.programs.routeOf(mqttTopic, clientId)
  }

  /** Makes a message that is stored already the retained one of its topic. */
  retainAgain(message: PublishMessage): Commit {
    return this.parts.programs.retainAgain(message)
  }

  /**
   * As publish, for a message its producer has numbered: one that is sent again is neither stored nor delivered again.
   * @throws RangeError for numbers out of range, and for a message that nothing would store (QoS 0 that no stream takes).
   */
  publishNumbered(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.parts.programs.publishNumbered(message, by)
  }

  /**
   * Gives a record of a mirror to the subscribers here. It is stored in the stream named `republished`, whatever the routes say, and there only once.
   * @throws as publish, and as publishNumbered.
   */
  republish(message: PublishMessage, by: NumberedBy): NumberedPublish {
    return this.parts.programs.republish(message, by)
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
    const place = this.parts.sessions.placeOf(clientId, packetId)
    const partition = place && this.parts.stored.partition(place.partition)
    return partition
      ? { stream: partition.stream.name, partition: partition.partition, offset: place.offset as Offset }
      : null
  }

  /**
   * What `authorize` and `authenticate` answer has changed: nothing remembered of it is used any more.
   * @param isRevoked Whose connections are closed, by the name they logged in with.
   */
  accessChanged(isRevoked: (username: string | undefined) => boolean = () => false): void {
    this.parts.sessions.accessChanged()
    this.connections.accessChanged(isRevoked)
  }

  /**
   * Reads the certificates of the listeners again; where one is not good, the one before stays and the log says why. Where those that clients'
   * certificates rest on have changed, who has shown one must show it again.
   */
  async reloadCertificates(): Promise<void> {
    if (await this.listeners.reloadCertificates()) this.connections.authoritiesChanged()
  }

  /** Tells whoever is subscribed now, at QoS 0; nothing is stored. For what the node says of itself, below `$SYS/`. */
  deliverUnstored(mqttTopic: string, payload: Buffer): void {
    this.parts.deliverUnstored(mqttTopic, payload)
  }

  /** Tells at once what has changed of `$SYS/…`. */
  tellSys(): void {
    this.parts.sys.tell()
  }

  stats(): MqttStats {
    const { connectedDurable, ...ofConnections } = this.connections.totals()
    return {
      ...ofConnections,
      durableSessions: this.parts.store.size,
      offlineSessions: Math.max(0, this.parts.store.size - connectedDurable),
      sharedGroups: this.parts.groups.size,
      retainedMessages: this.parts.retained.size,
      receivedMessages: this.parts.publishPath.messages,
      receivedPayloadBytes: this.parts.publishPath.payloadBytes,
      unroutedMessages: this.parts.publishPath.unrouted,
      refusedMessages: this.parts.publishPath.refused,
      deliveredMessages: this.parts.fanOut.delivered,
      refusedConnections: this.parts.door.refused,
    }
  }

  /** Stops listening, closes every connection, publishes the wills that are due. The log must still be open. */
  async stop(): Promise<void> {
    if (this.stopping) return
    this.stopping = true
    this.housekeeping.stop()
    this.parts.sys.stop()
    const closing = this.listeners.close()
    this.parts.door.close()
    await this.connections.stop()
    await closing
    this.parts.stored.stop()
    await this.parts.wills.stop()
    this.parts.groups.stop()
    await this.parts.sessions.checkpoint()
    this.tellDropped()
    this.parts.incidents.stop()
  }

  // ---- own affairs

  private forConnections(): ConnectionsOptions {
    const { options, limits, parts } = this
    const { incidents, router, publishPath, sessions, subscriptions, wills, fanOut, may } = parts
    return {
      ...{ limits, clock: options.clock, logger: options.logger },
      ...{ incidents, router, publishPath, sessions, subscriptions, wills },
      nodes: options.nodes ?? null,
      schedule: (outbox) => fanOut.schedule(outbox),
      authenticate: options.authenticate,
      certificateNameIsUser: options.certificateNameIsUser ?? false,
      mayPublish: (session, topic) => may(session, 'publish', topic),
    }
  }

  private tellDropped(): void {
    for (const range of this.parts.publishPath.dropped.take()) this.options.onDropped?.(range)
  }
}
