// A client that writes the bytes it is told to and shows the packets that come back: for what a well-behaved client never sends.

import { connect, Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export interface RawPacket {
  readonly first: number
  readonly body: Buffer
}

export class RawClient {
  readonly packets: RawPacket[] = []
  closed = false
  private received = Buffer.alloc(0)
  private waiters: (() => void)[] = []

  /** @param socket Open already. */
  constructor(readonly socket: Duplex) {
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk])
      this.parse()
      this.wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      this.wake()
    })
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const client = new RawClient(socket)
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return client
  }

  /** Connects with MQTT 3.1.1 and waits for CONNACK. */
  static async connected(port: number, clientId = 'raw', clean = true): Promise<RawClient> {
    const client = await RawClient.open(port)
    client.write(connectPacket({ clientId, clean }))
    const connack = await client.next()
    if (connack?.first !== 0x20 || connack.body[1] !== 0) throw new Error('CONNACK does not accept')
    return client
  }

  write(...parts: (Buffer | number[])[]): void {
    this.socket.write(Buffer.concat(parts.map((part) => Buffer.from(part))))
  }

  /** Ends the connection as a client that crashes does. */
  reset(): void {
    if (this.socket instanceof Socket) this.socket.resetAndDestroy()
    else this.socket.destroy()
  }

  /** The next packet; null when the connection has been closed instead. */
  async next(): Promise<RawPacket | null> {
    while (this.packets.length === 0 && !this.closed) await new Promise<void>((resolve) => this.waiters.push(resolve))
    return this.packets.shift() ?? null
  }

  /** The next PUBLISH, whatever comes before it. */
  async nextPublish(): Promise<ReturnType<typeof publishOf>> {
    for (;;) {
      const packet = await this.next()
      if (packet === null) throw new Error('closed instead of a PUBLISH')
      if (packet.first >> 4 === 3) return publishOf(packet)
    }
  }

  /** All packets until PINGRESP answers a PINGREQ sent now. */
  async untilPong(): Promise<RawPacket[]> {
    this.write(PINGREQ)
    const packets: RawPacket[] = []
    for (;;) {
      const packet = await this.next()
      if (packet === null) throw new Error('closed instead of PINGRESP')
      if (packet.first === 0xd0) return packets
      packets.push(packet)
    }
  }

  /** Connects with a session that is kept; @returns the client and whether its session was there. */
  static async durable(port: number, clientId: string): Promise<{ client: RawClient; present: boolean }> {
    const client = await RawClient.open(port)
    client.write(connectPacket({ clientId, clean: false }))
    const connack = await client.next()
    if (connack?.first !== 0x20 || connack.body[1] !== 0) throw new Error('CONNACK does not accept')
    return { client, present: connack.body[0] === 1 }
  }

  /** Resolves when the broker has closed the connection. */
  async whenClosed(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => this.waiters.push(resolve))
  }

  private wake(): void {
    for (const waiter of this.waiters.splice(0)) waiter()
  }

  private parse(): void {
    for (;;) {
      let length = 0
      let at = 1
      for (let shift = 0; ; shift += 7) {
        if (at >= this.received.length) return
        const byte = this.received[at++]
        length += (byte & 0x7f) << shift
        if (byte < 0x80) break
      }
      if (this.received.length < at + length) return
      this.packets.push({ first: this.received[0], body: this.received.subarray(at, at + length) })
      this.received = this.received.subarray(at + length)
    }
  }
}

export function packet(first: number, ...body: (Buffer | number[] | string)[]): Buffer {
  const bytes = Buffer.concat(body.map((part) => (typeof part === 'string' ? text(part) : Buffer.from(part))))
  const header = [first]
  let length = bytes.length
  while (length >= 0x80) {
    header.push((length & 0x7f) | 0x80)
    length >>= 7
  }
  return Buffer.concat([Buffer.from([...header, length]), bytes])
}

/** A length-prefixed UTF-8 string. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u16(bytes.length), bytes])
}

export function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}

export function connectPacket(options: {
  clientId?: string
  clean?: boolean
  keepalive?: number
  flags?: number
  level?: number
  name?: string
  payload?: Buffer
}): Buffer {
  const { clientId = 'raw', clean = true, keepalive = 0, level = 4, name = 'MQTT' } = options
  const flags = options.flags ?? (clean ? 2 : 0)
  return packet(0x10, name, [level, flags], u16(keepalive), clientId, options.payload ?? Buffer.alloc(0))
}

export function publishPacket(
  topic: string,
  payload: string,
  options: { qos?: number; id?: number; dup?: boolean; retain?: boolean } = {},
): Buffer {
  const { qos = 0, id = 1, dup = false, retain = false } = options
  const first = 0x30 | (qos << 1) | (dup ? 8 : 0) | (retain ? 1 : 0)
  return packet(first, topic, qos > 0 ? u16(id) : [], Buffer.from(payload))
}

export function subscribePacket(id: number, ...filters: [string, number][]): Buffer {
  return packet(0x82, u16(id), ...filters.flatMap(([filter, qos]) => [text(filter), Buffer.from([qos])]))
}

export function unsubscribePacket(id: number, ...filters: string[]): Buffer {
  return packet(0xa2, u16(id), ...filters)
}

/** What a PUBLISH says. */
export function publishOf(raw: RawPacket | null) {
  if (raw === null || raw.first >> 4 !== 3) throw new Error(`not a PUBLISH: ${raw?.first.toString(16)}`)
  const qos = (raw.first >> 1) & 3
  const topicEnd = 2 + raw.body.readUInt16BE(0)
  return {
    topic: raw.body.subarray(2, topicEnd).toString(),
    qos,
    dup: (raw.first & 8) !== 0,
    retain: (raw.first & 1) !== 0,
    id: qos > 0 ? raw.body.readUInt16BE(topicEnd) : 0,
    payload: raw.body.subarray(topicEnd + (qos > 0 ? 2 : 0)).toString(),
  }
}

export const puback = (id: number) => packet(0x40, u16(id))
export const pubrec = (id: number) => packet(0x50, u16(id))
export const pubrel = (id: number) => packet(0x62, u16(id))
export const pubcomp = (id: number) => packet(0x70, u16(id))
export const PINGREQ = Buffer.from([0xc0, 0])
export const DISCONNECT = Buffer.from([0xe0, 0])
