// The MQTT-SN 1.2 gateway of one [[firmware]] entry: takes datagrams, finds out whose they are, and hands them to that client. Whatever arrives costs
// nobody but its sender; what cannot be taken is counted.
//
//   datagram ─▶ limits ─▶ forwarder? ─▶ seal? ─▶ codec ─▶ client ─▶ node

import type { Socket } from 'node:dgram'
import type { Logger } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import { countRejection, type DeviceRegistry, type LineStatus, type Rejection } from '../devices/device-registry.js'
import type { DeviceTable } from '../devices/device-table.js'
import { mayUseTopic, topicNameProblem } from '../devices/topic-rules.js'
import { type Admission, mayConnect, type Origin, REFUSALS } from './admission.js'
import { asksForAnswer, giveTo } from './client-messages.js'
import { ClientStore, type StoredClient, type StoredWill } from './client-store.js'
import { decodeMessage, encodeMessage } from './codec.js'
import { ConnectFlow } from './connect-flow.js'
import { describeEndpoint, type Endpoint, endpointKey, isSamePlace } from './endpoint.js'
import { unwrapForwarded, wrapForwarded } from './forwarder.js'
import type { GatewayHost, GatewayOptions } from './gateway-options.js'
import { HelloReminder } from './hello-reminder.js'
import { type ConnectMessage, RETURN_CODE, type SnMessage } from './messages.js'
import { rejectionOf } from './publish-intake.js'
import { RateLimiter } from './rate-limiter.js'
import { MAX_SEAL_BYTES, type SecureSession, SecureSessions } from './secure-sessions.js'
import { SnClient, type SnClientHost } from './sn-client.js'
import { bindUdp, joinGroup, type UdpAddress } from './udp-socket.js'

const SWEEP_INTERVAL_MS = 250
const FORWARDER_BYTES = 35

/** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG. */
export async function startGateway(options: GatewayOptions, host: GatewayHost): Promise<Gateway> {
  const gateway = new Gateway(options, host)
  await gateway.start()
  return gateway
}

export class Gateway implements SnClientHost {
  readonly store: ClientStore
  private devices: DeviceTable
  private readonly sockets: Socket[] = []
  private groupSocket: Socket | null = null
  private readonly status: LineStatus[] = []
  private readonly clients = new Map<string, SnClient>()
  private readonly byEndpoint = new Map<string, SnClient>()
  private readonly secureOf = new WeakMap<SnClient, SecureSession>()
  private readonly connects = new ConnectFlow()
  private readonly reminder: HelloReminder<SnClient>
  private readonly secure = new SecureSessions((id) => this.devices.find(id))
  private readonly allRate: RateLimiter
  private readonly addressRate: RateLimiter
  private readonly timers: NodeJS.Timeout[] = []
  private stopping = false

  constructor(
    private readonly options: GatewayOptions,
    private readonly host: GatewayHost,
  ) {
    this.devices = host.devices
    this.store = new ClientStore(host.node.table<StoredClient>('mqttsn'), options.name)
    this.reminder = new HelloReminder(
      ({ endpoint }, datagram) => this.sendBytes(endpoint, datagram),
      (client) => client.isListening && !this.secureOf.has(client),
      options.retryMs,
    )
    this.allRate = new RateLimiter({ packets: options.maxPacketRate, bytes: Number.POSITIVE_INFINITY })
    this.addressRate = new RateLimiter({
      packets: options.maxPacketRatePerAddress,
      bytes: options.maxByteRatePerAddress,
    })
  }

  /** As bound, `host:port`. */
  get addresses(): readonly string[] {
    return this.status.map(({ address }) => address)
  }

