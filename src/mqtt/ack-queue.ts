// The acknowledgements one connection is owed, in the order in which the packets were received. An acknowledgement leaves when the
// commit it waits for is durable and everything before it has left [MQTT-4.6.0-2, MQTT-4.6.0-3, MQTT-4.6.0-4]; all that can leave
// leaves in one write. Where a commit has failed the queue ends: nothing from there on is ever acknowledged. Used by the gate.
//
// One slot per packet in two parallel rings; no object is made per packet. Bounded by `maximum`: when full, the gate stops reading.

import type { Commit } from '../log/types.js'

/** First bytes of the three acknowledgements. */
export const PUBACK = 0x40
export const PUBREC = 0x50
export const PUBCOMP = 0x70

const BODY_BYTES = 2
const FIRST_CAPACITY = 16
/** Commits of one stream settle in order and a connection waits for few at a time: forgetting an old one costs a spare callback. */
const REMEMBERED_COMMITS = 8

export interface AckQueueOwner {
  /** Four bytes per acknowledgement, to be written as they are. */
  writeAcks(bytes: Buffer): void
  /** The commit at the head of the queue has failed: close the connection. */
  ackFailed(commit: Commit): void
}

export class AckQueue {
  /** The four bytes of each, the first byte in the highest bits. */
  private acks = new Uint32Array(0)
  private commits: (Commit | null)[] = []
  private head = 0
  private count = 0
  private ended = false
  private readonly subscribed: Commit[] = []
  private oldest = 0

  /** @param maximum Acknowledgements that may be outstanding, inclusive; rounded up to a power of two. */
  constructor(
    private readonly owner: AckQueueOwner,
    private readonly maximum: number,
  ) {}

  get length(): number {
    return this.count
  }
  get isFull(): boolean {
    return this.count >= this.maximum
  }

  /** @param commit What must be durable first; null if nothing. Call `release` once the chunk has been read. */
  push(kind: number, packetId: number, commit: Commit | null): void {
    if (this.ended) return
    if (this.count === this.acks.length) this.grow()
    const tail = (this.head + this.count) & (this.acks.length - 1)
    this.acks[tail] = (kind << 24) | (BODY_BYTES << 16) | packetId
    this.commits[tail] = commit
    this.count += 1
    if (commit !== null && commit.state === 'pending' && commit !== this.subscribed[this.oldest]) this.subscribe(commit)
  }

  /** Writes out the longest prefix that may leave. */
  release = (): void => {
    if (this.ended || this.count === 0) return
    const mask = this.acks.length - 1
    let ready = 0
    let failed: Commit | null = null
    while (ready < this.count) {
      const commit = this.commits[(this.head + ready) & mask]
      if (commit !== null && commit.state !== 'durable') {
        if (commit.state === 'failed') failed = commit
        break
      }
      ready += 1
    }
    if (ready > 0) this.owner.writeAcks(this.take(ready))
    if (failed !== null) {
      this.end()
      this.owner.ackFailed(failed)
    }
  }

  /** Drops everything: the connection is gone. */
  end(): void {
    this.ended = true
    this.count = 0
    this.commits = []
    this.acks = new Uint32Array(0)
    this.subscribed.length = 0
  }

  private take(ready: number): Buffer {
    const bytes = Buffer.allocUnsafe(4 * ready)
    const { acks, commits } = this
    const mask = acks.length - 1
    let slot = this.head
    for (let at = 0; at < bytes.length; at += 4) {
      const ack = acks[slot]
      bytes[at] = ack >>> 24
      bytes[at + 1] = ack >>> 16
      bytes[at + 2] = ack >>> 8
      bytes[at + 3] = ack
      commits[slot] = null
      slot = (slot + 1) & mask
    }
    this.head = slot
    this.count -= ready
    return bytes
  }

  /** One callback per commit and connection, however many packets wait for it. */
  private subscribe(commit: Commit): void {
    const known = this.subscribed.indexOf(commit)
    if (known !== -1) {
      this.oldest = known
      return
    }
    this.oldest =
      this.subscribed.length < REMEMBERED_COMMITS ? this.subscribed.length : (this.oldest + 1) % REMEMBERED_COMMITS
    this.subscribed[this.oldest] = commit
    commit.onSettled(this.release)
  }

  private grow(): void {
    const capacity = Math.max(FIRST_CAPACITY, this.acks.length * 2)
    const acks = new Uint32Array(capacity)
    const commits: (Commit | null)[] = new Array(capacity).fill(null)
    for (let i = 0; i < this.count; i++) {
      const slot = (this.head + i) & (this.acks.length - 1)
      acks[i] = this.acks[slot]
      commits[i] = this.commits[slot]
    }
    this.acks = acks
    this.commits = commits
    this.head = 0
  }
}
