// One MQTT-SN client: what it asks for, and what its parts ask of each other. Whether it is there is ClientPresence's.
//
// Procedures that wait for the disk or the node run one after the other per client; PUBLISH and acknowledgements pass them by.

import type { Logger } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import type { Device, Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { mayUseTopic, topicNameProblem } from '../devices/topic-rules.js'
import { ClientPresence, type ClientPresenceOwner } from './client-presence.js'
import type { ClientState, StoredClient, StoredWill } from './client-store.js'
import { ClientTopics } from './client-topics.js'
import { ClientWill } from './client-will.js'
import type { NamedTopic } from './delivery-queue.js'
import type { Endpoint } from './endpoint.js'
import { type PublishMessage, RETURN_CODE, type SnMessage, type SnMessageOf } from './messages.js'
import { NodeSession, type NodeSessionOwner } from './node-session.js'
import { ProcedureQueue } from './procedure-queue.js'
import { PublishIntake, type PublishIntakeOwner } from './publish-intake.js'
import { ResendWatch } from './resend-watch.js'
import type { SnClientHost } from './sn-client-host.js'
import { Subscriptions, type SubscriptionsOwner } from './subscriptions.js'

export class SnClient implements ClientPresenceOwner, NodeSessionOwner, PublishIntakeOwner, SubscriptionsOwner {
  readonly session: NodeSession
  readonly resends: ResendWatch
  readonly topics: ClientTopics
  readonly will: ClientWill
  readonly presence: ClientPresence
  readonly producerId: string
  /** By which the device knows the session it speaks under, in hex. */
  private sealSession: string | undefined
  private readonly intake: PublishIntake
  private readonly subscriptions: Subscriptions
  private readonly procedures: ProcedureQueue

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
    this.topics = new ClientTopics(this, host.predefined, host.maxTopicIds, stored)
    this.will = new ClientWill(this, stored?.will ?? null)
    this.presence = new ClientPresence(this, stored)
    this.procedures = new ProcedureQueue((error) =>
      host.logger.warn('a request was not carried out', { client: clientId, error }),
    )
    this.resends = new ResendWatch(stored?.habits, host.authenticated)
    this.sealSession = stored?.seal
  }

  row(): StoredClient {
    const { endpoint, sealSession } = this
    return {
      ...this.presence.row(),
      ...this.topics.rows(),
      endpoint,
      will: this.will.stored,
      filters: this.subscriptions.rows(),
      habits: this.resends.habits,
      ...(sealSession !== undefined && { seal: sealSession }),
    }
  }

  get state(): ClientState {
    return this.presence.state
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
  get isListening(): boolean {
    return this.presence.isListening
  }
  get logger(): Logger {
    return this.host.logger
  }

  /** A message from it has come, and is its own. */
  heard(): void {
    this.presence.heard()
    this.host.heard(this.device)
  }

  // ---- what the client asks for

  register({ messageId, topicName }: SnMessageOf<'register'>): void {
    if (!this.mustBeConnected()) return
    const allowed = topicNameProblem(topicName) === null && mayUseTopic(this.known, topicName)
    if (!allowed) this.device.reject('topic_not_allowed')
    const topicId = allowed ? this.topics.register(topicName) : null
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
    if (this.mustBe(this.isListening))
      this.run(() => {
        this.presence.hasSession = true
        return this.subscriptions.subscribe(message, this.nowMs(), 2 * this.retryMs)
      })
  }

  unsubscribe(message: SnMessageOf<'unsubscribe'>): void {
    if (this.mustBe(this.isListening)) this.run(() => this.subscriptions.unsubscribe(message))
  }

  updateWillTopic(message: SnMessageOf<'willtopicupd'>): void {
    if (this.mustBeConnected()) this.answerWill('willtopicresp', this.will.updateTopic(message))
  }

  updateWillMessage(message: SnMessageOf<'willmsgupd'>): void {
    if (this.mustBeConnected()) this.answerWill('willmsgresp', this.will.updateMessage(message))
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

  // ---- what its parts ask for

  nowMs(): number {
    return this.host.nowMs()
  }

  /** After what was begun before. */
  run(procedure: () => Promise<void>): void {
    if (!this.procedures.run(procedure)) this.device.reject('busy')
  }

  begin(cleanSession: boolean, will: StoredWill | null | undefined, from: Endpoint): void {
    if (cleanSession) {
      this.topics.clear()
      this.subscriptions.clear()
      this.intake.clear()
      this.will.stored = null
    } else this.topics.doubtAll()
    this.resends.reconnected(cleanSession)
    this.subscriptions.reconnected()
    if (will !== undefined) this.will.stored = will
    this.endpoint = from
  }

  publishWill(): Promise<void> {
    return this.will.publish()
  }

  async remove(): Promise<void> {
    this.topics.clear()
    await this.host.store.remove(this.clientId)
    this.host.removed(this)
  }

  send(message: SnMessage): void {
    this.host.send(this, message)
  }

  reject(why: Rejection): void {
    this.device.reject(why)
  }

  qosTowardsClient(topicName: string, nodeQos: 0 | 1 | 2): 0 | 1 | 2 {
    return this.subscriptions.qosTowardsClient(topicName, nodeQos)
  }

  topicFor(topicName: string): Promise<NamedTopic | null> {
    return this.topics.topicFor(topicName)
  }

  confirmTopic(topicId: number, confirmed: boolean): void {
    this.topics.confirm(topicId, confirmed)
  }

  needsSession(): Promise<void> {
    return this.presence.needsSession()
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
    this.presence.idle()
  }

  gaveUp(): void {
    this.presence.gaveUp()
  }

  changed(): void {
    this.save().catch((error) =>
      this.host.logger.warn('a client could not be stored', { client: this.clientId, error }),
    )
  }

  save(): Promise<void> {
    return this.host.store.save(this)
  }

  // ---- own affairs

  private answerWill(type: 'willtopicresp' | 'willmsgresp', accepted: boolean): void {
    this.run(async () => {
      if (accepted) await this.save()
      this.send({ type, returnCode: accepted ? RETURN_CODE.accepted : RETURN_CODE.notSupported })
    })
  }

  private mustBeConnected(): boolean {
    return this.mustBe(this.state !== 'gone')
  }

  /** A message that needs a session tells a client without one to connect. */
  private mustBe(there: boolean): boolean {
    if (there) return true
    this.device.reject('no_session')
    this.send({ type: 'disconnect', duration: null })
    return false
  }
}
