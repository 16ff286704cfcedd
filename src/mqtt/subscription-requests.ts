// Answers SUBSCRIBE and UNSUBSCRIBE: what they ask for is durable before the answer leaves, and retained messages follow it.

import { messageOf } from '../base/errors.js'
import type { Qos } from '../record/record.js'
import { fault } from './close-reason.js'
import { encodeSuback, encodeUnsuback } from './encode.js'
import type { Gate } from './gate.js'
import { Replay } from './replay.js'
import { isReplayFilter, replayPositions } from './replay-filter.js'
import { RetainedSender, type RetainedSenderHost } from './retained-sender.js'
import type { Session } from './session.js'
import type { SessionPump } from './session-pump.js'
import type { SessionRegistry } from './session-registry.js'
import { isShared, type SharedGroups, sharedFilterOf } from './shared-groups.js'
import type { StoredPartition } from './stored-partition.js'
import type { FilterPacket } from './subscribe-packet.js'

/** SUBACK's code for a filter that is refused. */
const REFUSED = 0x80

export interface SubscriptionRequestsOptions extends RetainedSenderHost {
  readonly sessions: SessionRegistry
  readonly groups: SharedGroups
  /** Per client, inclusive. */
  readonly maxSubscriptions: number
  /** `$stream/…` at a time, inclusive. */
  readonly maxReplaysPerClient: number
  readonly maxReplays: number
  readonly partition: (name: string) => StoredPartition | undefined
  readonly maySubscribe: (session: Session, filter: string) => boolean
  /** A filter has been refused. */
  readonly refused: (gate: Gate, refusal: Refusal) => void
}

export interface Refusal {
  /** For the log, as a phrase. */
  readonly reason: string
  /** The configuration key that raises the limit that was reached. */
  readonly raise?: string
}

export class SubscriptionRequests {
  private runningReplays = 0
  private readonly senders = new WeakMap<SessionPump, RetainedSender>()

  constructor(private readonly options: SubscriptionRequestsOptions) {}

  /** Resolves when SUBACK has been written; what the client sends next may rely on it. */
  async subscribe(gate: Gate, packet: FilterPacket): Promise<void> {
    const session = gate.session!
    const { sessions } = this.options
    const sender = this.senderFor(session)
    const codes = packet.requests.map(({ filter, qos }) => {
      if (isReplayFilter(filter)) return REFUSED
      const refusal = this.refusalOf(session, filter)
      if (refusal !== null) {
        this.options.refused(gate, refusal)
        return REFUSED
      }
      sessions.subscribe(session, filter, qos)
      // Of a shared subscription nobody could say which member is to have them.
      if (!isShared(filter)) sender?.due(filter, qos)
      return qos
    })
    const replays: Replay[] = []
    for (const [i, { filter, qos }] of packet.requests.entries()) {
      if (!isReplayFilter(filter)) continue
      const replay = await this.replay(gate, filter, qos)
      if (replay === null) {
        this.options.refused(gate, { reason: `${filter} names no stream or place, or there are too many of its kind` })
        continue
      }
      replays.push(replay)
      codes[i] = qos
    }
    await sessions.save(session)
    gate.outbox.answer(encodeSuback(packet.packetId, codes)) // [MQTT-3.8.4-1, -2, -5, -6]
    for (const replay of replays) void replay.run()
    this.sendRetained(gate)
  }

  /** A session is back that went before it had been sent all the retained messages it was due: they begin again. */
  resume(gate: Gate): void {
    if (gate.session!.retainedDue.size > 0) this.sendRetained(gate)
  }

  private sendRetained(gate: Gate): void {
    // Not waited for: it may need acknowledgements that come through this gate.
    this.senderFor(gate.session!)
      ?.run()
      .catch((error) => gate.close(fault(messageOf(error))))
  }

  private senderFor(session: Session): RetainedSender | null {
    const { pump } = session
    if (pump === null) return null
    let sender = this.senders.get(pump)
    if (sender === undefined) this.senders.set(pump, (sender = new RetainedSender(session, pump, this.options)))
    return sender
  }

  async unsubscribe(gate: Gate, packet: FilterPacket): Promise<void> {
    const session = gate.session!
    const filters = packet.requests.map(({ filter }) => filter)
    for (const filter of filters) session.pump?.replays.get(filter)?.end()
    this.options.sessions.unsubscribe(session, filters)
    await this.options.sessions.save(session)
    gate.outbox.answer(encodeUnsuback(packet.packetId)) // [MQTT-3.10.4-4, -5]
  }

  /** One that was asked for before begins again. @returns null where it is refused. */
  private async replay(gate: Gate, filter: string, qos: Qos): Promise<Replay | null> {
    const { partition, mayReceive, maxReplaysPerClient, maxReplays } = this.options
    const positions = await replayPositions(filter, partition)
    const session = gate.session!
    const { pump } = session
    // Another connection may have taken the session over meanwhile.
    if (positions === null || pump === null || session.gate !== gate) return null
    pump.replays.get(filter)?.end()
    if (pump.replays.size >= maxReplaysPerClient || this.runningReplays >= maxReplays) return null
    this.runningReplays += 1
    const replay = new Replay({
      ...{ positions, qos, pump },
      mayReceive: (mqttTopic) => mayReceive(session, mqttTopic),
      onEnd: () => {
        this.runningReplays -= 1
        if (pump.replays.get(filter) === replay) pump.replays.delete(filter)
      },
    })
    pump.replays.set(filter, replay)
    return replay
  }

  private refusalOf(session: Session, filter: string): Refusal | null {
    const { subscriptions } = session
    const { maxSubscriptions, groups, maySubscribe } = this.options
    if (!subscriptions.has(filter) && subscriptions.size >= maxSubscriptions)
      return { reason: `it has ${maxSubscriptions} subscriptions already`, raise: 'mqtt.max_subscriptions' }
    const inner = isShared(filter) ? sharedFilterOf(filter) : filter
    if (inner === null) return { reason: `${filter} is no shared subscription: use $share/GROUP/FILTER` }
    if (isShared(filter) && !groups.hasRoomFor(filter)) return { reason: 'there are too many shared groups already' }
    return maySubscribe(session, inner) ? null : { reason: `not allowed to subscribe to ${inner}` }
  }
}
