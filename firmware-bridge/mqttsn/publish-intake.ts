// What one client publishes: topic ids resolved, resends known, acknowledged once it is on disk. QoS 2 goes through the client's session at the node, which
// keeps the handshakes in the log; everything else is published directly. Created by SnClient.

import { createHash } from 'node:crypto'
import { type ErrorCode, type NodeMessage, SluiceError } from '../../src/index.js'
import type { BridgeNode } from '../devices/bridge-node.js'
import type { Device, Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { mayUseTopic, topicNameProblem } from '../devices/topic-rules.js'
import type { ClientTopics } from './client-topics.js'
import { type PublishMessage, RETURN_CODE, type SnMessage } from './messages.js'
import type { NodeSession } from './node-session.js'
import type { ResendWatch } from './resend-watch.js'

/** QoS 2 handshakes a client may have begun and not ended, inclusive; the specification has one. */
const MAX_HANDSHAKES = 8

/** What a node elsewhere says only once it has seen the message. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['INVALID_TOPIC', 'RECORD_TOO_LARGE', 'FORBIDDEN'])

export interface PublishIntakeOwner {
  readonly node: BridgeNode
  readonly known: KnownDevice
  readonly device: Device
  readonly session: NodeSession
  readonly resends: ResendWatch
  readonly topics: ClientTopics
  /** Who numbers: see RunningNode.publish. */
  readonly producerId: string
  send(message: SnMessage): void
  /** It is about to have a session at the node; durable when it resolves. */
  needsSession(): Promise<void>
  /** What is kept of it has changed: no hurry. */
  changed(): void
}

export class PublishIntake {
  /** QoS 2 messages that wait for PUBREC or PUBREL. */
  private readonly handshakes = new Set<number>()

  constructor(private readonly owner: PublishIntakeOwner) {}

  /** The session has begun anew. */
  clear(): void {
    this.handshakes.clear()
  }

  publish(message: PublishMessage): void {
    const { owner } = this
    const topicName = owner.topics.nameOf(message)
    if (topicName === undefined) {
      this.refuse(message, RETURN_CODE.invalidTopicId, 'topic_invalid')
      return
    }
    const mqttTopic = owner.known.topicPrefix + topicName
    if (topicNameProblem(topicName) || mqttTopic.startsWith('$')) {
      this.refuse(message, RETURN_CODE.notSupported, 'topic_invalid')
      return
    }
    if (!mayUseTopic(owner.known, topicName)) {
      this.refuse(message, RETURN_CODE.notSupported, 'topic_not_allowed')
      return
    }
    if (message.qos === 2) void this.beginHandshake(message, mqttTopic)
    else if (message.qos === 1) this.publishQos1(message, mqttTopic)
    else this.publishQos0(message, mqttTopic)
  }

  /** PUBREL of the client. */
  async release(messageId: number): Promise<void> {
    const link = await this.linkForQos2()
    link?.pubrel(messageId)
  }

  onPubrec(messageId: number): void {
    this.owner.send({ type: 'pubrec', messageId })
  }

  onPubcomp(messageId: number): void {
    this.handshakes.delete(messageId)
    this.owner.send({ type: 'pubcomp', messageId })
  }

  private publishQos0({ payload, retain }: PublishMessage, mqttTopic: string): void {
    try {
      this.owner.node.publish({ ...this.messageOf(mqttTopic, payload, retain), qos: 0 }).durable.catch(() => {})
      this.owner.device.count('published')
    } catch (error) {
      this.owner.device.reject(rejectionOf(error))
    }
  }

