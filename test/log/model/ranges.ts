// Sets of offsets, as ranges.

export interface Range {
  /** Inclusive. */
  readonly first: number
  /** Inclusive. */
  readonly last: number
}

export class Ranges {
  private list: Range[] = []

  static of(ranges: Iterable<Range>): Ranges {
    const set = new Ranges()
    for (const { first, last } of ranges) set.add(first, last)
    return set
  }

  get all(): readonly Range[] {
    return this.list
  }

  /** Both inclusive; nothing if `last` is below `first`. */
  add(first: number, last: number): void {
    if (last < first) return
    const newest = this.list.at(-1)
    if (newest !== undefined && newest.last + 1 === first) {
      this.list[this.list.length - 1] = { first: newest.first, last }
      return
    }
    const apart = this.list.filter((range) => range.last + 1 < first || range.first > last + 1)
    const touched = this.list.filter((range) => !apart.includes(range))
    const joined = {
      first: Math.min(first, ...touched.map((range) => range.first)),
      last: Math.max(last, ...touched.map((range) => range.last)),
    }
    this.list = [...apart, joined].sort((a, b) => a.first - b.first)
  }

  has(offset: number): boolean {
    return this.list.some(({ first, last }) => first <= offset && offset <= last)
  }

  /** What of this is not in the other. */
  without(other: Ranges): Range[] {
    return this.list.flatMap((range) => {
      const left: Range[] = []
      let next = range.first
      for (const { first, last } of other.list) {
        if (last < next || first > range.last) continue
        if (first > next) left.push({ first: next, last: first - 1 })
        next = last + 1
      }
      if (next <= range.last) left.push({ first: next, last: range.last })
      return left
    })
  }

  toString(): string {
    return this.list.map(({ first, last }) => `${first}-${last}`).join(' ')
  }
}
