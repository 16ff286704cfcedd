// A connection of an upstream over MQTT 3.1.1, for the targets that use one: mqtt.js connects, speaks TLS, keeps the connection alive and reads.
// What it publishes by itself it copies and stores, so PUBLISH packets are written here (publish-writer.ts) straight to its stream.
//
// A client serves one connection and never reconnects: its own replay sends one message at a time and its callbacks stay silent after a
// plain close.

import { createSecureContext } from 'node:tls'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient, type Packet } from 'mqtt'
import type { Clock } from '../../base/clock.js'
import { messageOf, SluiceError } from '../../base/errors.js'
import { type Downlink, DownlinkFlow } from '../downlink.js'
import { type Publish, PublishWriter } from './publish-writer.js'

/** Bytes that may wait for the network before `hasRoom` turns false. */
const MAX_BUFFERED_BYTES = 256 * 1024
/** How long a goodbye may take before the connection is broken. */
const END_TIMEOUT_MS = 1_000
/** What a socket says when the other side has closed it before it had read everything. */
const HANG_UPS = ['ECONNRESET', 'EPIPE']
/** A whole packet but for its packet identifier [MQTT-3.4]. */
const PUBACK = 0x40_02_00_00
/** A connection that has lasted so long was a good one. */
const STEADY_MS = 30_000
/** Topic filters in one SUBSCRIBE: AWS IoT takes no more. */
const MAX_FILTERS = 8
const MAX_PACKET_ID = 65_535
/** mqtt.js takes its own packet identifiers (SUBSCRIBE) from 1 up, slots take theirs from the top down. */
const OWN_PACKET_IDS = 16
const SESSION_LOST = {
  reason: 'it was set up anew or does not keep sessions for so long: what was sent down meanwhile is gone',
  see: '"sluice upstreams rewind", if what it had acknowledged is gone as well',
}
export const MAX_MQTT_SLOTS = MAX_PACKET_ID - OWN_PACKET_IDS

/** Certificates and keys, PEM, as read from their files. */
export interface TlsOptions {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
  readonly passphrase?: string
  /** Name to check the certificate against; default the host of the URL. */
  readonly servername?: string
  readonly alpnProtocols?: readonly string[]
  /** False accepts any certificate: for tests only. */
  readonly rejectUnauthorized?: boolean
}

export interface MqttConnectionOptions {
  /** `mqtt://HOST:PORT` or `mqtts://HOST:PORT`. */
  readonly url: string
  /** Tried in turn while `url` cannot be reached. */
  readonly fallbackUrls?: readonly string[]
  readonly clientId: string
  readonly username?: string
  readonly password?: string
  readonly tls?: TlsOptions
  readonly keepaliveSeconds: number
  /** From the first SYN to CONNACK. */
  readonly connectTimeoutMs: number
  /** What the broker sends to us. */
  readonly downlink?: Downlink
}

export interface MqttConnectionEvents {
  /** CONNACK 0 has come. */
  onConnected(): void
  onPacket(packet: Packet): void
  onRoom(): void
  /** Once, and nothing after it. `hungUp`: the broker has closed it. */
  onDown(reason: SluiceError, hungUp: boolean): void
}

interface Place {
  /** Without user and password. */
  readonly url: string
  readonly clientOptions: IClientOptions
}

/**
 * Where connections go, checked once. After an attempt that failed, or a connection that did not last, the next one goes to the next place;
 * after one that did, to the first again.
 */
export class MqttAddress {
  private readonly places: readonly Place[]
  private readonly downlink: Downlink | undefined
  private current = 0

  /** @throws SluiceError INVALID_CONFIG for a URL or TLS material that cannot be used. */
  constructor(options: MqttConnectionOptions) {
    this.places = [options.url, ...(options.fallbackUrls ?? [])].map((text) => {
      const url = parseUrl(text)
      return { url: `${url.protocol}//${url.host}`, clientOptions: clientOptionsOf(options, url) }
    })
    this.downlink = options.downlink
  }

  /** Where the connection goes, or the next one will. */
  get url(): string {
    return this.places[this.current].url
  }

