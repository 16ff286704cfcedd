// Takes PUBLISH and PUBREL of one connection into the publish path and queues their acknowledgements. The hot path of the broker: for QoS 0
// and 1 no object, view or closure is made per message.
//
//   PUBLISH body = topic-name [packet-identifier] payload      topic-name: u16 length, UTF-8; identifier: u16, above QoS 0 only

import { SluiceError } from '../base/errors.js'
import type { Commit } from '../log/types.js'
import type { Qos } from '../record/record.js'
import { type AckQueue, PUBACK, PUBCOMP, PUBREC } from './ack-queue.js'
import type { MqttLimits } from './mqtt-limits.js'
import type { NodeLinks } from './node-links.js'
import type { PublishPath } from './publish-path.js'
import { isBridgeState } from './reserved-topics.js'
import { type InvalidTopic, type Router, sameBytes, type TopicEntry } from './router.js'
import type { Session } from './session.js'
import { SettableCommit } from './settable-commit.js'

export interface IntakeHost {
  readonly limits: MqttLimits
  readonly router: Router
  readonly publishPath: PublishPath
  /** null: nothing is taken from other nodes. */
  readonly nodes: NodeLinks | null
  mayPublish(session: Session, mqttTopic: string): boolean
}

export interface IntakeGate {
  /** Closes: the packet breaks the protocol. */
  onViolation(problem: string, limit?: 'handshakes'): void
  /** Reads nothing more until then; the packet at hand is offered again. */
  holdUntil(room: Promise<void>): void
  /** @returns null if the next may come at once, else when it may. */
  receiveFromNode(payload: Buffer): Promise<void> | null
  /** A QoS 0 message to a topic where it may not publish has been dropped; said of the first. */
  onDenied(mqttTopic: string): void
  /** Reads nothing more for good: what is queued is acknowledged up to what has failed, then the connection ends. */
  stopReading(reason: string): void
}

const RETAIN = 1
const MAX_REMEMBERED_PERMISSIONS = 256
const REFUSED = SettableCommit.settled(new SluiceError('FORBIDDEN', 'publishing to this topic is not allowed'))

export class PublishIntake {
  private lastEntry: TopicEntry | null = null
  private lastEntryAllowed = false
  private hasToldDenied = false
  private readonly permissions = new Map<string, boolean>()

  constructor(
    private readonly session: Session,
    private readonly gate: IntakeGate,
    private readonly host: IntakeHost,
    private readonly acks: AckQueue,
  ) {}

  /**
   * One PUBLISH, whose body is buffer[bodyStart, end). The header has been judged already (header-problem.ts).
   * @returns false if there is no room for it now.
   */
  publish(buffer: Buffer, firstByte: number, bodyStart: number, end: number): boolean {
    const qos = ((firstByte >> 1) & 3) as Qos
    const topicStart = bodyStart + 2
    const topicEnd = topicStart + ((buffer[bodyStart] << 8) | buffer[bodyStart + 1])
    const payloadStart = qos === 0 ? topicEnd : topicEnd + 2
    if (payloadStart > end) return this.violated('PUBLISH is cut short')
    let entry = this.lastEntry
    if (entry === null || !sameBytes(entry.bytes, buffer, topicStart, topicEnd)) {
      const found = this.lookUp(buffer, topicStart, topicEnd)
      if ('problem' in found) return this.violated(`topic ${found.problem}`)
      entry = found
    }
    const packetId = qos === 0 ? 0 : (buffer[topicEnd] << 8) | buffer[topicEnd + 1]
    if (qos > 0 && packetId === 0) return this.violated('packet identifier is 0') // [MQTT-2.3.1-1]
    if (!this.lastEntryAllowed) return this.deny(qos, packetId, entry)
    // A copy: what a node sends is stored as it came, after the chunk has gone.
    if (entry.forNodes) return this.publishFromNode(qos, packetId, Buffer.from(buffer.subarray(payloadStart, end)))
    const retain = (firstByte & RETAIN) !== 0
    if (qos === 2) return this.publishQos2(entry, packetId, retain, buffer, payloadStart, end)
    const { publishPath } = this.host
    if (!publishPath.hasRoom(entry, qos, retain)) return this.wait(entry)
    let commit: Commit | null
    try {
      commit = publishPath.publish(entry, this.session, qos, retain, buffer, payloadStart, end)
    } catch (error) {
      commit = this.refusedByLog(error, qos)
    }
    if (qos === 1) this.acks.push(PUBACK, packetId, commit) // [MQTT-4.3.2-2]
    return true
  }

