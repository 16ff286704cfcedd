// A first-in, first-out queue with a fixed maximum, kept in a ring so that neither end costs a copy.

export class BoundedQueue<T> {
  private readonly slots: (T | undefined)[]
  private head = 0
  private count = 0

  /** @param maximum Number of items it holds at most, inclusive. */
  constructor(readonly maximum: number) {
    if (!Number.isInteger(maximum) || maximum < 1) throw new RangeError('a queue holds at least one item')
    this.slots = []
  }

  get length(): number {
    return this.count
  }

  /** @returns false, with nothing changed, when the queue is full. */
  push(item: T): boolean {
    if (this.count === this.maximum) return false
    const tail = this.head + this.count
    this.slots[tail < this.maximum ? tail : tail - this.maximum] = item
    this.count += 1
    return true
  }

  peek(): T | undefined {
    return this.count === 0 ? undefined : this.slots[this.head]
  }

  shift(): T | undefined {
    if (this.count === 0) return undefined
    const item = this.slots[this.head]
    this.slots[this.head] = undefined
    this.head = this.head + 1 === this.maximum ? 0 : this.head + 1
    this.count -= 1
    return item
  }
}
