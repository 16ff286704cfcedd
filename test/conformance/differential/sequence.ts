// Random sequences of packets of three clients: mostly what clients do, in any order, and now and then what none may. Made before anything is sent,
// from the seed alone, so that two brokers can be put through the same.

import type { SeededRandom } from '../../helpers/seeded-random.js'
import {
  connectPacket,
  publishPacket,
  pubrel,
  subscribePacket,
  text,
  u16,
  unsubscribePacket,
} from '../../mqtt/raw-client.js'
import { brokenConnect, brokenPacket } from './broken-packets.js'

export const CLIENTS = ['A', 'B', 'C'] as const
export type ClientName = (typeof CLIENTS)[number]

interface OfClient {
  readonly client: ClientName
}

export interface ConnectStep extends OfClient {
  readonly kind: 'connect'
  readonly bytes: Buffer
}

/** One packet, whatever comes of it. */
export interface SendStep extends OfClient {
  readonly kind: 'send'
  readonly bytes: Buffer
}

/** Both halves of a QoS 2 handshake in one step: at which of them a broker delivers is its own affair [MQTT-4.3.3, methods A and B]. */
export interface HandshakeStep extends OfClient {
  readonly kind: 'handshake'
  readonly publish: Buffer
  readonly again: Buffer
  /** PUBLISH is sent once more so often. */
  readonly repeats: number
  /** Sent on a new connection as well, begun with this; only where the session is kept. */
  readonly reconnect: Buffer | null
  readonly pubrel: Buffer
  readonly releases: number
}

/** Answers one of the messages that the client has been sent and has not acknowledged. */
export interface AnswerStep extends OfClient {
  readonly kind: 'answer'
  /** Among those waiting, modulo their number. */
  readonly nth: number
  /** null: the one that is due; else the packet's first byte. */
  readonly first: number | null
}

export interface EndStep extends OfClient {
  readonly kind: 'disconnect' | 'lose'
}

/** A CONNECT that no client would send, on a connection of its own. */
export interface StrangerStep {
  readonly kind: 'stranger'
  readonly bytes: Buffer
}

export type Step = ConnectStep | SendStep | HandshakeStep | AnswerStep | EndStep | StrangerStep

const LEAVES = ['a', 'b', 'a/b', 'b/a', 'a/b/c', '', '/a', 'é']
const FILTERS = ['#', '+', 'a', 'b', 'a/b', 'a/+', '+/b', 'a/#', '+/+', '/+', 'b/a', '', '+/b/#', 'é']
const ACKNOWLEDGEMENTS = [0x40, 0x50, 0x62, 0x70]

/** @param prefix Stands before every topic, filter and client identifier: what several sequences do at once does not mix. */
export function randomSequence(random: SeededRandom, prefix: string, length: number): Step[] {
  return new Sequence(random, prefix).make(length)
}

class Sequence {
  private messages = 0
  private nextPacketId = 1
  /** How to come back to the session as it is; nothing for a clean one. */
  private readonly comeback = new Map<ClientName, Buffer>()
  private readonly withWill = new Set<ClientName>()
  /** Holds a retained message, the last that each SUBSCRIBE asks for: with it all others have come. */
  private readonly marker: string

  constructor(
    private readonly random: SeededRandom,
    private readonly prefix: string,
  ) {
    this.marker = `${prefix} marker`
  }

  make(length: number): Step[] {
    const marker = publishPacket(this.marker, 'end', { retain: true })
    const steps: Step[] = [...this.connect('A'), ...this.connect('B'), { kind: 'send', client: 'A', bytes: marker }]
    while (steps.length < length) steps.push(...this.steps())
    return steps
  }

  private steps(): Step[] {
    const client = this.pick(CLIENTS)
    return this.random.chance(0.14) ? this.connect(client) : [this.step(client)]
  }

  private step(client: ClientName): Step {
    const { random } = this
    const draw = 14 + random.below(86)
    if (draw < 19) return { kind: 'disconnect', client }
    if (draw < 24) return { kind: 'lose', client }
    if (draw < 40) return this.subscribe(client)
    if (draw < 45) return this.unsubscribe(client)
    if (draw < 63) return this.publish(client)
    if (draw < 71) return this.handshake(client)
    if (draw < 93) return this.answer(client)
    if (draw < 96) return { kind: 'send', client, bytes: Buffer.from([this.pick(ACKNOWLEDGEMENTS), 2, 0x7f, 1]) }
    if (draw < 98) return { kind: 'stranger', bytes: brokenConnect(random, `${this.prefix}stranger`) }
    return { kind: 'send', client, bytes: brokenPacket(random, this.valid()) }
  }

