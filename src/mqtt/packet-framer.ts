// Cuts the byte stream of one connection into MQTT control packets without copying what arrives whole: a packet is handed on as a range
// of the chunk it came in, and only one that straddles two chunks is put together in a buffer of its own. Used by the gate.
//
//   packet           = first-byte remaining-length body
//   first-byte       = type (4 bits) flags (4 bits)
//   remaining-length = 1 to 4 bytes, seven bits each, least significant first, top bit set on all but the last
//
// Invariants: packets leave in order; a packet the sink refuses is offered again by `resume`; never more than one packet of at most
// `maxPacketBytes` plus the rest of one chunk is held.

import { assert } from '../base/assert.js'
import { headerProblem } from './header-problem.js'
import type { ReadMemory } from './read-memory.js'

export interface PacketSink {
  /** While true no packet is offered; call `resume` when it is false again. */
  readonly paused: boolean
  /**
   * One whole packet: buffer[start, end), its body from `bodyStart`. The bytes are only valid during the call.
   * @returns false if it cannot be taken now; it is offered again by `resume`. The sink must be paused then.
   */
  onPacket(buffer: Buffer, start: number, bodyStart: number, end: number): boolean
  /** The stream breaks the protocol; no packet will follow. `problem` is a phrase for the log, `limit` the one that was passed, if any. */
  onViolation(problem: string, limit?: 'packet size'): void
}

const NOTHING = Buffer.alloc(0)
const SMALLEST_CARRY = 1024

export class PacketFramer {
  /** MQTT protocol level, 3 or 4, once CONNECT has told it; 3.1 allows DUP on more packets. */
  protocolLevel = 4
  /** Bytes received that belong to no whole packet yet. */
  get partialBytes(): number {
    return this.carried
  }
  /** Bytes it keeps allocated between chunks. */
  heldBytes = 0
  private carry = NOTHING
  private carried = 0
  private waiting: Buffer | null = null
  private ended = false
  // Of the header scanned last.
  private bodyStart = 0
  private packetEnd = 0

  /**
   * @param maxPacketBytes Inclusive, header and all; may be changed between packets.
   * @param memory Told of what is held.
   */
  constructor(
    private readonly sink: PacketSink,
    public maxPacketBytes: number,
    private readonly memory: ReadMemory | null = null,
  ) {}

  /** Takes the next bytes of the stream, chunk[0, end), which are not needed afterwards. Must not be called between a refusal and `resume`. */
  push(chunk: Buffer, end = chunk.length): void {
    if (this.ended) return
    assert(this.waiting === null, 'no chunk arrives while an earlier one waits')
    this.consume(chunk, end)
    this.countHeld()
  }

  /** Offers again what was refused, and goes on. */
  resume(): void {
    const chunk = this.waiting
    if (chunk === null || this.ended) return
    this.waiting = null
    this.consume(chunk, chunk.length)
    this.countHeld()
  }

  /** Forgets everything; nothing is offered any more. */
  end(): void {
    this.ended = true
    this.waiting = null
    this.carry = NOTHING
    this.carried = 0
    this.countHeld()
  }

  private countHeld(): void {
    const now = this.carry.length + (this.waiting?.length ?? 0)
    if (now === this.heldBytes) return
    this.memory?.changed(now - this.heldBytes)
    this.heldBytes = now
  }

  private consume(chunk: Buffer, end: number): void {
    let at = this.carried > 0 ? this.completeCarried(chunk, end) : 0
    const { sink } = this
    while (at < end && !sink.paused && !this.ended) {
      if (!this.scanHeader(chunk, at, end)) {
        if (!this.ended) this.keep(chunk, at, end)
        return
      }
      if (this.packetEnd > end) {
        this.keep(chunk, at, end)
        return
      }
      const next = this.packetEnd
      if (!sink.onPacket(chunk, at, this.bodyStart, next)) break
      at = next
    }
    if (sink.paused && !this.ended && (at < end || this.carried > 0))
      // A copy: a chunk is only valid during the call that brings it.
      this.waiting = Buffer.from(chunk.subarray(at, end))
  }

  /**
   * Reads the header at `at` and sets bodyStart and packetEnd.
   * @returns false when it is incomplete, or breaks the protocol (then the framer has ended).
   */
  private scanHeader(buffer: Buffer, at: number, limit: number): boolean {
    let remaining = 0
    let position = at + 1
    for (let shift = 0; position < limit; shift += 7) {
      const byte = buffer[position++]
      remaining |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        const problem = headerProblem(buffer[at], remaining, this.protocolLevel)
        if (problem !== null) return this.violated(problem)
        this.bodyStart = position
        this.packetEnd = position + remaining
        if (this.packetEnd - at <= this.maxPacketBytes) return true
        return this.violated(
          `packet of ${this.packetEnd - at} bytes is larger than the limit of ${this.maxPacketBytes}`,
          'packet size',
        )
      }
      if (shift === 21) return this.violated('remaining length is longer than four bytes') // section 2.2.3
    }
    return false
  }

  /** Begins a carried packet with chunk[at, end). */
  private keep(chunk: Buffer, at: number, end: number): void {
    this.carried = 0
    this.appendToCarry(chunk, at, end)
  }

  private appendToCarry(chunk: Buffer, from: number, to: number): void {
    const needed = this.carried + to - from
    if (needed > this.carry.length) {
      // Doubling, not the announced size: a header alone must not make us allocate a whole packet.
      const grown = Buffer.allocUnsafeSlow(
        Math.max(SMALLEST_CARRY, needed, Math.min(this.carry.length * 2, this.maxPacketBytes)),
      )
      this.carry.copy(grown, 0, 0, this.carried)
      this.carry = grown
    }
    chunk.copy(this.carry, this.carried, from, to)
    this.carried = needed
  }

  /** @returns how much of the chunk went into the packet begun before it. */
  private completeCarried(chunk: Buffer, end: number): number {
    let at = 0
    while (!this.scanHeader(this.carry, 0, this.carried)) {
      if (this.ended || at === end) return at
      this.appendToCarry(chunk, at, at + 1)
      at += 1
    }
    const total = this.packetEnd
    const bodyStart = this.bodyStart
    const missing = Math.min(total - this.carried, end - at)
    if (missing > 0) this.appendToCarry(chunk, at, at + missing)
    at += missing
    if (this.carried < total || this.sink.paused) return at
    if (this.sink.onPacket(this.carry, 0, bodyStart, total)) {
      this.carried = 0
      this.carry = NOTHING
    }
    return at
  }

  private violated(problem: string, limit?: 'packet size'): false {
    this.end()
    this.sink.onViolation(problem, limit)
    return false
  }
}
