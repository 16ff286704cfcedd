// Where an upstream over MQTT is reached: its URL and those tried in turn, logins and TLS, checked once and turned into what mqtt.js takes.

import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, createSecureContext } from 'node:tls'
import mqtt, { type IClientOptions } from 'mqtt'
import type { Clock } from '../../base/clock.js'
import { messageOf, SluiceError } from '../../base/errors.js'
import type { Downlink } from '../downlink.js'
import { MqttConnection, type MqttConnectionEvents } from './mqtt-connection.js'

/** A connection that has lasted so long was a good one. */
const STEADY_MS = 30_000

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

interface Place {
  /** Without user and password. */
  readonly url: string
  readonly clientOptions: IClientOptions
  readonly dial: () => Socket
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
      return {
        url: `${url.protocol}//${url.host}`,
        clientOptions: clientOptionsOf(options, url),
        dial: dialOf(options.tls ?? {}, url),
      }
    })
    this.downlink = options.downlink
  }

  /** Where the connection goes, or the next one will. */
  get url(): string {
    return this.places[this.current].url
  }

  /** @param packetsPerSlot See packet-sender.ts. */
  connect(events: MqttConnectionEvents, clock: Clock, packetsPerSlot = 1): MqttConnection {
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
    const { clientOptions, dial } = this.places[this.current]
    return new MqttConnection(
      { ...clientOptions, messageIdProvider },
      dial,
      watched,
      clock,
      this.downlink,
      packetsPerSlot,
    )
  }
}

function clientOptionsOf(options: MqttConnectionOptions, url: URL): IClientOptions {
  return {
    protocol: isSecure(url) ? 'mqtts' : 'mqtt',
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
  }
}

/** @throws SluiceError INVALID_CONFIG */
function dialOf(tls: TlsOptions, url: URL): () => Socket {
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const port = url.port === '' ? (isSecure(url) ? 8883 : 1883) : Number(url.port)
  if (!isSecure(url)) {
    if (Object.values(tls).some((value) => value !== undefined))
      throw new SluiceError('INVALID_CONFIG', `TLS options need an mqtts:// URL, not ${url.protocol}//${url.host}`)
    return () => connectTcp({ host, port })
  }
  const { ca, cert, key, passphrase, alpnProtocols, rejectUnauthorized } = tls
  try {
    createSecureContext({ ca, cert, key, passphrase })
  } catch (error) {
    throw new SluiceError('INVALID_CONFIG', `TLS material cannot be used: ${messageOf(error)}`, {}, error)
  }
  const servername = tls.servername ?? (isIP(host) === 0 ? host : undefined)
  const options: ConnectionOptions = { host, port, ca, cert, key, passphrase, servername, rejectUnauthorized }
  if (alpnProtocols !== undefined) options.ALPNProtocols = [...alpnProtocols]
  if (rejectUnauthorized === undefined) delete options.rejectUnauthorized
  return () => connectTls(options)
}

function isSecure({ protocol }: URL): boolean {
  return protocol === 'mqtts:'
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || url.hostname === '' || (url.protocol !== 'mqtt:' && url.protocol !== 'mqtts:'))
    throw new SluiceError('INVALID_CONFIG', 'the url of an mqtt upstream is mqtt://HOST:PORT or mqtts://HOST:PORT')
  return url
}
