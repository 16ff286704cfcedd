// The composition root: configuration in, running node out. What starts when, and stops in the opposite order, is readable top to bottom;
// nothing here decides anything else.

import { join } from 'node:path'
import { type Clock, systemClock } from './base/clock.js'
import { SluiceError } from './base/errors.js'
import { Logger } from './base/logger.js'
import { formatAddress } from './config/address.js'
import { REPUBLISHED } from './config/schema/names.js'
import type { Config } from './config/schema.js'
import { BridgeDevices } from './http/bridge-devices.js'
import type { Producer } from './http/ports.js'
import type { DevicesPort } from './http/routes/devices.js'
import type { TrustedConnection } from './mqtt/connections.js'
import { FileAuth } from './mqtt/file-auth.js'
import { MqttFront } from './mqtt/mqtt-front.js'
import { DEFAULT_MQTT_LIMITS, type MqttLimits } from './mqtt/mqtt-limits.js'
import type { NodeLinks } from './mqtt/node-links.js'
import type { NumberedBy } from './mqtt/numbered-publishes.js'
import type { TlsOptions } from './mqtt/tls-identity.js'
import { startHttp } from './node-http.js'
import { openStorage } from './node-storage.js'
import { startUpstreams, upstreamOptions } from './node-upstreams.js'
import { hasZstd } from './record/compression.js'
import { DOWN_TOPIC, UP_TOPIC } from './replication/node-protocol.js'
import { Origins } from './replication/origins.js'
import { Receiver } from './replication/receiver.js'
import { Republisher } from './replication/republisher.js'
import { sessionDestination } from './state/ledger.js'
import { LedgerNotes } from './state/ledger-notes.js'
import type { StateTable } from './state/types.js'
import { UpstreamFacts } from './state/upstream-facts.js'

/** Frames of other nodes may be so large, however small the packets of devices must be. */
const MIN_FRAME_LIMIT_BYTES = 1024 * 1024

export interface NodeOptions {
  readonly logger?: Logger
  readonly clock?: Clock
}

export interface RunningNode {
  readonly nodeId: string
  readonly mqttAddresses: readonly string[]
  readonly httpAddresses: readonly string[]
  /** Reads password, ACL and certificate files again; what has changed holds for connected clients when it resolves. */
  reload(): Promise<void>
  /**
   * Publishes a message as a device would: stored, delivered to subscribers, forwarded. Calls are appended in their order.
   * @throws SluiceError, at once, when the message is not taken: INVALID_TOPIC, RECORD_TOO_LARGE, TOO_MANY_REQUESTS, STORAGE_FULL,
   * STORAGE_READ_ONLY, SHUTTING_DOWN.
   */
  publish(message: NodeMessage): NodePublish
  /** An MQTT 3.1.1 connection from within the process: it needs no login, and no ACL holds for it. */
  connect(options?: NodeConnectionOptions): TrustedConnection
  /**
   * A message on its way to a session cannot be delivered, ever: enters it in the ledger. Acknowledge it once this resolves.
   * @param packetId As the session was sent it.
   */
  undeliverable(clientId: string, packetId: number): Promise<void>
  /** Small facts of the program, kept with the node's own: each write is on disk when it resolves. @param name Of small letters and -. */
  table<V>(name: string): StateTable<V>
  /** From now on GET /v1/devices answers with what `devices` says. */
  showDevices(devices: DevicesPort): void
  /** Stops taking connections, makes durable what was taken, closes. */
  stop(): Promise<void>
  /** Resolves when the node cannot go on (D4): the process must end, a supervisor restarts it. */
  readonly failed: Promise<Error>
}

export interface NodeConnectionOptions {
  /** Messages it may be sent before it acknowledges any, inclusive. Default: as MQTT clients. */
  readonly maxInFlight?: number
}

export interface NodeMessage {
  readonly mqttTopic: string
  /** Default: 1. At 0 it is stored where a stream takes it, and nothing may be known of it when the node ends. */
  readonly qos?: 0 | 1 | 2
  /** Copied before `publish` returns. */
  readonly payload: Uint8Array
  /** Default: false. */
  readonly retain?: boolean
  /** Decides the partition where the stream's key is `client`. */
  readonly clientId?: string
  /** Lets a resend be recognised, also after restarts: of one epoch, a number not above the highest stored is not stored again. */
  readonly numberedBy?: NumberedBy
}

export interface NodePublish {
  /** Resolves when the message is on disk (for a duplicate: the first one); rejects when it may not be. */
  readonly durable: Promise<void>
  /** It was published before: nothing was added. */
  readonly duplicate: boolean
}

