// The in-flight window of one connection, shared by all lanes of an upstream. A slot is what the far side names when it acknowledges.

import { assert } from '../base/assert.js'

export class Window<T> {
  private readonly slots: (T | undefined)[]
  private readonly weights: number[]
  /** Free slots, taken and given back at the end. */
  private readonly free: number[] = []
  /** What is in flight, by weight. */
  inFlight = 0

  /** @param size The weight of what is in flight at once, inclusive; an item weighs 1 or more. */
  constructor(readonly size: number) {
    if (!Number.isInteger(size) || size < 1) throw new RangeError('a window holds at least one item')
    this.slots = new Array<T | undefined>(size).fill(undefined)
    this.weights = new Array<number>(size).fill(0)
    this.clear()
  }

  /** What is in flight, in no order. */
  items(): T[] {
    return this.slots.filter((item) => item !== undefined)
  }

  /** @returns the slot the item now holds. */
  take(item: T, weight = 1): number {
    assert(this.inFlight + weight <= this.size, 'nothing is sent past the window')
    const slot = this.free.pop() as number
    this.inFlight += weight
    this.slots[slot] = item
    this.weights[slot] = weight
    return slot
  }

  /** Frees a slot. @returns what was in it; undefined if it was free, or is none of ours. */
  release(slot: number): T | undefined {
    const item = this.slots[slot]
    if (item === undefined) return undefined
    this.slots[slot] = undefined
    this.inFlight -= this.weights[slot]
    this.free.push(slot)
    return item
  }

  /** Frees every slot. */
  clear(): void {
    this.slots.fill(undefined)
    this.free.length = 0
    this.inFlight = 0
    for (let slot = this.size - 1; slot >= 0; slot--) this.free.push(slot)
  }
}