  /** The protocol between nodes has acknowledgements of its own: a PUBACK says no more than that it was read. */
  private publishFromNode(qos: Qos, packetId: number, payload: Buffer): true {
    if (qos !== 1) return this.violated('a node publishes at QoS 1')
    const ready = this.gate.receiveFromNode(payload)
    this.acks.push(PUBACK, packetId, null)
    if (ready !== null) this.gate.holdUntil(ready)
    return true
  }

  /** PUBREL: the end of a QoS 2 handshake. An unknown identifier is answered too: the PUBCOMP before may have been lost. */
  release(packetId: number): void {
    this.acks.push(PUBCOMP, packetId, this.session.received.release(packetId))
  }

  /** The access rules have changed: what was allowed is asked again. */
  forgetPermissions(): void {
    this.permissions.clear()
    this.lastEntry = null
    this.hasToldDenied = false
  }

  private publishQos2(
    entry: TopicEntry,
    packetId: number,
    retain: boolean,
    buffer: Buffer,
    start: number,
    end: number,
  ): boolean {
    const { limits, publishPath } = this.host
    const { session } = this
    let commit = session.received.find(packetId)
    if (commit === undefined) {
      if (!publishPath.hasRoom(entry, 2, retain)) return this.wait(entry)
      const maximum = session.clean ? limits.maxQos2HandshakesPerClient : limits.maxDurableQos2HandshakesPerClient
      if (session.received.size >= maximum)
        return this.violated(`more than ${maximum} QoS 2 handshakes begun and not ended`, 'handshakes')
      try {
        commit = session.received.take(packetId, entry.stream, () =>
          publishPath.publish(entry, session, 2, retain, buffer, start, end),
        )
      } catch (error) {
        commit = this.refusedByLog(error, 2)
      }
    }
    // A crash may have come between the record and the retained message.
    else if (retain && session.received.isRestored(packetId))
      commit = publishPath.retainAgain(entry, session, Buffer.from(buffer.subarray(start, end)), commit)
    this.acks.push(PUBREC, packetId, commit) // [MQTT-4.3.3-2]
    return true
  }

  private lookUp(buffer: Buffer, start: number, end: number): TopicEntry | InvalidTopic {
    const found = this.host.router.resolve(buffer, start, end)
    if ('problem' in found) return found
    let allowed = this.permissions.get(found.mqttTopic)
    if (allowed === undefined) {
      allowed = !found.reserved && (!found.forNodes || this.host.nodes?.upTopic === found.mqttTopic)
      allowed &&= this.host.mayPublish(this.session, found.mqttTopic)
      if (this.permissions.size >= MAX_REMEMBERED_PERMISSIONS) this.permissions.clear()
      this.permissions.set(found.mqttTopic, allowed)
    }
    this.lastEntry = found
    this.lastEntryAllowed = allowed
    return found
  }

  private violated(problem: string, limit?: 'handshakes'): true {
    this.gate.onViolation(problem, limit)
    return true
  }

  private wait(entry: TopicEntry): false {
    this.gate.holdUntil(this.host.publishPath.whenRoom(entry))
    return false
  }

  /**
   * MQTT 3.1.1 has no negative acknowledgement: QoS 0 is dropped, above that the connection ends [MQTT-3.3.5-2]. Not for what a bridge says
   * of its own link, which it sends first of all: it is acknowledged and forgotten, or no bridge with an ACL would ever stay.
   */
  private deny(qos: Qos, packetId: number, entry: TopicEntry): true {
    this.host.publishPath.refused += 1
    if (qos === 0) {
      if (!this.hasToldDenied) this.gate.onDenied(entry.mqttTopic)
      this.hasToldDenied = true
      return true
    }
    if (isBridgeState(entry.mqttTopic)) {
      this.acks.push(qos === 1 ? PUBACK : PUBREC, packetId, null)
      return true
    }
    this.gate.stopReading(`not allowed to publish to ${entry.mqttTopic}`)
    this.acks.push(PUBACK, packetId, REFUSED)
    return true
  }

  /** A refusal of the log becomes a commit that has failed: what came before is still acknowledged. */
  private refusedByLog(error: unknown, qos: Qos): Commit {
    if (!(error instanceof SluiceError)) throw error
    this.host.publishPath.refused += 1
    if (qos > 0) this.gate.stopReading(error.message)
    return SettableCommit.settled(error)
  }
}
