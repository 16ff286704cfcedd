// One MQTT-SN client: its state, and what it asks for. What is kept of it is durable before it is told so.
//
//            CONNECT                DISCONNECT, silence
//   gone ───────────────▶ active ───────────────────────▶ gone           a clean one is forgotten then
//                          │  ▲
//    DISCONNECT + duration │  │ CONNECT
//                          ▼  │
//                         asleep ──PINGREQ + client id──▶ awake ──all delivered: PINGRESP──▶ asleep
//
// Procedures that wait for the disk or the node run one after the other per client; PUBLISH and acknowledgements pass them by.

import type { Logger } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import type { Device, Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { mayUseTopic, topicNameProblem } from '../devices/topic-rules.js'
import type { ClientState, ClientStore, StoredClient, StoredWill } from './client-store.js'
import type { NamedTopic } from './delivery-queue.js'
import { type Endpoint, endpointKey } from './endpoint.js'
import type { ConnectMessage, PublishMessage, SnMessage, SnMessageOf } from './messages.js'
import { RETURN_CODE } from './messages.js'
import { NodeSession, type NodeSessionOwner } from './node-session.js'
import { PublishIntake, type PublishIntakeOwner } from './publish-intake.js'
import { ResendWatch } from './resend-watch.js'
import { Subscriptions, type SubscriptionsOwner } from './subscriptions.js'
import { TopicIds } from './topic-ids.js'

/** Procedures that wait for those before them, inclusive; more are dropped, and the client asks again. */
const MAX_WAITING = 16
/** A client is given up after so many times its keepalive or sleep of silence. */
const TOLERANCE = 1.5
/** The same CONNECT once more within this time is a copy that the network or an impatient client made. */
const COPY_MS = 3000
const AWAKE_CHECK_MS = 20
/** Of a node that cannot say whether there is more. */
const AWAKE_SILENCE_MS = 250

export interface SnClientHost {
  readonly node: BridgeNode
  readonly store: ClientStore
  readonly line: string
  readonly retryMs: number
  readonly maxRetries: number
  readonly maxMessageBytes: number
  readonly maxTopicIds: number
  /** Clients speak under the seal. */
  readonly authenticated: boolean
  /** Topic name, without the prefix, by predefined id. */
  readonly predefined: ReadonlyMap<number, string>
  readonly logger: Logger
  nowMs(): number
  send(client: SnClient, message: SnMessage): void
  heard(device: Device): void
  /** Its session is over and forgotten. */
  removed(client: SnClient): void
  /** A message for it was too large or its topic could not be named. */
  undeliverable(): void
}

export class SnClient implements NodeSessionOwner, PublishIntakeOwner, SubscriptionsOwner {
  state: ClientState = 'gone'
  readonly session: NodeSession
  readonly resends: ResendWatch
  readonly topicIds: TopicIds
  readonly producerId: string
  /** By which the device knows the session it speaks under, in hex. */
  private sealSession: string | undefined
  private readonly intake: PublishIntake
  private readonly subscriptions: Subscriptions
  private readonly predefinedUsed: Set<number>
  private keepaliveSeconds = 0
  private sleepSeconds = 0
  private clean = true
  private hasSession = false
  private will: StoredWill | null = null
  private lastHeardMs: number
  private awake = false
  private awakeTimer: NodeJS.Timeout | undefined
  private procedures: Promise<void> = Promise.resolve()
  private waiting = 0
  private ending = false
  private lastConnect: { readonly key: string; readonly atMs: number } | null = null

  constructor(
    readonly clientId: string,
    public known: KnownDevice,
    public device: Device,
    public endpoint: Endpoint,
    private readonly host: SnClientHost,
    stored?: StoredClient,
  ) {
    this.producerId = `mqttsn/${host.line}/${clientId}`
    this.session = new NodeSession(host.node, this.producerId, this)
    this.intake = new PublishIntake(this)
    this.subscriptions = new Subscriptions(this, stored?.filters)
    this.topicIds = new TopicIds(host.maxTopicIds, stored?.topicIds)
    this.predefinedUsed = new Set(stored?.predefined)
    this.resends = new ResendWatch(stored?.habits, host.authenticated)
    this.lastHeardMs = host.nowMs()
    if (stored === undefined) return
    this.state = stored.state
    this.keepaliveSeconds = stored.keepaliveSeconds
    this.sleepSeconds = stored.sleepSeconds
    this.clean = stored.clean
    this.hasSession = stored.hasSession
    this.will = stored.will
    this.sealSession = stored.seal
  }

  row(): StoredClient {
    const { state, endpoint, keepaliveSeconds, sleepSeconds, clean, will, hasSession } = this
    const kept = { state, endpoint, keepaliveSeconds, sleepSeconds, clean, will, hasSession }
    const filters = this.subscriptions.rows()
    const predefined = [...this.predefinedUsed]
    const seal = this.sealSession === undefined ? {} : { seal: this.sealSession }
    return { ...kept, filters, topicIds: this.topicIds.rows(), predefined, habits: this.resends.habits, ...seal }
  }

  get node(): BridgeNode {
    return this.host.node
  }
  get retryMs(): number {
    return this.host.retryMs
  }
  get maxRetries(): number {
    return this.host.maxRetries
  }
  get maxMessageBytes(): number {
    return this.host.maxMessageBytes
  }
  get topicPrefix(): string {
    return this.known.topicPrefix
  }
  get seal(): string | undefined {
    return this.sealSession
  }
  /** For people: what `sluice devices` shows. */
  get isListening(): boolean {
    return this.state === 'active' || this.awake
  }

  /** After a restart: goes on as if there had been none. */
  resume(): void {
    this.device.connected = this.state === 'active'
    if (this.state === 'active' && this.hasSession) void this.session.open()
    else if (this.state === 'gone' && this.clean) this.run(() => this.forget())
  }

  /** The gateway stops: clients are not told, they are to find everything as it was. */
  stop(): void {
    clearTimeout(this.awakeTimer)
    this.ending = true
    this.session.suspend()
  }

  /** A message from it has come, and is its own. */
  heard(): void {
    this.lastHeardMs = this.host.nowMs()
    this.host.heard(this.device)
  }

  /** Now and then: gives the client up when it has been silent for too long. */
  sweep(nowMs: number): void {
    const seconds = this.state === 'active' ? this.keepaliveSeconds : this.state === 'asleep' ? this.sleepSeconds : 0
    if (seconds > 0 && nowMs - this.lastHeardMs > seconds * 1000 * TOLERANCE) this.lose('silent for too long')
  }

  // ---- procedures

  /** @param will What the client said of its will when it was asked: null takes an old one away; undefined leaves it. */
  connect(connect: ConnectMessage, will: StoredWill | null | undefined, from: Endpoint): void {
    const key = JSON.stringify([connect, will === undefined, endpointKey(from)])
    this.run(async () => {
      const { lastConnect } = this
      const isCopy = lastConnect?.key === key && this.host.nowMs() - lastConnect.atMs < COPY_MS
      if (!isCopy || this.state !== 'active') await this.begin(connect, will, from)
      this.lastConnect = { key, atMs: this.host.nowMs() }
      this.send({ type: 'connack', returnCode: RETURN_CODE.accepted })
      if (this.hasSession) void this.session.open()
    })
  }

  /** @param duration Seconds of sleep; null or 0: the client leaves. */
  disconnect(duration: number | null): void {
    this.run(async () => {
      if (this.state === 'gone') {
        this.send({ type: 'disconnect', duration: null })
        return
      }
      this.quiet()
      this.state = duration ? 'asleep' : 'gone'
      this.sleepSeconds = duration ?? 0
      this.device.connected = false
      await this.save()
      this.send({ type: 'disconnect', duration: null })
      if (this.state === 'gone' && this.clean) await this.forget()
    })
  }

  /** @param clientId As it came: an asleep client says with it that it is awake. */
  ping(clientId: string | null): void {
    if (this.state === 'gone') this.send({ type: 'disconnect', duration: null })
    else if (this.state === 'active' || clientId === null || !this.hasSession) this.send({ type: 'pingresp' })
    else if (!this.awake) {
      this.awake = true
      void this.session.open()
      this.checkAwake()
    }
  }

  register({ messageId, topicName }: SnMessageOf<'register'>): void {
    if (!this.mustBeConnected()) return
    const allowed = topicNameProblem(topicName) === null && mayUseTopic(this.known, topicName)
    if (!allowed) this.device.reject('topic_not_allowed')
    const topicId = allowed ? this.topicIds.register(topicName) : null
    if (allowed && topicId === null) this.device.reject('limit_reached')
    if (topicId === null) {
      const returnCode = RETURN_CODE.notSupported
      this.send({ type: 'regack', topicId: 0, messageId, returnCode })
      return
    }
    this.run(async () => {
      await this.save()
      this.send({ type: 'regack', topicId, messageId, returnCode: RETURN_CODE.accepted })
    })
  }

  publish(message: PublishMessage): void {
    if (message.qos === -1 || this.mustBeConnected()) this.intake.publish(message)
  }

  pubrel(messageId: number): void {
    if (this.mustBeConnected()) void this.intake.release(messageId)
  }

  subscribe(message: SnMessageOf<'subscribe'>): void {
    if (this.mustListen())
      this.run(() => {
        this.hasSession = true
        return this.subscriptions.subscribe(message, this.host.nowMs(), 2 * this.retryMs)
      })
  }

  unsubscribe(message: SnMessageOf<'unsubscribe'>): void {
    if (this.mustListen()) this.run(() => this.subscriptions.unsubscribe(message))
  }

  updateWillTopic({ will }: SnMessageOf<'willtopicupd'>): void {
    if (!this.mustBeConnected()) return
    const allowed = will === null || this.mayHaveWill(will.willTopic)
    if (allowed)
      this.will = will && {
        topicName: will.willTopic,
        qos: will.qos,
        retain: will.retain,
        payload: this.will?.payload ?? NOTHING,
      }
    this.answerWill('willtopicresp', allowed)
  }

  updateWillMessage({ payload }: SnMessageOf<'willmsgupd'>): void {
    if (!this.mustBeConnected()) return
    if (this.will !== null) this.will = { ...this.will, payload: Buffer.from(payload) }
    this.answerWill('willmsgresp', this.will !== null)
  }

  mayHaveWill(topicName: string): boolean {
    const fits = topicNameProblem(topicName) === null && !`${this.topicPrefix}${topicName}`.startsWith('$')
    return fits && mayUseTopic(this.known, topicName)
  }

  /** It speaks under this session of the seal. */
  sealedBy(session: string): void {
    if (this.sealSession === session) return
    this.sealSession = session
    this.changed()
  }

  /** Its datagrams come from elsewhere now. */
  moveTo(endpoint: Endpoint): void {
    this.endpoint = endpoint
    this.changed()
  }

  // ---- what intake and node session ask for

  send(message: SnMessage): void {
    this.host.send(this, message)
  }

  topicNameOf({ topicIdType, topicId }: PublishMessage): string | undefined {
    if (topicIdType === 'normal') return this.topicIds.nameOf(topicId)
    if (topicIdType === 'short') return shortTopicName(topicId)
    return this.predefinedName(topicId)
  }

  predefinedName(topicId: number): string | undefined {
    const topicName = this.host.predefined.get(topicId)
    if (topicName !== undefined) this.usePredefined(topicId)
    return topicName
  }

  registerTopic(topicName: string): number | null {
    return this.topicIds.register(topicName)
  }

  reject(why: Rejection): void {
    this.device.reject(why)
  }

  qosTowardsClient(topicName: string, nodeQos: 0 | 1 | 2): 0 | 1 | 2 {
    return this.subscriptions.qosTowardsClient(topicName, nodeQos)
  }

  async topicFor(topicName: string): Promise<NamedTopic | null> {
    const short = Buffer.from(topicName)
    if (short.length === 2) return { topicIdType: 'short', topicId: short.readUInt16BE(0), confirmed: true }
    for (const topicId of this.predefinedUsed)
      if (this.host.predefined.get(topicId) === topicName)
        return { topicIdType: 'predefined', topicId, confirmed: true }
    const assigned = this.topicIds.assign(topicName)
    if (assigned === null) return null
    const { topicId, isNew } = assigned
    // The client may publish to it as soon as it knows it.
    if (isNew) await this.save()
    return { topicIdType: 'normal', topicId, confirmed: this.topicIds.isConfirmed(topicId) }
  }

  confirmTopic(topicId: number, confirmed: boolean): void {
    this.topicIds.confirm(topicId, confirmed)
  }

  async needsSession(): Promise<void> {
    if (this.hasSession) return
    this.hasSession = true
    await this.save()
  }

  delivered(taken: boolean): void {
    if (taken) this.device.count('delivered')
    else this.host.undeliverable()
  }

  onPubrec(messageId: number): void {
    this.intake.onPubrec(messageId)
  }

  onPubcomp(messageId: number): void {
    this.intake.onPubcomp(messageId)
  }

  idle(): void {
    if (this.awake) this.checkAwake()
  }

  gaveUp(): void {
    if (this.awake) this.quiet()
    else this.lose('it does not answer')
  }

  changed(): void {
    this.save().catch((error) =>
      this.host.logger.warn('a client could not be stored', { client: this.clientId, error }),
    )
  }

  // ---- own affairs

  save(): Promise<void> {
    return this.host.store.save(this)
  }

  private async begin(connect: ConnectMessage, will: StoredWill | null | undefined, from: Endpoint): Promise<void> {
    this.quiet()
    if (connect.cleanSession) {
      if (this.hasSession) await this.session.end()
      this.hasSession = false
      this.topicIds.clear()
      this.predefinedUsed.clear()
      this.subscriptions.clear()
      this.intake.clear()
      this.will = null
    } else this.topicIds.doubtAll()
    this.resends.reconnected(connect.cleanSession)
    this.subscriptions.reconnected()
    if (will !== undefined) this.will = will
    this.clean = connect.cleanSession
    this.keepaliveSeconds = connect.duration
    this.sleepSeconds = 0
    this.state = 'active'
    this.endpoint = from
    this.device.connected = true
    this.heard()
    await this.save()
  }

  private usePredefined(topicId: number): void {
    if (this.predefinedUsed.has(topicId)) return
    this.predefinedUsed.add(topicId)
    this.changed()
  }

  private answerWill(type: 'willtopicresp' | 'willmsgresp', accepted: boolean): void {
    this.run(async () => {
      if (accepted) await this.save()
      this.send({ type, returnCode: accepted ? RETURN_CODE.accepted : RETURN_CODE.notSupported })
    })
  }

  /** A message that needs a session tells a client without one to connect. */
  private mustBeConnected(): boolean {
    if (this.state !== 'gone') return true
    this.device.reject('no_session')
    this.send({ type: 'disconnect', duration: null })
    return false
  }

  private mustListen(): boolean {
    if (this.isListening) return true
    this.device.reject('no_session')
    this.send({ type: 'disconnect', duration: null })
    return false
  }

  private checkAwake(): void {
    clearTimeout(this.awakeTimer)
    if (!this.awake) return
    if (this.session.isCaughtUp(performance.now(), AWAKE_SILENCE_MS)) {
      this.quiet()
      this.send({ type: 'pingresp' })
    } else this.awakeTimer = setTimeout(() => this.checkAwake(), AWAKE_CHECK_MS).unref()
  }

  /** Delivers nothing any more. */
  private quiet(): void {
    clearTimeout(this.awakeTimer)
    this.awake = false
    this.session.suspend()
  }

  /** Gone without a goodbye: its will is published, as soon as the log takes it. */
  private lose(reason: string): void {
    if (this.ending) return
    this.ending = true
    const { lastHeardMs } = this
    this.run(async () => {
      try {
        if (lastHeardMs !== this.lastHeardMs && reason !== 'it does not answer') return
        this.host.logger.info('client lost', { client: this.clientId, reason })
        this.quiet()
        if (this.will !== null) await this.publishWill(this.will)
        this.state = 'gone'
        this.device.connected = false
        await this.save()
        if (this.clean) await this.forget()
      } finally {
        this.ending = false
        // The will could not be published: until it can, nothing has changed.
        if (this.state === 'active' && this.hasSession) void this.session.open()
      }
    })
  }

  private async publishWill({ topicName, payload, qos, retain }: StoredWill): Promise<void> {
    const mqttTopic = this.topicPrefix + topicName
    await this.host.node.publish({ mqttTopic, payload, qos, retain, clientId: this.clientId }).durable
  }

  private async forget(): Promise<void> {
    if (this.hasSession) await this.session.end()
    this.hasSession = false
    this.topicIds.clear()
    await this.host.store.remove(this.clientId)
    this.host.removed(this)
  }

  /** After what was begun before. What fails is left to the client, or to the next sweep, to try again. */
  private run(procedure: () => Promise<void>): void {
    if (this.waiting >= MAX_WAITING) {
      this.device.reject('busy')
      return
    }
    this.waiting += 1
    this.procedures = this.procedures
      .then(procedure)
      .catch((error) => this.host.logger.warn('a request was not carried out', { client: this.clientId, error }))
      .finally(() => {
        this.waiting -= 1
      })
  }
}

const NOTHING = Buffer.alloc(0)

function shortTopicName(topicId: number): string | undefined {
  const name = Buffer.of(topicId >> 8, topicId & 0xff).toString()
  return Buffer.byteLength(name) === 2 && !name.includes('\ufffd') ? name : undefined
}
