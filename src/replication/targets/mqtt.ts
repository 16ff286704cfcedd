// Any MQTT 3.1.1 broker as an upstream: one PUBLISH of QoS 1 per record, its PUBACK is the acknowledgement. mqtt.js connects, speaks TLS,
// keeps the connection alive and reads; what it publishes by itself it copies and stores, so PUBLISH packets are written here
// (publish-writer.ts) straight to its stream.
//
// A client serves one connection and never reconnects: its own replay sends one message at a time and its callbacks stay silent after a
// plain close. MQTT 3.1.1 has no room for the record's id; order and the cursor are what we can give. It cannot say "refused"
// either: a broker that dislikes a message either acknowledges it all the same or closes the connection.

import { createSecureContext } from 'node:tls'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { Clock } from '../../base/clock.js'
import { messageOf, SluiceError } from '../../base/errors.js'
import { type LogRecord, type Offset, retainOf } from '../../record/record.js'
import { decodeRecords } from '../../record/record-batch.js'
import { MAX_REMAINING_LENGTH, type Publish, PublishWriter } from './publish-writer.js'
import type { Link, LinkEvents, Shipment, Source, Target } from './target.js'
import { compileTopicTemplate, mappedTopicBytes, mappedTopicProblem, type TopicParts } from './topic-template.js'

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

export interface MqttTargetOptions {
  readonly nodeId: string
  /** `mqtt://HOST:PORT` or `mqtts://HOST:PORT`. */
  readonly url: string
  /** See topic-template.ts. */
  readonly topic: string
  readonly clientId: string
  readonly username?: string
  readonly password?: string
  readonly tls?: TlsOptions
  readonly keepaliveSeconds: number
  /** From the first SYN to CONNACK. */
  readonly connectTimeoutMs: number
}

/** Bytes that may wait in this process for the network, beside one chunk. */
const MAX_BUFFERED_BYTES = 256 * 1024
/** How long a goodbye may take before the connection is broken. */
const END_TIMEOUT_MS = 1_000
const MAX_PACKET_ID = 65_535
/** mqtt.js takes its own packet identifiers (SUBSCRIBE) from 1 up, slots take theirs from the top down. */
const OWN_PACKET_IDS = 16
const EMPTY = Buffer.alloc(0)

export interface MqttShipment extends Shipment, Publish {}

export class MqttTarget implements Target<MqttShipment> {
  readonly url: string
  readonly maxSlots = MAX_PACKET_ID - OWN_PACKET_IDS
  private readonly clientOptions: IClientOptions
  private readonly topics = new Map<string, TopicParts>()

  /** @throws SluiceError INVALID_CONFIG for a URL, a topic or TLS material that cannot be used. */
  constructor(
    private readonly options: MqttTargetOptions,
    private readonly clock: Clock,
  ) {
    const url = parseUrl(options.url)
    this.url = `${url.protocol}//${url.host}`
    this.clientOptions = clientOptionsOf(options, url)
    compileTopicTemplate(options.topic, { stream: 'stream', node: options.nodeId })
  }

  pack(source: Source, batch: Buffer, from: Offset): MqttShipment[] {
    const parts = this.topicPartsOf(source.stream)
    return decodeRecords(batch, from).map((record) => shipmentOf(record, parts))
  }

  connect(events: LinkEvents): MqttLink {
    const messageIdProvider = new mqtt.UniqueMessageIdProvider()
    return new MqttLink({ ...this.clientOptions, messageIdProvider }, events, this.clock)
  }

  private topicPartsOf(stream: string): TopicParts {
    let parts = this.topics.get(stream)
    if (parts === undefined) {
      parts = compileTopicTemplate(this.options.topic, { stream, node: this.options.nodeId })
      this.topics.set(stream, parts)
    }
    return parts
  }
}

function shipmentOf(record: LogRecord, parts: TopicParts): MqttShipment {
  const topic = record.key ?? EMPTY
  const payload = record.value ?? EMPTY
  const topicBytes = mappedTopicBytes(parts, topic.length)
  const bytes = topicBytes + payload.length
  const tooLong = bytes + 4 > MAX_REMAINING_LENGTH ? 'is larger than an MQTT packet can be' : null
  return {
    offset: record.offset,
    nextOffset: (record.offset + 1) as Offset,
    records: 1,
    bytes,
    timestampMs: record.timestampMs,
    rejected: mappedTopicProblem(parts, record.key) ?? tooLong ?? undefined,
    parts,
    topic,
    topicBytes,
    payload,
    retain: retainOf(record.attributes),
  }
}

export class MqttLink implements Link<MqttShipment> {
  private readonly client: MqttClient
  private readonly writer: PublishWriter
  private over = false
  private cancelEndTimer = (): void => {}

  constructor(
    options: IClientOptions,
    private readonly events: LinkEvents,
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
      if (!this.over) events.onUp()
    })
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback' && !this.over) events.onAck(MAX_PACKET_ID - (packet.messageId ?? 0))
    })
    client.on('error', (error) => this.reset(connectionError(error)))
    client.on('close', () => this.reset(new SluiceError('NOT_REACHABLE', 'the broker closed the connection')))
  }

  get hasRoom(): boolean {
    return this.client.stream.writableLength < MAX_BUFFERED_BYTES
  }

  send(shipment: MqttShipment, slot: number): void {
    this.writer.publish(shipment, MAX_PACKET_ID - slot)
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
    if (this.over) return
    this.over = true
    this.cancelEndTimer()
    this.client.end(true)
    // A client that is already ending ignores end(): its stream must go all the same.
    this.client.stream.destroy()
    this.events.onDown(reason)
  }
}

function clientOptionsOf(options: MqttTargetOptions, url: URL): IClientOptions {
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