  private publishQos1(message: PublishMessage, mqttTopic: string): void {
    const { node, device, resends, producerId } = this.owner
    const { messageId, topicId, payload, retain } = message
    const fingerprint = fingerprintOf(message, mqttTopic)
    const accepted = { type: 'puback', topicId, messageId, returnCode: RETURN_CODE.accepted } as const
    const judgement = resends.judge(messageId, fingerprint, message.dup)
    if (judgement === 'pending' || judgement === 'known') {
      device.count('resends')
      if (judgement === 'known') this.owner.send(accepted)
      return
    }
    const published = this.messageOf(mqttTopic, payload, retain)
    // A copy: the datagram's bytes are not ours for longer than this call.
    const kept = judgement === 'new' ? { ...published, payload: Buffer.from(payload) } : published
    try {
      // The log keeps, in one write with the message, what the last one of this client looked like.
      const numberedBy = { id: producerId, epoch: fingerprint, sequence: 0 }
      const result = node.publish({ ...published, numberedBy })
      const { varies, counts } = resends.habits
      const mark = resends.published(messageId, fingerprint)
      if (resends.habits.varies !== varies || resends.habits.counts !== counts) this.owner.changed()
      const stored = async (): Promise<boolean> => {
        await result.durable
        if (!result.duplicate || judgement !== 'new') return result.duplicate
        await node.publish(kept).durable
        return false
      }
      stored().then(
        (isDuplicate) => {
          device.count(isDuplicate ? 'resends' : 'published')
          resends.stored(mark)
          this.owner.send(accepted)
        },
        (error) => {
          resends.failed(mark)
          // A commit that failed says nothing of the message.
          const isRefused = error instanceof SluiceError && REFUSALS.has(error.code)
          if (isRefused) this.refuse(message, returnCodeOf(error), rejectionOf(error))
          else this.refuse(message, RETURN_CODE.congestion, 'busy')
        },
      )
    } catch (error) {
      this.refuse(message, returnCodeOf(error), rejectionOf(error))
    }
  }

  private async beginHandshake(message: PublishMessage, mqttTopic: string): Promise<void> {
    const { messageId, dup, retain, payload } = message
    const isKnown = this.handshakes.has(messageId)
    if (!isKnown && this.handshakes.size >= MAX_HANDSHAKES) {
      this.refuse(message, RETURN_CODE.congestion, 'window_exceeded')
      return
    }
    this.handshakes.add(messageId)
    this.owner.device.count(isKnown || dup ? 'resends' : 'published')
    // A copy: the datagram's bytes are not ours for longer than this call.
    const copy = Buffer.from(payload)
    const link = await this.linkForQos2()
    link?.publishQos2(messageId, dup || isKnown, retain, mqttTopic, copy)
  }

  private async linkForQos2() {
    try {
      await this.owner.needsSession()
      return await this.owner.session.open()
    } catch {
      return null // the client tries again
    }
  }

  private messageOf(mqttTopic: string, payload: Uint8Array, retain: boolean): NodeMessage {
    return { mqttTopic, payload, retain, clientId: this.owner.known.id }
  }

  private refuse({ topicId, messageId, qos }: PublishMessage, returnCode: number, why: Rejection): void {
    this.owner.device.reject(why)
    if (qos !== -1) this.owner.send({ type: 'puback', topicId, messageId, returnCode })
  }
}

/** 32 bits that differ when message id, topic, payload or retain do. */
function fingerprintOf({ messageId, payload, retain }: PublishMessage, mqttTopic: string): number {
  const head = Buffer.of(messageId >> 8, messageId & 0xff, retain ? 1 : 0)
  return createHash('sha256').update(head).update(mqttTopic).update('\0').update(payload).digest().readUInt32BE(0)
}

/** What a client that may try again later is told, and one that need not. */
function returnCodeOf(error: unknown): number {
  if (!(error instanceof SluiceError)) throw error
  return error.retriable || error.code === 'STORAGE_FULL' ? RETURN_CODE.congestion : RETURN_CODE.notSupported
}

export function rejectionOf(error: unknown): Rejection {
  if (!(error instanceof SluiceError)) throw error
  if (error.code === 'INVALID_TOPIC') return 'topic_invalid'
  if (error.code === 'RECORD_TOO_LARGE') return 'too_large'
  return error.retriable ? 'busy' : 'refused'
}