  async start(): Promise<void> {
    const { listen, multicast, advertiseMs, name } = this.options
    await this.loadClients()
    try {
      for (const [via, address] of listen.entries()) {
        const socket = await bindUdp(address, (datagram, from, port) => this.receive(datagram, from, port, via))
        this.sockets.push(socket)
        const at = describeEndpoint({ ...socket.address(), nodeId: '', via })
        const status = this.host.registry.line(name, 'mqtt-sn', at)
        status.open = true
        this.status.push(status)
        this.host.logger.info('MQTT-SN gateway listening', { line: name, address: at })
      }
      if (multicast !== undefined) {
        this.groupSocket = await joinGroup(multicast, (datagram, from, port) => this.receive(datagram, from, port, 0))
        this.every(advertiseMs, () => this.advertise(multicast))
        this.advertise(multicast)
      }
    } catch (error) {
      this.stop()
      throw error
    }
    this.every(SWEEP_INTERVAL_MS, () => {
      const nowMs = this.nowMs()
      for (const client of this.clients.values()) client.sweep(nowMs)
      this.reminder.sweep(nowMs)
    })
    for (const client of this.clients.values()) {
      client.resume()
      if (this.host.authenticated && client.seal !== undefined) this.reminder.add(client, client.seal)
    }
  }

  /** Who may speak, from now on: whoever may not any more is not heard. */
  useDevices(devices: DeviceTable): void {
    this.devices = devices
    this.secure.devicesChanged()
    for (const client of this.clients.values()) {
      const known = devices.find(client.clientId)
      if (known !== null) client.known = known
    }
  }

  stop(): void {
    this.stopping = true
    for (const timer of this.timers) clearInterval(timer)
    for (const client of this.clients.values()) client.stop()
    for (const socket of this.sockets) socket.close()
    this.groupSocket?.close()
    for (const status of this.status) status.open = false
  }

  // ---- what clients ask for

  get node(): BridgeNode {
    return this.host.node
  }
  get line(): string {
    return this.options.name
  }
  get retryMs(): number {
    return this.options.retryMs
  }
  get maxRetries(): number {
    return this.options.maxRetries
  }
  get maxMessageBytes(): number {
    return this.options.maxMessageSize
  }
  get maxTopicIds(): number {
    return this.options.maxTopicIds
  }
  get authenticated(): boolean {
    return this.host.authenticated
  }
  get predefined(): ReadonlyMap<number, string> {
    return this.options.predefined
  }
  get logger(): Logger {
    return this.host.logger
  }

  nowMs(): number {
    return performance.now()
  }

  send(client: SnClient, message: SnMessage): void {
    const secure = this.secureOf.get(client) ?? null
    // After a restart a device with a key is not answered before it has said hello again.
    if (secure !== null || !this.host.authenticated) this.sendTo({ endpoint: client.endpoint, secure }, message)
  }

  heard(device: Parameters<DeviceRegistry['heard']>[0]): void {
    this.host.registry.heard(device)
  }

  removed(client: SnClient): void {
    this.clients.delete(client.clientId)
    const key = endpointKey(client.endpoint)
    if (this.byEndpoint.get(key) === client) this.byEndpoint.delete(key)
  }

  undeliverable(): void {
    this.status[0].droppedAnswers += 1
  }

  // ---- what comes in

  private receive(datagram: Buffer, address: string, port: number, via: number): void {
    if (this.stopping) return
    const status = this.status[via]
    status.receivedBytes += datagram.length
    const nowMs = this.nowMs()
    const inRate =
      this.addressRate.take(address, datagram.length, nowMs) && this.allRate.take('', datagram.length, nowMs)
    if (!inRate) {
      countRejection(status.rejected, 'limit_reached')
      return
    }
    if (datagram.length > this.options.maxMessageSize + MAX_SEAL_BYTES + FORWARDER_BYTES) {
      countRejection(status.rejected, 'too_large')
      return
    }
    const forwarded = unwrapForwarded(datagram)
    if (forwarded === 'malformed') {
      status.damagedFrames += 1
      return
    }
    const nodeId = forwarded?.nodeId.toString('hex') ?? ''
    this.unseal(forwarded?.message ?? datagram, { address, port, nodeId, via }, status)
  }

  private unseal(datagram: Buffer, endpoint: Endpoint, status: LineStatus): void {
    const opened = this.host.authenticated ? this.secure.take(datagram) : null
    if (opened === null) {
      this.decode(datagram, { endpoint, secure: null }, status)
    } else if ('session' in opened) {
      this.decode(opened.message, { endpoint, secure: opened.session }, status)
    } else {
      if ('rejected' in opened) this.reject(opened.rejected, status, opened.deviceId)
      if (opened.answer !== undefined) this.sendBytes(endpoint, opened.answer)
    }
  }