  connect(events: MqttConnectionEvents, clock: Clock): MqttConnection {
    const messageIdProvider = new mqtt.UniqueMessageIdProvider()
    let upAtMs = Number.POSITIVE_INFINITY
    const watched: MqttConnectionEvents = {
      ...events,
      onConnected: () => {
        upAtMs = clock.monotonicMs()
        events.onConnected()
      },
      onDown: (reason, hungUp) => {
        const lasted = clock.monotonicMs() - upAtMs >= STEADY_MS
        this.current = lasted ? 0 : (this.current + 1) % this.places.length
        events.onDown(reason, hungUp)
      },
    }
    return new MqttConnection(
      { ...this.places[this.current].clientOptions, messageIdProvider },
      watched,
      clock,
      this.downlink,
    )
  }
}

export class MqttConnection {
  private readonly client: MqttClient
  private readonly writer: PublishWriter
  private readonly flow: DownlinkFlow | undefined
  private over = false
  private cancelEndTimer = (): void => {}

  constructor(
    options: IClientOptions,
    private readonly events: MqttConnectionEvents,
    private readonly clock: Clock,
    downlink?: Downlink,
  ) {
    this.client = mqtt.connect(options)
    const { client } = this
    this.writer = new PublishWriter((bytes) => client.stream.write(bytes))
    const { stream } = client
    if ('setNoDelay' in stream) (stream as unknown as { setNoDelay(on: boolean): void }).setNoDelay(true)
    stream.on('drain', () => {
      if (!this.over) events.onRoom()
    })
    const flow = downlink && this.openDownlink(downlink)
    client.on('connect', ({ sessionPresent }) => {
      if (this.over) return
      if (downlink) this.subscribe(downlink, sessionPresent)
      events.onConnected()
    })
    client.on('packetreceive', (packet) => {
      if (this.over) return
      if (packet.cmd === 'publish' && flow && takenBy(flow, packet)) return
      events.onPacket(packet)
    })
    this.flow = flow
    client.on('error', (error: Error & { code?: unknown }) =>
      this.finish(connectionError(error), HANG_UPS.includes(String(error.code))),
    )
    client.on('close', () => this.finish(new SluiceError('NOT_REACHABLE', 'the broker closed the connection'), true))
  }

  get hasRoom(): boolean {
    return this.client.stream.writableLength < MAX_BUFFERED_BYTES
  }

  publish(message: Publish, slot: number): void {
    this.writer.publish(message, MAX_PACKET_ID - slot)
  }

  flush(): void {
    this.writer.flush()
  }

  /** For what is said now and then beside the records. Not said again when the connection is lost. */
  publishRetained(mqttTopic: string, payload: Buffer): void {
    this.writer.flush()
    this.client.publish(mqttTopic, payload, { qos: 1, retain: true }, () => {})
  }

  end(): void {
    if (this.over) return
    this.writer.flush()
    const ended = () => this.reset(new SluiceError('SHUTTING_DOWN', 'ended by this side'))
    this.cancelEndTimer = this.clock.after(END_TIMEOUT_MS, ended)
    this.client.end(false, {}, ended)
  }

  reset(reason: SluiceError): void {
    this.finish(reason, false)
  }

  private openDownlink(downlink: Downlink): DownlinkFlow {
    const { client } = this
    const flow = new DownlinkFlow(downlink, (packetIds) => {
      const acks = Buffer.alloc(4 * packetIds.length)
      for (const [i, id] of packetIds.entries()) acks.writeUInt32BE(PUBACK + id, 4 * i)
      client.stream.write(acks)
    })
    // Its callback lets mqtt.js read on.
    client.handleMessage = (_packet, readOn) => flow.whenRoom(() => readOn())
    return flow
  }

