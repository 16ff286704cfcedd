// A connection of an upstream over MQTT 3.1.1, for the targets that use one: mqtt.js connects, speaks TLS, keeps the connection alive and reads.
// What it publishes by itself it copies and stores, so PUBLISH packets are written here (publish-writer.ts) straight to its stream.
//
// A client serves one connection and never reconnects: its own replay sends one message at a time and its callbacks stay silent after a
// plain close.

import { createSecureContext } from 'node:tls'
import mqtt, { type IClientOptions, type MqttClient, type Packet } from 'mqtt'
import type { Clock } from '../../base/clock.js'
import { messageOf, SluiceError } from '../../base/errors.js'
import { type Publish, PublishWriter } from './publish-writer.js'

/** Bytes that may wait for the network before `hasRoom` turns false. */
const MAX_BUFFERED_BYTES = 256 * 1024
/** How long a goodbye may take before the connection is broken. */
const END_TIMEOUT_MS = 1_000
/** What a socket says when the other side has closed it before it had read everything. */
const HANG_UPS = ['ECONNRESET', 'EPIPE']
const MAX_PACKET_ID = 65_535
/** mqtt.js takes its own packet identifiers (SUBSCRIBE) from 1 up, slots take theirs from the top down. */
const OWN_PACKET_IDS = 16
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
  readonly clientId: string
  readonly username?: string
  readonly password?: string
  readonly tls?: TlsOptions
  readonly keepaliveSeconds: number
  /** From the first SYN to CONNACK. */
  readonly connectTimeoutMs: number
}

export interface MqttConnectionEvents {
  /** CONNACK 0 has come. */
  onConnected(): void
  onPacket(packet: Packet): void
  onRoom(): void
  /** Once, and nothing after it. `hungUp`: the broker has closed it. */
  onDown(reason: SluiceError, hungUp: boolean): void
}

/** Where connections go, checked once. */
export class MqttAddress {
  /** Without user and password. */
  readonly url: string
  private readonly clientOptions: IClientOptions

  /** @throws SluiceError INVALID_CONFIG for a URL or TLS material that cannot be used. */
  constructor(options: MqttConnectionOptions) {
    const url = parseUrl(options.url)
    this.url = `${url.protocol}//${url.host}`
    this.clientOptions = clientOptionsOf(options, url)
  }

  connect(events: MqttConnectionEvents, clock: Clock): MqttConnection {
    const messageIdProvider = new mqtt.UniqueMessageIdProvider()
    return new MqttConnection({ ...this.clientOptions, messageIdProvider }, events, clock)
  }
}

export class MqttConnection {
  private readonly client: MqttClient
  private readonly writer: PublishWriter
  private over = false
  private cancelEndTimer = (): void => {}

  constructor(
    options: IClientOptions,
    private readonly events: MqttConnectionEvents,
    private readonly clock: Clock,
  ) {
    this.client = mqtt.connect(options)
    const { client } = this
    this.writer = new PublishWriter((bytes) => client.stream.write(bytes))
    const { stream } = client
    if ('setNoDelay' in stream) (stream as unknown as { setNoDelay(on: boolean): void }).setNoDelay(true)
    stream.on('drain', () => {
      if (!this.over) events.onRoom()
    })
    client.on('connect', () => {
      if (!this.over) events.onConnected()
    })
    client.on('packetreceive', (packet) => {
      if (!this.over) events.onPacket(packet)
    })
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

  private finish(reason: SluiceError, hungUp: boolean): void {
    if (this.over) return
    this.over = true
    this.cancelEndTimer()
    this.client.end(true)
    // A client that is already ending ignores end(): its stream must go all the same.
    this.client.stream.destroy()
    this.events.onDown(reason, hungUp)
  }
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
    // What a persistent session would keep for us, the cursor keeps; and a stale one would answer with old packet identifiers.
    clean: true,
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
