// The distinct MQTT topics (record keys) of a commit or a segment, exact and bounded: what lets a reader with a topic filter pass over a segment
// that holds nothing for it. When there are more than fit, the answer is "any", never a wrong "none".

/** Bytes of names one segment lists, inclusive. */
export const MAX_TOPIC_SET_BYTES = 64 * 1024
const OVERHEAD_PER_NAME = 8

export class TopicSet {
  private readonly byHash = new Map<number, Uint8Array>()
  private bytes = 0
  private last: Uint8Array | null = null
  private overflown = false

  /** @param copies Whether it outlives the commits it learns from: a name may be a view that pins a whole batch. */
  constructor(private readonly copies = true) {}

  /** @param topic Must not be changed by the caller afterwards; null (a record without a key) stands for any. */
  add(topic: Uint8Array | null): void {
    // Publishers come in bursts: most of the time it is the very object that came before.
    if (topic === this.last || this.overflown) return
    if (topic === null) {
      this.overflow()
      return
    }
    this.last = topic
    let hash = hashOf(topic)
    for (let known = this.byHash.get(hash); known !== undefined; known = this.byHash.get(++hash)) {
      if (equal(known, topic)) return
    }
    this.bytes += topic.length + OVERHEAD_PER_NAME
    if (this.bytes > MAX_TOPIC_SET_BYTES) this.overflow()
    else this.byHash.set(hash, this.copies ? Uint8Array.from(topic) : topic)
  }

  /** Of records that are not looked into. */
  addAny(): void {
    this.overflow()
  }

  addAll(other: TopicSet): void {
    if (other.overflown) this.overflow()
    for (const topic of other.byHash.values()) this.add(topic)
  }

  /** null: too many to list, so any topic may be there. */
  names(): readonly string[] | null {
    return this.overflown ? null : [...this.byHash.values()].map((topic) => Buffer.from(topic).toString())
  }

  private overflow(): void {
    this.overflown = true
    this.byHash.clear()
  }
}

/** FNV-1a, 32 bit: for a handful of short names it beats anything cleverer. */
function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193)
  return hash >>> 0
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
