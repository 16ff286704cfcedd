// One broker that is put through a sequence, and what it says to each client, in words that two brokers share (outcome.ts).
//
// Nothing here waits for time to pass. mosquitto has done all that a packet brings about when it answers the PINGREQ behind it. Ours delivers
// after a commit, which a PINGRESP may overtake: so it is told what came of the step elsewhere, and waits for as much.

import { connectPacket, DISCONNECT, PINGREQ, publishOf, RawClient, type RawPacket, u16 } from '../../mqtt/raw-client.js'
import { copyKey, type Delivery, linesOf, type Received, strayCopies } from './outcome.js'
import {
  type AnswerStep,
  CLIENTS,
  type ClientName,
  type ConnectStep,
  type HandshakeStep,
  type Step,
} from './sequence.js'

/** Lines by client, by the connection it had before (`A before`), or by `stranger`. */
export type Outcome = Map<string, readonly string[]>

/** Given up after this: only where something that is expected never comes. */
const NEVER_MS = 10_000
const CLOSED = 'closed'
const UNKNOWN_ID = 0x7f02
const PINGRESP = 0xd0
const LENGTH_OF_MQISDP = 6
const CLEAN = 2

/** One client's connection to one broker, and the messages it has been sent and has not acknowledged. */
class Seat {
  connection: RawClient | null = null
  /** Begun and not ended, oldest first. */
  waiting: Delivery[] = []
  /** Which message an identifier stands for, in this session. */
  readonly messages = new Map<number, string>()
  /** Messages that have been sent over this connection: `copyKey`. */
  private readonly told = new Set<string>()
  /** Of this step. */
  received: Received[] = []
  connections = 0
  private closed = false

  get lines(): string[] {
    return linesOf(this.received, this.messages, this.told, this.closed)
  }

  /** @returns false when the connection has been closed instead. */
  async takeOne(): Promise<boolean> {
    const packet = await nextOf(this.connection!)
    if (packet === null) {
      this.closed = true
      this.connection = null
      return false
    }
    if (packet.first !== PINGRESP) this.received.push({ packet, connection: this.connections })
    return true
  }

  /** Takes all up to the packet that begins so; @returns false when the connection has been closed instead. */
  async takeUntil(first: number, id?: number): Promise<boolean> {
    for (;;) {
      const seen = this.received.length
      if (!(await this.takeOne())) return false
      const packet = this.received.length > seen ? this.received[seen].packet : null
      if (packet === null ? first === PINGRESP : packet.first === first && (id === undefined || idOf(packet) === id))
        return true
    }
  }

  async takeAll(): Promise<boolean> {
    this.connection!.write(PINGREQ)
    return this.takeUntil(PINGRESP)
  }

  async open(port: number, bytes: Buffer): Promise<void> {
    this.connection = await RawClient.open(port)
    this.connections += 1
    this.waiting = []
    this.told.clear()
    this.connection.write(bytes)
    if (!(await this.takeOne())) return
    const { packet } = this.received.at(-1)!
    // CONNACK of MQTT 3.1 does not tell of a session that is kept.
    const mayBeKept = bytes[3] === LENGTH_OF_MQISDP && (bytes[11] & CLEAN) === 0
    if (packet.first === 0x20 && packet.body[0] === 0 && !mayBeKept) this.messages.clear()
  }

  /** Ends the connection with a goodbye or without, and resolves once the broker has closed its side. */
  async end(goodbye: boolean): Promise<void> {
    const { connection } = this
    if (connection === null) return
    if (goodbye) connection.write(DISCONNECT)
    else connection.socket.end()
    while (this.connection !== null) await this.takeOne()
    // The other end of the socket may be in this process, and hears of it in the same turn.
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** What has come of the step; the messages among it wait to be acknowledged, but for further copies of one, which are acknowledged here. */
  async settle(): Promise<string[]> {
    for (const { id, qos } of strayCopies(this.received, this.told)) {
      if (this.connection === null) break
      if (qos === 0) continue
      this.connection.write([qos === 1 ? 0x40 : 0x50, 2], u16(id))
      if (qos === 1) continue
      if (await this.takeUntil(0x62, id)) this.connection.write([0x70, 2], u16(id))
      this.received.pop()
    }
    const lines = this.lines
    this.note()
    this.received = []
    this.closed = false
    return lines
  }

  /** In the order in which they are told, retained ones last and by topic: an answer means the same message of every broker. */
  private note(): void {
    const stray = strayCopies(this.received, this.told)
    const retained: [string, Delivery][] = []
    for (const { packet, connection } of this.received) {
      if (connection !== this.connections) continue
      const id = idOf(packet)
      if (packet.first === 0x62) {
        const known = this.waiting.find((one) => one.id === id)
        if (known === undefined) this.waiting.push({ id, qos: 2, state: 'released' })
        else known.state = 'released'
      } else if (packet.first >> 4 === 3 && (packet.first & 6) !== 0 && !stray.some((one) => one.packet === packet)) {
        const { topic, qos, retain } = publishOf(packet)
        if (retain) retained.push([topic, { id, qos, state: 'sent' }])
        else this.waiting.push({ id, qos, state: 'sent' })
      }
      if (packet.first >> 4 === 3) this.told.add(copyKey(packet))
    }
    retained.sort(([a], [b]) => (a < b ? -1 : 1))
    this.waiting.push(...retained.map(([, delivery]) => delivery))
  }
}

export class Party {
  private readonly seats = new Map<ClientName, Seat>(CLIENTS.map((name) => [name, new Seat()]))