  /** A session that the broker has kept has its subscriptions; to subscribe again would bring every retained message again. */
  private subscribe(downlink: Downlink, sessionPresent: boolean): void {
    const { filters } = downlink
    const { subscribed, onSubscribed, logger } = downlink.options
    const known = sessionPresent ? subscribed() : []
    if (!sessionPresent && subscribed().length > 0)
      logger.warn('the upstream has lost the session of this node', SESSION_LOST)
    const missing = filters.filter((filter) => !known.includes(filter))
    const old = known.filter((filter) => !filters.includes(filter))
    if (old.length > 0) this.client.unsubscribe(old)
    if (missing.length === 0) {
      if (old.length > 0) onSubscribed(filters)
      return
    }
    let left = missing.length
    for (let i = 0; i < missing.length; i += MAX_FILTERS) {
      const some = missing.slice(i, i + MAX_FILTERS)
      this.client.subscribe(some, { qos: 1 }, (error) => {
        if (this.over) return
        if (error)
          logger.warn('the upstream refuses a subscription', { filters: some.join(' '), reason: error.message })
        else if ((left -= some.length) === 0) onSubscribed(filters)
      })
    }
  }

  private finish(reason: SluiceError, hungUp: boolean): void {
    if (this.over) return
    this.over = true
    this.flow?.end()
    this.cancelEndTimer()
    this.client.end(true)
    // A client that is already ending ignores end(): its stream must go all the same.
    this.client.stream.destroy()
    this.events.onDown(reason, hungUp)
  }
}

/** mqtt.js would acknowledge a message before it is durable; of one that it takes for QoS 0 it does not. */
function takenBy(flow: DownlinkFlow, packet: IPublishPacket): boolean {
  const { topic, qos, retain, messageId = 0 } = packet
  const payload = Buffer.from(packet.payload as Buffer)
  if (!flow.take({ mqttTopic: topic, payload, qos, retain, packetId: messageId })) return false
  packet.qos = 0
  return true
}

/** The slot a PUBACK acknowledges. */
export function slotOfPuback({ messageId }: { readonly messageId?: number }): number {
  return MAX_PACKET_ID - (messageId ?? 0)
}

function clientOptionsOf(options: MqttConnectionOptions, url: URL): IClientOptions {
  const tls = tlsOptionsOf(options.tls ?? {}, url)
  return {
    protocol: url.protocol === 'mqtts:' ? 'mqtts' : 'mqtt',
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (url.protocol === 'mqtts:' ? 8883 : 1883) : Number(url.port),
    clientId: options.clientId,
    username: options.username ?? (url.username === '' ? undefined : decodeURIComponent(url.username)),
    password: options.password ?? (url.password === '' ? undefined : decodeURIComponent(url.password)),
    protocolVersion: 4,
    // What a session would keep of the records sent, the cursor keeps; it is for what comes down while we are away.
    clean: options.downlink === undefined,
    keepalive: options.keepaliveSeconds,
    connectTimeout: options.connectTimeoutMs,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    log: () => {},
    ...tls,
  }
}

function tlsOptionsOf(tls: TlsOptions, url: URL): Partial<IClientOptions> {
  if (url.protocol !== 'mqtts:') {
    if (Object.values(tls).some((value) => value !== undefined))
      throw new SluiceError('INVALID_CONFIG', `TLS options need an mqtts:// URL, not ${url.protocol}//${url.host}`)
    return {}
  }
  const { ca, cert, key, passphrase, servername, alpnProtocols, rejectUnauthorized } = tls
  try {
    createSecureContext({ ca, cert, key, passphrase })
  } catch (error) {
    throw new SluiceError('INVALID_CONFIG', `TLS material cannot be used: ${messageOf(error)}`, {}, error)
  }
  const ALPNProtocols = alpnProtocols === undefined ? undefined : [...alpnProtocols]
  return { ca, cert, key, passphrase, servername, ALPNProtocols, rejectUnauthorized } as Partial<IClientOptions>
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || url.hostname === '' || (url.protocol !== 'mqtt:' && url.protocol !== 'mqtts:'))
    throw new SluiceError('INVALID_CONFIG', 'the url of an mqtt upstream is mqtt://HOST:PORT or mqtts://HOST:PORT')
  return url
}

function connectionError(error: Error & { code?: unknown }): SluiceError {
  const unauthorized = error.code === 4 || error.code === 5
  // An AggregateError, one attempt per address of a name, has no message of its own.
  const message = error.message === '' ? String(error.code ?? error.name) : error.message
  return new SluiceError(unauthorized ? 'UNAUTHORIZED' : 'NOT_REACHABLE', message, {}, error)
}
