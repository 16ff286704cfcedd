// Makes MQTT 3.1.1 PUBLISH packets of QoS 1, many to a chunk, complete but for their packet identifiers: these are known when they are sent, and
// stamped in. mqtt.js spends 17 µs a message on its packet objects, deep copies and five small socket writes (measured, 100 B).
//
//   PUBLISH = 0x32 | retain, remainingLength:varint, topicLength:u16be, topic, packetId:u16be, payload        [MQTT-3.3]

/** Packets are gathered in chunks of this size; a larger one has a chunk of its own. */
const CHUNK_BYTES = 32 * 1024
/** A payload from here on is sent as it is, without a copy. */
const OWN_CHUNK_BYTES = 8 * 1024
/** [MQTT-2.2.3]: four bytes of seven bits. */
export const MAX_REMAINING_LENGTH = 268_435_455
/** Header byte, remaining length, topic length, packet identifier [MQTT-3.3]. */
export const MAX_OVERHEAD_BYTES = 9
const PUBLISH_QOS1 = 0x32
const RETAIN = 0x01
const ID_BYTES = 2

/** Consecutive PUBLISH packets, to be sent together. */
export interface Packets {
  readonly bytes: Buffer
  /** Where in `bytes` each packet has its identifier. */
  readonly idsAt: readonly number[]
  /** The payload of the last packet where it is a large one: comes behind `bytes`. */
  readonly tail: Buffer | null
}

/** A topic that can be written into a packet; a Buffer is one. */
export interface TopicBytes {
  readonly length: number
  /** @returns `length`. */
  copy(target: Buffer, at: number): number
}

export class PublishEncoder {
  private chunk = Buffer.alloc(0)
  /** Where in the chunk the packets begin that are not yet taken. */
  private start = 0
  private end = 0
  private idsAt: number[] = []
  private tail: Buffer | null = null

  constructor(private readonly chunkBytes = CHUNK_BYTES) {}

  /** Packets that are not yet taken. */
  get count(): number {
    return this.idsAt.length
  }

  /** Whether a packet with so many bytes of topic and payload can go with those not yet taken. */
  fits(bytes: number): boolean {
    if (this.count === 0) return true
    return this.tail === null && bytes < OWN_CHUNK_BYTES && this.end + bytes + MAX_OVERHEAD_BYTES <= this.chunk.length
  }

  /** Call only if it `fits`. @param source Where the payload stands; it is not written to afterwards. */
  add(topic: TopicBytes, source: Buffer, payloadStart: number, payloadEnd: number, retain: boolean): void {
    const payloadBytes = payloadEnd - payloadStart
    const copied = payloadBytes < OWN_CHUNK_BYTES
    if (this.count === 0) this.reserve(topic.length + MAX_OVERHEAD_BYTES + (copied ? payloadBytes : 0))
    const { chunk } = this
    let at = this.end
    chunk[at++] = retain ? PUBLISH_QOS1 | RETAIN : PUBLISH_QOS1
    let length = 2 + topic.length + ID_BYTES + payloadBytes
    while (length >= 0x80) {
      chunk[at++] = (length & 0x7f) | 0x80
      length >>>= 7
    }
    chunk[at++] = length
    chunk[at++] = topic.length >>> 8
    chunk[at++] = topic.length & 0xff
    at += topic.copy(chunk, at)
    this.idsAt.push(at - this.start)
    at += ID_BYTES
    if (payloadBytes > 0 && copied) at += source.copy(chunk, at, payloadStart, payloadEnd)
    else if (!copied) this.tail = source.subarray(payloadStart, payloadEnd)
    this.end = at
  }

  /** What was added since the last time. */
  take(): Packets {
    const packets = { bytes: this.chunk.subarray(this.start, this.end), idsAt: this.idsAt, tail: this.tail }
    this.start = this.end
    this.idsAt = []
    this.tail = null
    return packets
  }

  private reserve(bytes: number): void {
    if (this.chunk.length - this.end >= bytes) return
    this.chunk = Buffer.allocUnsafeSlow(Math.max(this.chunkBytes, bytes))
    this.start = 0
    this.end = 0
  }
}

/** One packet. */
export function encodePublish(topic: TopicBytes, payload: Buffer, retain = false): Packets {
  const encoder = new PublishEncoder(0)
  encoder.add(topic, payload, 0, payload.length, retain)
  return encoder.take()
}
