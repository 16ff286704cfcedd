// The writing side of one connection: gathers what is to be delivered and writes it to the socket in one go, and keeps what a slow
// reader has not taken within a bound, so that one frozen subscriber costs its own messages and nobody else's time.
//
// Ranges of shared buffers are gathered without copying while the socket keeps up; only for one that does not are they copied, so that
// it pins none of the shared buffers. Used by the gate, the fan-out and the session pump.

import type { Duplex } from 'node:stream'

export interface OutboxOwner {
  /** Something is gathered: call `flush` before long. */
  gathered(outbox: Outbox): void
  /** The queue is full and a message was dropped: the first since it last had room. */
  overflowed(): void
  /** The socket has taken what it was given: there is room again. */
  drained(): void
}

export class Outbox {
  /** QoS 0 messages given up because the queue was full. */
  dropped = 0
  /** Given to the socket. */
  sentBytes = 0
  private overflowing = false
  private sources: Buffer[] = []
  private ranges: number[] = []
  private gatheredBytes = 0
  private backlog: Buffer[] = []
  private backlogBytes = 0
  private ended = false

  /** @param maxQueuedBytes Waiting for the socket at most, inclusive. */
  constructor(
    private readonly socket: Duplex,
    private readonly owner: OutboxOwner,
    private readonly maxQueuedBytes: number,
  ) {
    socket.on('drain', () => this.drain())
  }

  get isEnded(): boolean {
    return this.ended
  }
  /** Bytes that wait: gathered, held back, and inside the socket. */
  get queuedBytes(): number {
    return this.gatheredBytes + this.backlogBytes + this.socket.writableLength
  }
  /** The queue is full, or a message had to be dropped, and the socket has not been emptied since. */
  get isBehind(): boolean {
    return this.overflowing || this.isFull
  }
  get isFull(): boolean {
    return this.queuedBytes >= this.maxQueuedBytes
  }

  /** @param bytes Waiting elsewhere to be given to this one. */
  hasRoomBeside(bytes: number): boolean {
    return this.queuedBytes + bytes < this.maxQueuedBytes
  }

  /** Writes an answer behind what was gathered before it, and, like `write`, ahead of what is held back. */
  answer(bytes: Buffer): void {
    this.flush()
    this.write(bytes)
  }

  /** Writes at once, whatever waits: acknowledgements. The bytes must not change afterwards. */
  write(bytes: Buffer): void {
    if (this.ended) return
    this.sentBytes += bytes.length
    this.socket.write(bytes)
  }

  /**
   * Gathers source[start, end), whole packets, which must not change afterwards.
   * @param mustKeep Takes it even when the queue is full: whoever says so keeps within a window of its own.
   * @returns false if it was dropped because the queue is full.
   */
  gather(source: Buffer, start: number, end: number, mustKeep = false): boolean {
    if (this.ended) return false
    const waiting = this.gatheredBytes + this.backlogBytes
    if (waiting > 0 && waiting + end - start > this.maxQueuedBytes && !mustKeep) {
      this.dropped += 1
      if (!this.overflowing) {
        this.overflowing = true
        this.owner.overflowed()
      }
      return false
    }
    const last = this.sources.length - 1
    if (last >= 0 && this.sources[last] === source && this.ranges[2 * last + 1] === start)
      this.ranges[2 * last + 1] = end
    else {
      this.sources.push(source)
      this.ranges.push(start, end)
    }
    if (this.gatheredBytes === 0) this.owner.gathered(this)
    this.gatheredBytes += end - start
    return true
  }

  /** Writes what was gathered, in one go, or holds it back while the socket is behind. */
  flush(): void {
    if (this.gatheredBytes === 0 || this.ended) return
    const held = this.socket.writableNeedDrain || this.backlog.length > 0
    const bytes =
      this.sources.length === 1 && !held
        ? this.sources[0].subarray(this.ranges[0], this.ranges[1])
        : this.copyGathered()
    this.sources = []
    this.ranges = []
    this.gatheredBytes = 0
    this.sentBytes += bytes.length
    if (!held) this.socket.write(bytes)
    else {
      this.backlog.push(bytes)
      this.backlogBytes += bytes.length
    }
  }

  end(): void {
    this.ended = true
    this.sources = []
    this.ranges = []
    this.gatheredBytes = 0
    this.backlog = []
    this.backlogBytes = 0
  }

  private copyGathered(): Buffer {
    const bytes = Buffer.allocUnsafe(this.gatheredBytes)
    let at = 0
    for (let i = 0; i < this.sources.length; i++)
      at += this.sources[i].copy(bytes, at, this.ranges[2 * i], this.ranges[2 * i + 1])
    return bytes
  }

  private drain(): void {
    if (this.ended) return
    this.overflowing = false
    if (this.backlog.length > 0) {
      const { backlog } = this
      this.backlog = []
      this.backlogBytes = 0
      this.socket.cork()
      for (const bytes of backlog) this.socket.write(bytes)
      this.socket.uncork()
    }
    this.owner.drained()
  }
}
