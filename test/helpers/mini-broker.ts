// The least broker a publisher can talk to: CONNECT, PUBLISH of any QoS 0 or 1, PINGREQ. Keeps what it received, in order, and does on
// demand what brokers do to publishers: refuses, holds acknowledgements back, acknowledges out of order, hangs up.

import { createServer, type Server, type Socket } from 'node:net'

export interface Received {
  readonly mqttTopic: string
  readonly payload: Buffer
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
  /** Number of the connection it came over, from 1. */
  readonly connection: number
}

export interface Connected {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: string | undefined
  readonly cleanSession: boolean
  readonly keepaliveSeconds: number
}

export class MiniBroker {
  readonly received: Received[] = []
  readonly connects: Connected[] = []
  disconnects = 0
  /** CONNACK return code [MQTT-3.2.2.3]; null: no answer at all. */
  connackCode: number | null = 0
  /** Acknowledgements wait for `releaseAcks`. */
  holdAcks = false
  /** How long each acknowledgement takes. */
  ackDelayMs = 0
  /** Acknowledgements go out one by one, so long apart. 0: at once. */
  ackEachMs = 0
  /**
   * One acknowledgement goes out, the others wait for the next bytes that come, as those of a broker whose TCP gathers small writes (RFC 896) would
   * if there were no timer; `releaseAcks` sends what is left.
   */
  gatherAcks = false
  /** QoS 1 messages taken and not yet acknowledged. */
  unacked = 0
  /** Puts the acknowledgements of one chunk of packets in another order. */
  reorder: (packetIds: number[]) => number[] = (ids) => ids
  /** Hangs up instead of taking a message for which this is true. */
  hangUpOn: (message: Received) => boolean = () => false
  /** Takes a message for which this is true, and never acknowledges it. */
  forget: (message: Received) => boolean = () => false
  private readonly held: (() => void)[] = []
  private gathered: { readonly socket: Socket; readonly ids: number[] } | null = null
  private readonly sockets = new Set<Socket>()
  private readonly listeners = new Set<() => void>()
  private connections = 0

  private constructor(private readonly server: Server) {
    server.on('connection', (socket) => this.serve(socket))
  }

  static start(port = 0): Promise<MiniBroker> {
    const server = createServer({ noDelay: true })
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', () => resolve(new MiniBroker(server)))
    })
  }

  get port(): number {
    const address = this.server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  get open(): number {
    return this.sockets.size
  }

  releaseAcks(): void {
    this.holdAcks = false
    this.gatherAcks = false
    this.sendGathered()
    for (const release of this.held.splice(0)) release()
  }

  hangUp(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  /** Resolves once `condition` holds; asked after every packet and every connection's end. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.listeners.add(resolve))
  }

  async stop(): Promise<void> {
    this.hangUp()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private serve(socket: Socket): void {
    const connection = ++this.connections
    this.sockets.add(socket)
    let rest: Buffer = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('close', () => {
      this.sockets.delete(socket)
      this.changed()
    })
    socket.on('data', (chunk) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      const packetIds: number[] = []
      for (let packet = firstPacket(rest); packet !== null && !socket.destroyed; packet = firstPacket(rest)) {
        rest = rest.subarray(packet.end)
        this.handle(packet, socket, connection, packetIds)
      }
      const answer = () => {
        this.unacked -= packetIds.length
        this.reorder(packetIds).forEach((id, i) => {
          if (this.ackEachMs === 0) socket.write(puback(id))
          else setTimeout(() => socket.write(puback(id)), this.ackEachMs * i)
        })
      }
      if (this.gatherAcks) this.gather(socket, packetIds)
      else if (this.holdAcks) this.held.push(answer)
      else if (this.ackDelayMs > 0) setTimeout(answer, this.ackDelayMs)
      else answer()
      this.changed()
    })
  }

  private gather(socket: Socket, ids: number[]): void {
    this.sendGathered()
    if (ids.length === 0) return
    socket.write(puback(ids[0]))
    this.gathered = { socket, ids: ids.slice(1) }
    this.unacked -= ids.length
  }

  private sendGathered(): void {
    for (const id of this.gathered?.ids ?? []) this.gathered?.socket.write(puback(id))
    this.gathered = null
  }

  private handle({ header, body }: Packet, socket: Socket, connection: number, packetIds: number[]): void {
    const type = header >> 4
    if (type === 1) {
      this.connects.push(parseConnect(body))
      if (this.connackCode !== null) socket.write(Buffer.from([0x20, 2, 0, this.connackCode]))
      if (this.connackCode !== null && this.connackCode > 0) socket.end()
    } else if (type === 3) {
      const qos = (header >> 1) & 3
      const topicEnd = 2 + body.readUInt16BE(0)
      const message: Received = {
        mqttTopic: body.toString('utf8', 2, topicEnd),
        payload: body.subarray(topicEnd + (qos > 0 ? 2 : 0)),
        qos,
        retain: (header & 1) === 1,
        dup: (header & 8) !== 0,
        connection,
      }
      if (this.hangUpOn(message)) return void socket.destroy()
      this.received.push(message)
      if (qos === 0 || this.forget(message)) return
      this.unacked += 1
      packetIds.push(body.readUInt16BE(topicEnd))
    } else if (type === 12) socket.write(Buffer.from([0xd0, 0]))
    else if (type === 14) this.disconnects += 1
  }

  private changed(): void {
    const waiting = [...this.listeners]
    this.listeners.clear()
    for (const listener of waiting) listener()
  }
}

function puback(id: number): Buffer {
  return Buffer.from([0x40, 2, id >> 8, id & 0xff])
}

interface Packet {
  readonly header: number
  readonly body: Buffer
  readonly end: number
}

function firstPacket(bytes: Buffer): Packet | null {
  let length = 0
  for (let i = 0; i < 4 && i + 1 < bytes.length; i++) {
    const byte = bytes[i + 1]
    length += (byte & 0x7f) * 0x80 ** i
    if (byte >= 0x80) continue
    const end = i + 2 + length
    return end > bytes.length ? null : { header: bytes[0], body: bytes.subarray(i + 2, end), end }
  }
  return null
}

function parseConnect(body: Buffer): Connected {
  let at = 6
  const flags = body[at + 1]
  const keepaliveSeconds = body.readUInt16BE(at + 2)
  at += 4
  const next = (): string => {
    const start = at + 2
    at = start + body.readUInt16BE(at)
    return body.toString('utf8', start, at)
  }
  const clientId = next()
  const username = flags & 0x80 ? next() : undefined
  const password = flags & 0x40 ? next() : undefined
  return { clientId, username, password, cleanSession: (flags & 2) !== 0, keepaliveSeconds }
}
