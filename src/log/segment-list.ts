// The segments of a stream, oldest first, and which of them holds an offset.

import type { Segment } from './segment.js'

/** Sealed segments kept open for reading, over all streams of a node: each costs a descriptor and the index of its table. */
export const MAX_OPEN_SEALED_SEGMENTS = 8

/** The least recently used sealed segments are closed when more than `maximum` are open. */
export class OpenSegments {
  private readonly recent = new Set<Segment>()

  constructor(private readonly maximum = MAX_OPEN_SEALED_SEGMENTS) {}

  /** Call before using a sealed segment. */
  touch(segment: Segment): void {
    this.recent.delete(segment)
    this.recent.add(segment)
    for (const oldest of this.recent) {
      if (this.recent.size <= this.maximum) break
      this.recent.delete(oldest)
      // A reader that still uses it delays the closing; nobody waits for it here.
      oldest.close().catch(() => {})
    }
  }

  forget(segment: Segment): void {
    this.recent.delete(segment)
  }
}

export class SegmentList {
  private readonly list: Segment[] = []

  get all(): readonly Segment[] {
    return this.list
  }

  get oldest(): Segment | undefined {
    return this.list[0]
  }

  get newest(): Segment | undefined {
    return this.list.at(-1)
  }

  get bytes(): number {
    return this.list.reduce((sum, segment) => sum + segment.bytes, 0)
  }

  add(segment: Segment): void {
    this.list.push(segment)
  }

  /** Puts the segment as it was read back from disk in the place of the one that was written. */
  replace(written: Segment, recovered: Segment): void {
    this.list[this.list.indexOf(written)] = recovered
  }

  removeOldest(): void {
    this.list.shift()
  }

  /** The first segment with a record of the partition at or after `offset`; undefined at the end of the log. */
  holding(partition: number, offset: number): Segment | undefined {
    let low = 0
    let high = this.list.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.list[middle].extents[partition]?.end ?? 0) > offset) high = middle
      else low = middle + 1
    }
    return this.list[low]
  }

  /** Undefined when there is no segment, or none that knows the partition: it was added later. */
  startOf(partition: number): number | undefined {
    return this.list.find(({ extents }) => partition < extents.length)?.extents[partition].base
  }
}