  constructor(
    private readonly port: number,
    private readonly prefix: string,
  ) {}

  /** @param expected What came of it elsewhere. null: a PINGRESP tells that nothing more comes. */
  async take(step: Step, expected: Outcome | null): Promise<Outcome> {
    const outcome: Outcome = new Map()
    if (step.kind === 'stranger') {
      outcome.set('stranger', await this.introduce(step.bytes))
      return outcome
    }
    const seat = this.seats.get(step.client)!
    if (step.kind === 'connect') await this.connect(seat, step, outcome)
    else if (seat.connection === null) return outcome
    else if (step.kind === 'send') await this.send(seat, step.bytes)
    else if (step.kind === 'answer') answer(seat, step)
    else if (step.kind === 'handshake') await this.handshake(seat, step)
    else await seat.end(step.kind === 'disconnect')
    for (const name of [step.client, ...CLIENTS.filter((other) => other !== step.client)])
      outcome.set(name, await gather(this.seats.get(name)!, expected?.get(name) ?? []))
    return outcome
  }

  /** Ends all connections and sessions. */
  async leave(): Promise<void> {
    for (const [name, seat] of this.seats) {
      await seat.end(true)
      await seat.open(this.port, connectPacket({ clientId: this.prefix + name }))
      await seat.end(true)
    }
  }

  private async connect(seat: Seat, step: ConnectStep, outcome: Outcome): Promise<void> {
    const before = seat.connection
    await seat.open(this.port, step.bytes)
    if (before === null) return
    // Its own will may be the last it hears of, or not.
    while ((await nextOf(before)) !== null);
    outcome.set(`${step.client} before`, [CLOSED])
  }

  private async send(seat: Seat, bytes: Buffer): Promise<void> {
    seat.connection!.write(bytes)
    // A PINGREQ with flags, of MQTT 3.1: where it is answered, that is no answer to the one that comes behind.
    if (bytes[0] >> 4 === 12) await seat.takeUntil(PINGRESP)
  }

  private async handshake(seat: Seat, step: HandshakeStep): Promise<void> {
    const id = step.pubrel.readUInt16BE(2)
    const say = async (bytes: Buffer, answered: number) => {
      seat.connection?.write(bytes)
      return seat.connection !== null && (await seat.takeUntil(answered, id))
    }
    await say(step.publish, 0x50)
    for (let n = 0; n < step.repeats; n++) await say(step.again, 0x50)
    if (step.reconnect !== null) {
      await seat.end(true)
      await seat.open(this.port, step.reconnect)
      await say(step.again, 0x50)
    }
    for (let n = 0; n < step.releases; n++) await say(step.pubrel, 0x70)
  }

  private async introduce(bytes: Buffer): Promise<string[]> {
    const seat = new Seat()
    await seat.open(this.port, bytes)
    const accepted = seat.received.at(0)?.packet.body[1] === 0
    if (seat.connection !== null && !(accepted && (await seat.takeAll())))
      while (seat.connection !== null) await seat.takeOne()
    const lines = await seat.settle()
    await seat.end(true)
    return lines
  }
}

async function gather(seat: Seat, expected: readonly string[]): Promise<string[]> {
  const wanted = expected.filter((line) => line !== CLOSED).length
  while (seat.connection !== null && seat.lines.length < wanted) await seat.takeOne()
  if (seat.connection !== null) await seat.takeAll()
  return seat.settle()
}

function answer(seat: Seat, { nth, first }: AnswerStep): void {
  const { waiting, connection } = seat
  const delivery = waiting.length === 0 ? null : waiting[nth % waiting.length]
  const due = delivery === null || delivery.qos === 1 ? 0x40 : delivery.state === 'sent' ? 0x50 : 0x70
  const type = first ?? due
  connection!.write([type, 2], u16(delivery?.id ?? UNKNOWN_ID))
  if (delivery !== null && type === due && due !== 0x50) waiting.splice(waiting.indexOf(delivery), 1)
}

/** The next packet; null when the connection is closed, or nothing ever comes. */
async function nextOf(connection: RawClient): Promise<RawPacket | null> {
  const giveUp = setTimeout(() => connection.socket.destroy(), NEVER_MS)
  try {
    return await connection.next()
  } finally {
    clearTimeout(giveUp)
  }
}

function idOf(packet: RawPacket): number {
  if (packet.first >> 4 !== 3) return packet.body.length >= 2 ? packet.body.readUInt16BE(0) : 0
  const topicEnd = 2 + packet.body.readUInt16BE(0)
  return (packet.first & 6) === 0 ? 0 : packet.body.readUInt16BE(topicEnd)
}
