// Sends PUBLISH packets over a socket and counts their acknowledgements. A slot of the window is one or several packets; it has as many packet
// identifiers of its own, so that an identifier says which slot it is of, and is free again when all of the slot is acknowledged.
//
//   packet identifier = 65,535 − (slot × packetsPerSlot + which of them)          those of mqtt.js, for SUBSCRIBE, count from 1 up
//
// Between two flushes what follows each other in memory is written as one, and all of it with one call of the system.

import type { Socket } from 'node:net'
import { assert } from '../../base/assert.js'
import type { Packets } from './publish-encoder.js'

const MAX_PACKET_ID = 65_535
/** mqtt.js' own. */
const OWN_PACKET_IDS = 16
export const LOWEST_PACKET_ID = OWN_PACKET_IDS + 1
export const MAX_MQTT_SLOTS = MAX_PACKET_ID - OWN_PACKET_IDS
/** As many as there are bits in a number. */
export const MAX_PACKETS_PER_SLOT = 31
/** Written without waiting for a flush. */
const GATHERED_BYTES = 32 * 1024

export class PacketSender {
  /** By slot: one bit for each packet that is not acknowledged. */
  private readonly unacked: number[] = []
  private readonly gathered: Buffer[] = []
  private gatheredBytes = 0

  constructor(
    private readonly socket: Pick<Socket, 'write' | 'cork' | 'uncork'>,
    private readonly packetsPerSlot: number,
  ) {
    assert(packetsPerSlot >= 1 && packetsPerSlot <= MAX_PACKETS_PER_SLOT, 'a slot has from 1 to 31 packets')
  }

  /** @param slot Free; `packets` must not be sent twice at a time. */
  send({ bytes, idsAt, tail }: Packets, slot: number): void {
    let packetId = MAX_PACKET_ID - slot * this.packetsPerSlot
    assert(
      idsAt.length <= this.packetsPerSlot && packetId - idsAt.length >= OWN_PACKET_IDS,
      'a slot is one of the window',
    )
    this.unacked[slot] = 2 ** idsAt.length - 1
    for (const at of idsAt) {
      bytes[at] = packetId >>> 8
      bytes[at + 1] = packetId & 0xff
      packetId -= 1
    }
    this.gather(bytes)
    if (tail !== null) this.gather(tail)
    if (this.gatheredBytes >= GATHERED_BYTES) this.flush()
  }

  /** @returns the slot, if this was the last acknowledgement it waited for. */
  acked(packetId: number): number | null {
    const number = MAX_PACKET_ID - packetId
    const slot = Math.floor(number / this.packetsPerSlot)
    const before = this.unacked[slot] ?? 0
    if (before === 0) return null
    this.unacked[slot] = before & ~(1 << (number % this.packetsPerSlot))
    return this.unacked[slot] === 0 ? slot : null
  }

  flush(): void {
    if (this.gatheredBytes === 0) return
    this.socket.cork()
    for (const bytes of this.gathered) this.socket.write(bytes)
    this.socket.uncork()
    this.gathered.length = 0
    this.gatheredBytes = 0
  }

  private gather(bytes: Buffer): void {
    const last = this.gathered.at(-1)
    this.gatheredBytes += bytes.length
    if (last !== undefined && last.buffer === bytes.buffer && last.byteOffset + last.length === bytes.byteOffset)
      this.gathered[this.gathered.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + bytes.length)
    else this.gathered.push(bytes)
  }
}