  private decode(bytes: Buffer, from: Origin, status: LineStatus): void {
    const message = bytes.length > this.options.maxMessageSize ? null : decodeMessage(bytes)
    if (message === null) status.damagedFrames += 1
    else if (message.type === 'searchgw') this.answerSearch(from)
    else if (this.host.authenticated && from.secure === null) this.reject('wrong_key', status)
    else this.dispatch(message, from, status)
  }

  private dispatch(message: SnMessage, from: Origin, status: LineStatus): void {
    const key = endpointKey(from.endpoint)
    switch (message.type) {
      case 'connect':
        this.onConnect(message, from, status)
        return
      case 'willtopic': {
        const next = this.connects.onWillTopic(key, message.will)
        if (next === null) return
        if ('type' in next) this.sendTo(from, next)
        else this.accept(next.connect, next.will, from, status)
        return
      }
      case 'willmsg': {
        const outcome = this.connects.onWillMessage(key, message.payload)
        if (outcome !== null) this.accept(outcome.connect, outcome.will, from, status)
        return
      }
    }
    const client = this.clientFor(message, from)
    if (client !== null) {
      client.heard()
      giveTo(client, message)
    } else if (message.type === 'publish' && message.qos === -1) this.publishAnonymously(message, from, status)
    else {
      this.reject('no_session', status)
      // Tells the client to connect; never in answer to what may be an answer.
      if (asksForAnswer(message)) this.sendTo(from, { type: 'disconnect', duration: null })
    }
  }

  private clientFor(message: SnMessage, { endpoint, secure }: Origin): SnClient | null {
    const named = message.type === 'pingreq' ? message.clientId : null
    if (secure !== null) {
      const client = this.clients.get(secure.device.id)
      if (client === undefined || (named !== null && named !== secure.device.id)) return null
      // Whoever has the key may be anywhere.
      this.secureBy(client, secure)
      this.bind(client, endpoint)
      return client
    }
    const here = this.byEndpoint.get(endpointKey(endpoint))
    if (named === null || here?.clientId === named) return here ?? null
    const client = this.clients.get(named)
    if (client === undefined || !isSamePlace(client.endpoint, endpoint)) return null
    this.bind(client, endpoint)
    return client
  }

  private onConnect(connect: ConnectMessage, from: Origin, status: LineStatus): void {
    const known = mayConnect(this.admission, connect, from)
    if (typeof known === 'object') {
      const key = endpointKey(from.endpoint)
      if (!connect.will) {
        this.connects.cancel(key)
        this.accept(connect, undefined, from, status)
        return
      }
      const ask = this.connects.begin(key, connect, this.nowMs())
      if (ask !== null) this.sendTo(from, ask)
      return
    }
    const [why, returnCode] = REFUSALS[known]
    this.reject(why, status)
    this.sendTo(from, { type: 'connack', returnCode })
  }

  private get admission(): Admission {
    return { options: this.options, devices: this.devices, clients: this.clients }
  }

  private accept(connect: ConnectMessage, will: StoredWill | null | undefined, from: Origin, status: LineStatus): void {
    // Once more: much may have happened while the client was asked for its will.
    const known = mayConnect(this.admission, connect, from)
    if (typeof known === 'string') {
      this.onConnect({ ...connect, will: false }, from, status)
      return
    }
    const { clientId } = connect
    const device = this.host.registry.device(this.line, 'mqtt-sn', clientId, describeEndpoint(from.endpoint))
    let client = this.clients.get(clientId)
    if (client === undefined) {
      client = new SnClient(clientId, known, device, from.endpoint, this)
      this.clients.set(clientId, client)
    }
    client.known = known
    client.device = device
    if (from.secure !== null) this.secureBy(client, from.secure)
    this.bind(client, from.endpoint)
    if (will != null && !client.mayHaveWill(will.topicName)) {
      this.reject('topic_not_allowed', status, clientId)
      this.sendTo(from, { type: 'connack', returnCode: RETURN_CODE.notSupported })
    } else client.connect(connect, will, from.endpoint)
  }

