// The newest record batches of a stream as they are stored, so that readers who have caught up share one copy and do not each ask LevelDB.
// Used by the segment store, which writes it, and the fetcher, which reads it.
//
// Invariants: only what is durable is in it, in order and without gaps per partition; a write that fails, or damage that is found, empties
// it. While nobody reads near the end nothing is kept.

import { baseOffsetOf, lastOffsetOf } from '../record/record-batch.js'
import type { StoredBatch } from './batch-reader.js'
import type { FetchLimits } from './types.js'

/** Whoever reads so close to the end will soon have caught up. */
const NEAR_END_RECORDS = 4096
/** What a batch costs beside its bytes. */
const OVERHEAD_BYTES = 256
/** Dropped entries at the head of a list are given back once there are so many, and more than are left. */
const COMPACT_AT = 64

export class TailCache {
  private readonly newest = new Map<number, List<Buffer>>()
  /** Of all partitions, oldest first. */
  private readonly order = new List<StoredBatch>()
  private bytes = 0
  /** Bytes stored since somebody read near the end. */
  private unread = Number.POSITIVE_INFINITY

  /** @param maxBytes Held at most, inclusive; 0: none. */
  constructor(private readonly maxBytes: number) {}

  get heldBytes(): number {
    return this.bytes
  }

  /** Copies of the batches of a write that is about to begin, as many of the newest as may be held: `add` them once they are durable. */
  copies(batches: readonly StoredBatch[]): readonly StoredBatch[] {
    if (this.unread >= this.maxBytes) {
      this.clear()
      return []
    }
    let total = 0
    let first = batches.length
    for (; first > 0; first--) {
      const size = sizeOf(batches[first - 1])
      if (total + size > this.maxBytes) break
      total += size
    }
    this.unread += first > 0 ? this.maxBytes : total
    return batches.slice(first).map(({ partition, batch }) => ({ partition, batch: Buffer.from(batch) }))
  }

  /** Takes what `copies` gave; it is durable now. */
  add(batches: readonly StoredBatch[]): void {
    for (const stored of batches) {
      const { partition, batch } = stored
      let list = this.newest.get(partition)
      if (list === undefined) this.newest.set(partition, (list = new List()))
      // What is missing in between was too much to hold, or will never be read: what lies before it is of no use.
      if (list.length > 0 && lastOffsetOf(list.at(list.length - 1)) + 1 !== baseOffsetOf(batch)) this.forget(partition)
      list.push(batch)
      this.order.push(stored)
      this.bytes += sizeOf(stored)
    }
    while (this.bytes > this.maxBytes) {
      const oldest = this.order.shift()
      this.bytes -= sizeOf(oldest)
      const list = this.newest.get(oldest.partition)
      if (list !== undefined && list.length > 0 && list.at(0) === oldest.batch) list.shift()
    }
  }

  /**
   * @param end The partition's high watermark.
   * @returns batches from the one that holds `from` on, as `readBatches` would; null when that one is not held.
   */
  read(partition: number, from: number, end: number, limits: FetchLimits): Buffer[] | null {
    if (end - from <= NEAR_END_RECORDS) this.unread = 0
    const list = this.newest.get(partition)
    if (list === undefined || list.length === 0 || from >= end || from < baseOffsetOf(list.at(0))) return null
    const { maxBytes, maxRecords = Number.POSITIVE_INFINITY } = limits
    const batches: Buffer[] = []
    let bytes = 0
    for (let i = firstEndingAt(list, from); i < list.length; i++) {
      const batch = list.at(i)
      if (batches.length > 0 && bytes + batch.length > maxBytes) break
      batches.push(batch)
      bytes += batch.length
      if (lastOffsetOf(batch) + 1 - from >= maxRecords) break
    }
    this.unread = 0
    return batches.length > 0 ? batches : null
  }

  clear(): void {
    this.newest.clear()
    this.order.clear()
    this.bytes = 0
  }

  /** Its batches stay in `order` until their turn to go. */
  private forget(partition: number): void {
    this.newest.get(partition)?.clear()
  }
}

/** First in, first out, with a look at every place. */
class List<T> {
  private items: T[] = []
  private head = 0

  get length(): number {
    return this.items.length - this.head
  }

  at(index: number): T {
    return this.items[this.head + index]
  }

  push(item: T): void {
    this.items.push(item)
  }

  /** Not when empty. */
  shift(): T {
    const item = this.items[this.head]
    this.items[this.head] = undefined as T
    this.head += 1
    if (this.head >= COMPACT_AT && this.head > this.items.length / 2) {
      this.items = this.items.slice(this.head)
      this.head = 0
    }
    return item
  }

  clear(): void {
    this.items = []
    this.head = 0
  }
}

/** The first batch whose last offset is at or after `offset`. */
function firstEndingAt(list: List<Buffer>, offset: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (lastOffsetOf(list.at(middle)) >= offset) high = middle
    else low = middle + 1
  }
  return low
}

function sizeOf({ batch }: StoredBatch): number {
  return batch.length + OVERHEAD_BYTES
}
