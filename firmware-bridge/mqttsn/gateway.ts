// The MQTT-SN 1.2 gateway of one [[firmware]] entry: hands each message to the client it is of, and lets new ones in. Whatever arrives costs nobody but
// its sender; what cannot be taken is counted.
//
//   datagram ─▶ limits ─▶ forwarder? ─▶ seal? ─▶ codec ─▶ client ─▶ node
//   └ sockets ┘└────────────── intake ──────────────┘└─ directory

import type { Logger } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import { countRejection, type DeviceRegistry, type LineStatus, type Rejection } from '../devices/device-registry.js'
import type { DeviceTable } from '../devices/device-table.js'
import { type Admission, mayConnect, type Origin, REFUSALS } from './admission.js'
import { publishAnonymously } from './anonymous-publish.js'
import { ClientDirectory } from './client-directory.js'
import { asksForAnswer, giveTo } from './client-messages.js'
import { ClientStore, type StoredClient, type StoredWill } from './client-store.js'
import { encodeMessage } from './codec.js'
import { ConnectFlow } from './connect-flow.js'
import { DatagramIntake, type DatagramIntakeOwner } from './datagram-intake.js'
import { describeEndpoint, type Endpoint, endpointKey } from './endpoint.js'
import type { GatewayHost, GatewayOptions } from './gateway-options.js'
import { GatewaySockets } from './gateway-sockets.js'
import { HelloReminder } from './hello-reminder.js'
import { type ConnectMessage, RETURN_CODE, type SnMessage } from './messages.js'
import { SecureSessions } from './secure-sessions.js'
import { SnClient } from './sn-client.js'
import type { SnClientHost } from './sn-client-host.js'

const SWEEP_INTERVAL_MS = 250

/** @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG. */
export async function startGateway(options: GatewayOptions, host: GatewayHost): Promise<Gateway> {
  const gateway = new Gateway(options, host)
  await gateway.start()
  return gateway
}

export class Gateway implements SnClientHost, DatagramIntakeOwner {
  readonly store: ClientStore
  readonly secure: SecureSessions | null
  private devices: DeviceTable
  private readonly sockets: GatewaySockets
  private readonly intake: DatagramIntake
  private readonly clients = new ClientDirectory()
  private readonly connects = new ConnectFlow()
  private readonly reminder: HelloReminder<SnClient>
  private timer: NodeJS.Timeout | undefined
  private stopping = false

  constructor(
    private readonly options: GatewayOptions,
    private readonly host: GatewayHost,
  ) {
    this.devices = host.devices
    this.secure = host.authenticated ? new SecureSessions((id) => this.devices.find(id)) : null
    this.store = new ClientStore(host.node.table<StoredClient>('mqttsn'), options.name)
    this.intake = new DatagramIntake(options, this)
    this.sockets = new GatewaySockets(options, host, (datagram, address, port, via) => {
      if (!this.stopping) this.intake.take(datagram, { address, port, via }, this.sockets.status[via])
    })
    this.reminder = new HelloReminder(
      ({ endpoint }, datagram) => this.sockets.send(endpoint, datagram),
      (client) => client.isListening && this.clients.sessionOf(client) === null,
      options.retryMs,
    )
  }

  /** As bound, `host:port`. */
  get addresses(): readonly string[] {
    return this.sockets.status.map(({ address }) => address)
  }

  async start(): Promise<void> {
    await this.loadClients()
    try {
      await this.sockets.open()
    } catch (error) {
      this.stop()
      throw error
    }
    this.timer = setInterval(() => {
      const nowMs = this.nowMs()
      for (const client of this.clients.byId.values()) client.presence.sweep(nowMs)
      this.reminder.sweep(nowMs)
    }, SWEEP_INTERVAL_MS).unref()
    for (const client of this.clients.byId.values()) {
      client.presence.resume()
      if (this.host.authenticated && client.seal !== undefined) this.reminder.add(client, client.seal)
    }
  }

  /** Who may speak, from now on: whoever may not any more is not heard. */
  useDevices(devices: DeviceTable): void {
    this.devices = devices
    this.secure?.devicesChanged()
    for (const client of this.clients.byId.values()) {
      const known = devices.find(client.clientId)
      if (known !== null) client.known = known
    }
  }

  stop(): void {
    this.stopping = true
    clearInterval(this.timer)
    this.sockets.close()
    for (const client of this.clients.byId.values()) client.presence.stop()
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
    const secure = this.clients.sessionOf(client)
    // After a restart a device with a key is not answered before it has said hello again.
    if (secure !== null || !this.host.authenticated) this.sendTo({ endpoint: client.endpoint, secure }, message)
  }

  heard(device: Parameters<DeviceRegistry['heard']>[0]): void {
    this.host.registry.heard(device)
  }

  removed(client: SnClient): void {
    this.clients.remove(client)
  }

  undeliverable(): void {
    this.sockets.status[0].droppedAnswers += 1
  }

  // ---- what comes in

  onMessage(message: SnMessage, from: Origin, status: LineStatus): void {
    const key = endpointKey(from.endpoint)
    switch (message.type) {
      case 'searchgw':
        this.sendTo(from, { type: 'gwinfo', gatewayId: this.options.gatewayId, gatewayAddress: Buffer.alloc(0) })
        return
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
    const client = this.clients.whose(message, from)
    if (client !== null) {
      client.heard()
      giveTo(client, message)
    } else if (message.type === 'publish' && message.qos === -1) {
      const { node, predefined } = this
      const { anonymousPrefix } = this.host
      const why = publishAnonymously(message, from.secure?.device ?? null, { node, predefined, anonymousPrefix })
      if (why !== null) this.reject(why, status)
    } else {
      this.reject('no_session', status)
      // Tells the client to connect; never in answer to what may be an answer.
      if (asksForAnswer(message)) this.sendTo(from, { type: 'disconnect', duration: null })
    }
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
    return { options: this.options, devices: this.devices, clients: this.clients.byId }
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
    let client = this.clients.byId.get(clientId)
    if (client === undefined) {
      client = new SnClient(clientId, known, device, from.endpoint, this)
      this.clients.add(client)
    }
    client.known = known
    client.device = device
    if (from.secure !== null) this.clients.secureBy(client, from.secure)
    this.clients.bind(client, from.endpoint)
    if (will != null && !client.will.mayBeOn(will.topicName)) {
      this.reject('topic_not_allowed', status, clientId)
      this.sendTo(from, { type: 'connack', returnCode: RETURN_CODE.notSupported })
    } else client.presence.connect(connect, will, from.endpoint)
  }

  reject(why: Rejection, status: LineStatus, deviceId?: string): void {
    const client = deviceId === undefined ? undefined : this.clients.byId.get(deviceId)
    if (client === undefined) countRejection(status.rejected, why)
    else client.device.reject(why)
  }

  answer(endpoint: Endpoint, bytes: Buffer): void {
    this.sockets.send(endpoint, bytes)
  }

  // ---- own affairs

  private async loadClients(): Promise<void> {
    for await (const [clientId, row] of this.store.all()) {
      const known = this.devices.find(clientId)
      // A device that was taken out of the configuration keeps its row: it may be put in again.
      if (known === null) continue
      const device = this.host.registry.device(this.line, 'mqtt-sn', clientId, describeEndpoint(row.endpoint))
      this.clients.add(new SnClient(clientId, known, device, row.endpoint, this, row))
    }
  }

  private sendTo({ endpoint, secure }: Origin, message: SnMessage): void {
    const bytes = encodeMessage(message)
    this.sockets.send(endpoint, secure === null ? bytes : secure.seal(bytes))
  }
}