  /** QoS -1 of nobody in particular (section 6.8); with a key it is the device's. */
  private publishAnonymously(
    message: Extract<SnMessage, { type: 'publish' }>,
    { secure }: Origin,
    status: LineStatus,
  ): void {
    const { topicIdType, topicId, payload, retain } = message
    const topicName =
      topicIdType === 'predefined' ? this.predefined.get(topicId) : Buffer.of(topicId >> 8, topicId & 0xff).toString()
    const prefix = secure?.device.topicPrefix ?? this.host.anonymousPrefix
    const mqttTopic = `${prefix}${topicName}`
    if (topicIdType === 'normal' || topicName === undefined || topicNameProblem(mqttTopic) || mqttTopic[0] === '$')
      this.reject('topic_invalid', status)
    else if (prefix === null || (secure !== null && !mayUseTopic(secure.device, topicName)))
      this.reject('topic_not_allowed', status)
    else {
      const clientId = secure === null ? {} : { clientId: secure.device.id }
      try {
        this.node.publish({ mqttTopic, payload, retain, qos: 0, ...clientId }).durable.catch(() => {})
      } catch (error) {
        this.reject(rejectionOf(error), status)
      }
    }
  }

  private answerSearch(from: Origin): void {
    this.sendTo(from, { type: 'gwinfo', gatewayId: this.options.gatewayId, gatewayAddress: Buffer.alloc(0) })
  }

  private advertise({ host, port }: UdpAddress): void {
    const duration = Math.min(65_535, Math.ceil(this.options.advertiseMs / 1000))
    this.sockets[0].send(
      encodeMessage({ type: 'advertise', gatewayId: this.options.gatewayId, duration }),
      port,
      host,
      () => {},
    )
  }

  // ---- own affairs

  private async loadClients(): Promise<void> {
    for await (const [clientId, row] of this.store.all()) {
      const known = this.devices.find(clientId)
      // A device that was taken out of the configuration keeps its row: it may be put in again.
      if (known === null) continue
      const device = this.host.registry.device(this.line, 'mqtt-sn', clientId, describeEndpoint(row.endpoint))
      const client = new SnClient(clientId, known, device, row.endpoint, this, row)
      this.clients.set(clientId, client)
      this.byEndpoint.set(endpointKey(row.endpoint), client)
    }
  }

  private secureBy(client: SnClient, secure: SecureSession): void {
    this.secureOf.set(client, secure)
    client.sealedBy(secure.id.toString('hex'))
  }

  private bind(client: SnClient, endpoint: Endpoint): void {
    const key = endpointKey(endpoint)
    const before = endpointKey(client.endpoint)
    if (this.byEndpoint.get(before) === client && before !== key) this.byEndpoint.delete(before)
    this.byEndpoint.set(key, client)
    client.device.address = describeEndpoint(endpoint)
    if (before !== key || client.endpoint.via !== endpoint.via) client.moveTo(endpoint)
  }

  private reject(why: Rejection, status: LineStatus, deviceId?: string): void {
    const client = deviceId === undefined ? undefined : this.clients.get(deviceId)
    if (client === undefined) countRejection(status.rejected, why)
    else client.device.reject(why)
  }

  private sendTo({ endpoint, secure }: Origin, message: SnMessage): void {
    const bytes = encodeMessage(message)
    this.sendBytes(endpoint, secure === null ? bytes : secure.seal(bytes))
  }

  private sendBytes({ address, port, nodeId, via }: Endpoint, bytes: Buffer): void {
    const wire = nodeId === '' ? bytes : wrapForwarded(Buffer.from(nodeId, 'hex'), bytes)
    const at = via < this.sockets.length ? via : 0
    if (this.stopping) return
    this.status[at].sentBytes += wire.length
    this.sockets[at].send(wire, port, address, () => {})
  }

  private every(ms: number, then: () => void): void {
    this.timers.push(setInterval(then, ms).unref())
  }
}