/** Starts a node. @throws SluiceError when it cannot: nothing stays open then. */
export async function startNode(config: Config, options: NodeOptions = {}): Promise<RunningNode> {
  const logger = options.logger ?? new Logger('sluice', config.logLevel)
  const clock = options.clock ?? systemClock
  const started: (() => Promise<void>)[] = []
  /** Whatever was started is stopped, last first. */
  const stop = async (): Promise<void> => {
    while (started.length > 0) await started.pop()?.()
  }
  let fail: (error: SluiceError) => void = () => {}
  const failed = new Promise<Error>((resolve) => {
    fail = resolve
  })
  if (!hasZstd && config.stream.some(({ compression }) => compression === 'zstd')) {
    throw new SluiceError('INVALID_CONFIG', 'compression = "zstd" needs Node.js 22.15 or later; use "gzip"')
  }
  try {
    const storage = await openStorage(config, { logger, clock, onFatal: fail })
    started.push(() => storage.close())
    const { nodeId, state, cursors, groupOffsets, ledger, log } = storage

    const notes = new LedgerNotes({ ledger, clock, onFatal: fail })
    started.push(() => notes.stop())
    const origins = await Origins.open(state, clock, logger.child('origins'))
    const receiver = new Receiver({
      nodeId,
      mirrors: log.mirrors,
      origins,
      ledger,
      async commitGroup(group, stream, partition, offset, metadata) {
        // A group that goes on here is not set back to where it was there.
        const here = groupOffsets.get(group, stream, partition)
        if (here === undefined || here.offset < offset)
          await groupOffsets.commit(group, [{ stream, partition, offset, metadata }])
      },
      maxFrameBytes: Math.max(MIN_FRAME_LIMIT_BYTES, config.mqtt.maxPacketSize * 4),
      clock,
      logger: logger.child('receiver'),
    })
    const { passwordFile, aclFile } = config.mqtt
    const auth = await FileAuth.load({ passwordFile, aclFile, clock, logger: logger.child('mqtt') })
    /** Upstreams come later. */
    let sysValues: () => Iterable<readonly [string, string]> = () => []
    const mqtt = await MqttFront.start({
      listen: config.mqtt.listen.map(formatAddress),
      catalog: log,
      routes: config.stream.map(({ name, topics, key }) => ({ stream: name, topics, key })),
      tls: listenerTls(config.mqtt),
      certificateNameIsUser: passwordFile === undefined,
      allowedOrigins: config.mqtt.allowedOrigins,
      republished: config.mirrors.republish.length === 0 ? undefined : REPUBLISHED,
      limits: mqttLimits(config.mqtt),
      authenticate: auth.authenticate,
      ...(aclFile === undefined ? {} : { authorize: auth.authorize }),
      onDropped: ({ stream, partition, first, last, records }) => {
        const range = { stream, partition, firstOffset: first, lastOffset: last, records }
        notes.note({ destination: 'subscribers', ...range, reason: 'qos0_dropped', atMs: clock.wallMs() })
      },
      onOvertaken: (clientId, stream, partition, firstOffset, lastOffset) => {
        const entry = { destination: sessionDestination(clientId), stream, partition, firstOffset, lastOffset }
        notes.note({ ...entry, reason: 'session_overtaken', atMs: clock.wallMs() })
      },
      nodes: nodeLinks(receiver),
      sysValues: () => sysValues(),
      state,
      clock,
      logger: logger.child('mqtt'),
    })
    started.push(() => mqtt.stop())

    const republisher = await Republisher.start({
      mirrors: config.mirrors.republish,
      topic: config.mirrors.republishTopic,
      catalog: log.mirrors,
      publish: (message, by) => mqtt.republish(message, by),
      ...{ ledger, state, clock },
      logger: logger.child('republish'),
    })
    started.push(() => republisher.stop())

    const upstreams = await startUpstreams({
      nodeId,
      upstreams: config.upstream.map((upstream) => upstreamOptions(upstream, nodeId)),
      catalog: log,
      mirrors: log.mirrors,
      groups: groupOffsets,
      epochDirectory: join(config.dataDir, 'origin-epochs'),
      cursors,
      ledger,
      facts: await UpstreamFacts.open(state),
      poweredOnMs: () => storage.poweredOn.nowMs(),
      publish: (message) => mqtt.publish(message),
      onChange: () => mqtt.tellSys(),
      clock,
      logger: logger.child('upstream'),
      random: Math.random,
    })
    started.push(() => upstreams.stop())
    sysValues = () => upstreams.sysValues()

    const undeliverable = async (clientId: string, packetId: number): Promise<void> => {
      const place = mqtt.placeOf(clientId, packetId)
      if (place === null) return
      const { stream, partition, offset } = place
      const range = { stream, partition, firstOffset: offset, lastOffset: offset }
      await ledger.add([
        { destination: sessionDestination(clientId), ...range, reason: 'undeliverable', atMs: clock.wallMs() },
      ])
    }
    const producer = producerOf(mqtt, config.mqtt.maxPacketSize)
    const devices = new BridgeDevices(clock)
    const publish = (message: NodeMessage): NodePublish => publishTo(mqtt, message)
    const http = await startHttp(config, {
      storage,
      mqtt,
      offsets: groupOffsets,
      upstreams,
      origins,
      producer,
      bridges: { publish, connect: (maxInFlight) => mqtt.connectTrusted(maxInFlight), undeliverable, devices },
      clock,
      logger: logger.child('http'),
    })
    started.push(() => http.stop())

    const reload = async (): Promise<void> => {
      mqtt.accessChanged(await auth.reload())
      await mqtt.reloadCertificates()
    }
    return {
      nodeId,
      mqttAddresses: mqtt.addresses,
      httpAddresses: http.addresses,
      publish,
      undeliverable,
      connect: ({ maxInFlight } = {}) => mqtt.connectTrusted(maxInFlight),
      table: (name) => state.table(`program-${name}`),
      showDevices: (shown) => {
        devices.own = shown
      },
      reload,
      stop,
      failed,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function mqttLimits(mqtt: Config['mqtt']): Partial<MqttLimits> {
  return {
    maxPacketBytes: mqtt.maxPacketSize,
    maxConnections: mqtt.maxConnections,
    maxConnectionsPerAddress: mqtt.maxConnectionsPerAddress,
    maxConnectionsPerSecond: mqtt.maxConnectionRate,
    maxDurableSessions: mqtt.maxSessions,
    maxSubscriptionsPerClient: mqtt.maxSubscriptions,
    maxInflightPerClient: mqtt.maxInFlight,
    maxQos2HandshakesPerClient: mqtt.maxQos2Handshakes,
    maxDurableQos2HandshakesPerClient: Math.min(
      mqtt.maxQos2Handshakes,
      DEFAULT_MQTT_LIMITS.maxDurableQos2HandshakesPerClient,
    ),
    maxRetainedMessages: mqtt.maxRetained,
    maxQueuedBytesPerConnection: mqtt.maxPendingBytes,
    maxHeldBytes: mqtt.maxUnfinishedBytes,
    onQueueFull: mqtt.onQueueFull,
    connectTimeoutMs: mqtt.connectTimeoutMs,
    maxKeepaliveSeconds: Math.ceil(mqtt.maxKeepalive / 1000),
  }
}

function listenerTls({
  certFile,
  keyFile,
  caFile,
  crlFile,
  requireClientCert,
}: Config['mqtt']): TlsOptions | undefined {
  if (certFile === undefined || keyFile === undefined) return undefined
  return { certFile, keyFile, caFile, crlFile, requireClientCert }
}

/** The publish path as an embedding program uses it: QoS 1 unless told otherwise, so that everything is stored. */
function publishTo(mqtt: MqttFront, { numberedBy, ...message }: NodeMessage): NodePublish {
  const published = { ...message, qos: message.qos ?? 1 }
  if (numberedBy === undefined) return { durable: mqtt.publish(published).durable(), duplicate: false }
  const { commit, duplicate } = mqtt.publishNumbered(published, numberedBy)
  return { durable: commit.durable(), duplicate }
}

function nodeLinks(receiver: Receiver): NodeLinks {
  return {
    upTopic: UP_TOPIC,
    downTopic: DOWN_TOPIC,
    maxFrameBytes: receiver.maxFrameBytes,
    open: (peer) => receiver.open(peer),
  }
}

/** The publish path as HTTP uses it. */
function producerOf(mqtt: MqttFront, maxPayloadBytes: number): Producer {
  return {
    maxPayloadBytes,
    routeOf: (mqttTopic, clientId) => mqtt.routeOf(mqttTopic, clientId),
    publish: (messages, clientId) => mqtt.publishAll(messages.map((message) => ({ ...message, clientId }))),
    retain: (message) => mqtt.retainAgain(message),
  }
}