  /** A connection that has a will is not taken over by one that keeps the session: mosquitto forgets the will then (known-differences.ts). */
  private connect(client: ClientName): Step[] {
    const { random } = this
    const hadWill = this.withWill.delete(client)
    const clean = random.chance(0.4)
    const level = random.chance(0.15) ? 3 : 4
    let flags = clean ? 2 : 0
    const payload: Buffer[] = []
    if (random.chance(0.3)) {
      this.withWill.add(client)
      flags |= 4 | (random.below(3) << 3) | (random.chance(0.3) ? 0x20 : 0)
      payload.push(text(this.topic()), text(random.chance(0.1) ? '' : this.message()))
    }
    if (random.chance(0.1)) {
      flags |= 0xc0
      payload.push(text('user'), text('password'))
    }
    const name = level === 3 ? 'MQIsdp' : 'MQTT'
    const clientId = this.prefix + client
    if (clean) this.comeback.delete(client)
    else this.comeback.set(client, connectPacket({ clientId, clean, level, name }))
    const bytes = connectPacket({ clientId, flags, level, name, payload: Buffer.concat(payload) })
    const connect: Step = { kind: 'connect', client, bytes }
    return hadWill && !clean ? [{ kind: 'lose', client }, connect] : [connect]
  }

  private subscribe(client: ClientName): SendStep {
    const requests = this.filters(3).map((filter): [string, number] => [filter, this.random.below(3)])
    return { kind: 'send', client, bytes: subscribePacket(this.packetId(), ...requests, [this.marker, 0]) }
  }

  private unsubscribe(client: ClientName): SendStep {
    return { kind: 'send', client, bytes: unsubscribePacket(this.packetId(), ...this.filters(2)) }
  }

  private publish(client: ClientName): SendStep {
    const { random } = this
    const retain = random.chance(0.3)
    const qos = random.below(2)
    const payload = retain && random.chance(0.2) ? '' : this.message()
    const bytes = publishPacket(this.topic(), payload, {
      qos,
      retain,
      dup: qos > 0 && random.chance(0.2),
      id: this.packetId(),
    })
    return { kind: 'send', client, bytes }
  }

  private handshake(client: ClientName): HandshakeStep {
    const { random } = this
    const id = this.packetId()
    const topic = this.topic()
    const payload = this.message()
    const retain = random.chance(0.2)
    return {
      kind: 'handshake',
      client,
      publish: publishPacket(topic, payload, { qos: 2, id, retain, dup: random.chance(0.1) }),
      again: publishPacket(topic, payload, { qos: 2, id, retain, dup: true }),
      repeats: random.chance(0.3) ? 1 : 0,
      reconnect: random.chance(0.3) ? (this.comeback.get(client) ?? null) : null,
      pubrel: pubrel(id),
      releases: random.chance(0.2) ? 2 : 1,
    }
  }

  private answer(client: ClientName): AnswerStep {
    const first = this.random.chance(0.04) ? this.pick([0x40, 0x50, 0x70]) : null
    return { kind: 'answer', client, nth: this.random.chance(0.7) ? 0 : this.random.below(8), first }
  }

  /** To be broken. */
  private valid(): Buffer {
    const draw = this.random.below(6)
    if (draw === 0) return subscribePacket(this.packetId(), [this.filter(), this.random.below(3)])
    if (draw === 1) return unsubscribePacket(this.packetId(), this.filter())
    if (draw === 2) return Buffer.from([this.pick(ACKNOWLEDGEMENTS), 2, ...u16(this.packetId())])
    return publishPacket(this.topic(), this.message(), { qos: this.random.below(2), id: this.packetId() })
  }

  private topic(): string {
    return `${this.prefix}/${this.pick(LEAVES)}`
  }

  /** Different ones: of a filter that stands in a packet twice the node sends retained messages once, at its last QoS. */
  private filters(most: number): string[] {
    return [...new Set(Array.from({ length: 1 + this.random.below(most) }, () => this.filter()))]
  }

  private filter(): string {
    return `${this.prefix}/${this.pick(FILTERS)}`
  }

  /** Every message is told from every other. */
  private message(): string {
    this.messages += 1
    return `m${this.messages}`
  }

  private packetId(): number {
    const id = this.nextPacketId
    this.nextPacketId += 1
    return id
  }

  private pick<T>(items: readonly T[]): T {
    return items[this.random.below(items.length)]
  }
}
