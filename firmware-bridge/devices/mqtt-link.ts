// The MQTT 3.1.1 connection that stands for one device at the node: its session there holds subscriptions, the cursor in the log and the
// QoS 2 handshakes, so that the gateway has none of it to keep. Packet identifiers are the device's own message ids, in both directions. Opened
// by client.ts for clients that subscribe or publish at QoS 2.
//
//   packet = type:4 flags:4 remaining-length body      ; remaining-length: 7 bits a byte, least first

import type { Duplex } from 'node:stream'

enum Packet {
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  suback = 9,
  unsuback = 11,
}
const CLEAN_SESSION = 0x02
const DISCONNECT = Buffer.of(0xe0, 0)
/** SUBACK's code for a filter that is refused, and ours for an answer that will never come. */
const REFUSED = 0x80
const LOST = -1

export interface LinkMessage {
  readonly qos: 0 | 1 | 2
  readonly packetId: number
  readonly dup: boolean
  readonly retain: boolean
  readonly mqttTopic: string
  readonly payload: Buffer
}

export interface LinkOwner {
  onMessage(message: LinkMessage): void
  /** PUBREL for a message the node has delivered. */
  onRelease(packetId: number): void
  /** PUBREC or PUBCOMP for a message of the device. */
  onPubrec(packetId: number): void
  onPubcomp(packetId: number): void
  /** Once, unless `close` was called: refused, or ended by the node. */
  onLinkLost(): void
}

export class MqttLink {
  /** Resolves to whether the node has taken the connection. */
  readonly opened: Promise<boolean>
  private received: Buffer = Buffer.alloc(0)
  private readonly waiting = new Map<number, (returnCode: number) => void>()
  private onConnack: (accepted: boolean) => void = () => {}
  private lastRequestId = 0
  private closed = false

  constructor(
    private readonly stream: Duplex,
    clientId: string,
    clean: boolean,
    private readonly owner: LinkOwner,
  ) {
    stream.on('data', (chunk: Buffer) => this.take(chunk))
    stream.on('error', () => {})
    stream.once('close', () => this.ended())
    this.opened = new Promise((resolve) => {
      this.onConnack = resolve
    })
    const head = Buffer.of(0, 4, 0x4d, 0x51, 0x54, 0x54, 4, clean ? CLEAN_SESSION : 0, 0, 0)
    this.send(0x10, head, text(clientId))
  }

  /**
   * Durable when it is answered, and answered before anything that the subscription brings.
   * @param onAnswer Is told the QoS granted; null when the node refuses or the link is lost before.
   */
  subscribe(filter: string, qos: 0 | 1 | 2, onAnswer: (granted: 0 | 1 | 2 | null) => void): void {
    const answered = (code: number) => onAnswer(code === REFUSED || code === LOST ? null : (code as 0 | 1 | 2))
    this.request(0x82, answered, text(filter), Buffer.of(qos))
  }

  /** @param onAnswer Is told whether it was done; false when the link is lost before. */
  unsubscribe(filter: string, onAnswer: (done: boolean) => void): void {
    this.request(0xa2, (code) => onAnswer(code !== LOST), text(filter))
  }

  publishQos2(packetId: number, dup: boolean, retain: boolean, mqttTopic: string, payload: Uint8Array): void {
    this.send(0x34 | (dup ? 8 : 0) | (retain ? 1 : 0), text(mqttTopic), u16(packetId), payload)
  }
  pubrel(packetId: number): void {
    this.send(0x62, u16(packetId))
  }
  puback(packetId: number): void {
    this.send(0x40, u16(packetId))
  }
  pubrec(packetId: number): void {
    this.send(0x50, u16(packetId))
  }
  pubcomp(packetId: number): void {
    this.send(0x70, u16(packetId))
  }

  /** Says goodbye: the session stays, unless it was opened clean. Nothing comes any more. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.stream.end(DISCONNECT)
    this.fail()
  }

  /** Ends it as if it had broken: what is not acknowledged comes again with the next. */
  drop(): void {
    this.stream.destroy()
  }

  private request(type: number, onAnswer: (code: number) => void, ...fields: readonly Buffer[]): void {
    if (this.closed) {
      onAnswer(LOST)
      return
    }
    do this.lastRequestId = (this.lastRequestId % 65_535) + 1
    while (this.waiting.has(this.lastRequestId))
    this.waiting.set(this.lastRequestId, onAnswer)
    this.send(type, u16(this.lastRequestId), ...fields)
  }

  private send(first: number, ...fields: readonly Uint8Array[]): void {
    if (this.closed) return
    let left = fields.reduce((sum, { length }) => sum + length, 0)
    const head = [first]
    do {
      head.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0))
      left >>= 7
    } while (left > 0)
    this.stream.write(Buffer.concat([Buffer.from(head), ...fields]))
  }

  private take(chunk: Buffer): void {
    this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk])
    for (;;) {
      const { received } = this
      let length = 0
      let at = 1
      for (; at <= 4; at++) {
        if (at >= received.length) return
        length |= (received[at] & 0x7f) << (7 * (at - 1))
        if (received[at] < 0x80) break
      }
      const end = at + 1 + length
      if (end > received.length) return
      this.received = received.subarray(end)
      if (!this.closed) this.onPacket(received[0], received.subarray(at + 1, end))
    }
  }

  private onPacket(first: number, body: Buffer): void {
    const { owner } = this
    switch (first >> 4) {
      case Packet.connack:
        this.onConnack(body[1] === 0)
        break
      case Packet.publish:
        owner.onMessage(readPublish(first, body))
        break
      case Packet.pubrec:
        owner.onPubrec(body.readUInt16BE(0))
        break
      case Packet.pubrel:
        owner.onRelease(body.readUInt16BE(0))
        break
      case Packet.pubcomp:
        owner.onPubcomp(body.readUInt16BE(0))
        break
      case Packet.suback:
      case Packet.unsuback: {
        const packetId = body.readUInt16BE(0)
        const answered = this.waiting.get(packetId)
        this.waiting.delete(packetId)
        answered?.(body[2] ?? 0)
      }
    }
  }

  private ended(): void {
    if (this.closed) return
    this.closed = true
    this.fail()
    this.owner.onLinkLost()
  }

  private fail(): void {
    this.onConnack(false)
    const waiting = [...this.waiting.values()]
    this.waiting.clear()
    for (const answered of waiting) answered(LOST)
  }
}

function readPublish(first: number, body: Buffer): LinkMessage {
  const qos = ((first >> 1) & 3) as 0 | 1 | 2
  const topicEnd = 2 + body.readUInt16BE(0)
  const payloadAt = topicEnd + (qos > 0 ? 2 : 0)
  return {
    qos,
    packetId: qos > 0 ? body.readUInt16BE(topicEnd) : 0,
    dup: (first & 8) !== 0,
    retain: (first & 1) !== 0,
    mqttTopic: body.toString('utf8', 2, topicEnd),
    // A copy: it may wait for the device, and must not hold a chunk of others meanwhile.
    payload: Buffer.from(body.subarray(payloadAt)),
  }
}

function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff)
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u16(bytes.length), bytes])
}
