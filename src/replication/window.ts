// The in-flight window of one connection, shared by all lanes of an upstream. A slot is what the far side names when it acknowledges.

import { assert } from '../base/assert.js'

export class Window<T> {
  private readonly slots: (T | undefined)[]
  /** Free slots, taken and given back at the end. */
  private readonly free: number[] = []

  /** @param size Items in flight at once, inclusive. */
  constructor(readonly size: number) {
    if (!Number.isInteger(size) || size < 1) throw new RangeError('a window holds at least one item')
    this.slots = new Array<T | undefined>(size).fill(undefined)
    this.clear()
  }

  get inFlight(): number {
    return this.size - this.free.length
  }

  /** What is in flight, in no order. */
  items(): T[] {
    return this.slots.filter((item) => item !== undefined)
  }

  get hasRoom(): boolean {
    return this.free.length > 0
  }

  /** @returns the slot the item now holds. */
  take(item: T): number {
    const slot = this.free.pop()
    assert(slot !== undefined, 'nothing is sent past the window')
    this.slots[slot] = item
    return slot
  }

  /** Frees a slot. @returns what was in it; undefined if it was free, or is none of ours. */
  release(slot: number): T | undefined {
    const item = this.slots[slot]
    if (item === undefined) return undefined
    this.slots[slot] = undefined
    this.free.push(slot)
    return item
  }

  /** Frees every slot. */
  clear(): void {
    this.slots.fill(undefined)
    this.free.length = 0
    for (let slot = this.size - 1; slot >= 0; slot--) this.free.push(slot)
  }
}
