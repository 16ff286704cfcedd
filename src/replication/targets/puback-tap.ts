// Takes the PUBACKs out of what a broker sends before mqtt.js sees them. They come a hundred thousand a second while a backlog drains, and mqtt.js
// spends more on one (buffer lists, packet objects, timers, events) than the record it acknowledges costs in all. Everything else goes on
// to mqtt.js, byte for byte; so do the PUBACKs of what mqtt.js has published itself.
//
//   PUBACK = 0x40, 2, packetId:u16be [MQTT-3.4]        any other packet = header:u8, remainingLength:varint, …, cut at nothing but its length

import { Transform, type TransformCallback } from 'node:stream'

const PUBACK = 0x40
const PUBACK_BYTES = 4
const MAX_LENGTH_BYTES = 4
const NOTHING: Buffer = Buffer.alloc(0)

export interface PubackTapOptions {
  /** Packet identifiers from here on are ours, inclusive; those below are mqtt.js' own. */
  readonly lowestPacketId: number
  readonly onPuback: (packetId: number) => void
  /** Once per chunk that held any of ours: the connection is alive. */
  readonly onAlive: () => void
}

export class PubackTap extends Transform {
  /** The beginning of a packet whose length is not known yet; a few bytes. */
  private begun: Buffer = NOTHING
  /** Bytes of the current packet that are still to be passed on. */
  private left = 0

  constructor(private readonly options: PubackTapOptions) {
    super()
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const bytes = this.begun.length === 0 ? chunk : Buffer.concat([this.begun, chunk])
    this.begun = NOTHING
    this.sift(bytes)
    done()
  }

  private sift(bytes: Buffer): void {
    const { lowestPacketId, onPuback, onAlive } = this.options
    let alive = false
    /** Where what is to be passed on begins. */
    let passFrom = 0
    let at = Math.min(this.left, bytes.length)
    this.left -= at
    while (at < bytes.length) {
      if (bytes[at] === PUBACK && bytes[at + 1] === PUBACK_BYTES - 2 && at + PUBACK_BYTES <= bytes.length) {
        const packetId = (bytes[at + 2] << 8) | bytes[at + 3]
        if (packetId >= lowestPacketId) {
          if (passFrom < at) this.push(bytes.subarray(passFrom, at))
          passFrom = at + PUBACK_BYTES
          alive = true
          onPuback(packetId)
        }
        at += PUBACK_BYTES
        continue
      }
      const length = packetLength(bytes, at)
      if (length === null || (bytes[at] === PUBACK && length === PUBACK_BYTES && length > bytes.length - at)) {
        this.begun = bytes.subarray(at)
        break
      }
      this.left = Math.max(0, at + length - bytes.length)
      at = Math.min(at + length, bytes.length)
    }
    const passTo = bytes.length - this.begun.length
    if (passFrom < passTo) this.push(bytes.subarray(passFrom, passTo))
    if (alive) onAlive()
  }
}

/** Of the packet that begins at `at`, header included; null if that is not known yet. One that is malformed has no end: mqtt.js will see it. */
function packetLength(bytes: Buffer, at: number): number | null {
  let remaining = 0
  for (let i = 0; i < MAX_LENGTH_BYTES; i++) {
    const byte = bytes[at + 1 + i]
    if (byte === undefined) return null
    remaining += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return 2 + i + remaining
  }
  return Number.POSITIVE_INFINITY
}
