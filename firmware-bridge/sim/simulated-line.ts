// One direction of a serial line as it is in the field: as slow as its baud rate, and with noise that damages one frame in so many. Bytes are carried
// by the clock, not by timers: late timers carry more at once.

import type { Random } from './random.js'

const TICK_MS = 2
/** 8 data bits, a start and a stop bit. */
const BITS_PER_BYTE = 10
/** Noise hits one of so many first bytes of a frame. */
const DAMAGED_WITHIN_BYTES = 16

export interface SimulatedLineOptions {
  /** Bits per second; 0 for a line without delay. */
  readonly baudRate: number
  /** Share of frames in which a byte is flipped, lost or doubled. */
  readonly damage: number
  readonly random: Random
  readonly monotonicMs: () => number
  /** Where the bytes come out. */
  readonly deliver: (bytes: Buffer) => void
}

export class SimulatedLine {
  carriedBytes = 0
  /** Frames that have passed, and those that were damaged on the way. */
  frames = 0
  damagedFrames = 0
  private readonly waiting: Buffer[] = []
  private waitingBytes = 0
  private timer: NodeJS.Timeout | undefined
  private lastMs = 0
  /** Bytes that the time passed would have carried, and were not there or not whole. */
  private credit = 0
  /** Bytes until the noise, counted from the start of the frame; negative in a frame without. */
  private damageIn = -1
  private inFrame = false

  constructor(private readonly options: SimulatedLineOptions) {}

  /** Bytes that a UART would still hold. */
  get backlog(): number {
    return this.waitingBytes
  }

  write(bytes: Uint8Array): void {
    if (this.options.baudRate === 0) {
      this.carry(Buffer.from(bytes))
      return
    }
    if (this.waitingBytes === 0) this.lastMs = this.options.monotonicMs()
    this.waiting.push(Buffer.from(bytes))
    this.waitingBytes += bytes.length
    this.timer ??= setInterval(() => this.tick(), TICK_MS)
  }

  /** The cable is pulled: what is on its way is lost. */
  stop(): void {
    clearInterval(this.timer)
    this.timer = undefined
    this.waiting.length = 0
    this.waitingBytes = 0
  }

  private tick(): void {
    const nowMs = this.options.monotonicMs()
    this.credit += ((nowMs - this.lastMs) * this.options.baudRate) / BITS_PER_BYTE / 1000
    this.lastMs = nowMs
    let room = Math.floor(this.credit)
    this.credit -= room
    while (room > 0 && this.waiting.length > 0) {
      const [first] = this.waiting
      const part = first.subarray(0, room)
      if (part.length === first.length) this.waiting.shift()
      else this.waiting[0] = first.subarray(part.length)
      room -= part.length
      this.waitingBytes -= part.length
      this.carry(part)
    }
    if (this.waitingBytes > 0) return
    this.credit = 0
    clearInterval(this.timer)
    this.timer = undefined
  }

  private carry(bytes: Buffer): void {
    this.carriedBytes += bytes.length
    const out: number[] = []
    for (const byte of bytes) {
      if (byte === 0) this.endFrame()
      else if (!this.inFrame) this.startFrame()
      if (byte === 0 || this.damageIn !== 0) out.push(byte)
      else out.push(...this.damaged(byte))
      this.damageIn -= 1
    }
    this.options.deliver(Buffer.from(out))
  }

  private startFrame(): void {
    const { random, damage } = this.options
    this.inFrame = true
    this.damageIn = random() < damage ? Math.floor(random() * DAMAGED_WITHIN_BYTES) : -1
  }

  private endFrame(): void {
    if (!this.inFrame) return
    this.inFrame = false
    this.frames += 1
    // A short frame may end before the noise comes.
    if (this.damageIn >= 0) this.damageIn = -1
  }

  private damaged(byte: number): number[] {
    this.damagedFrames += 1
    const kind = Math.floor(this.options.random() * 3)
    if (kind === 0) return []
    return kind === 1 ? [byte, byte] : [byte ^ (1 << Math.floor(this.options.random() * 8))]
  }
}
