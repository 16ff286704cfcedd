// A state store whose writes to one table can be held back, to stand between what is in memory and what is on disk; and that counts the
// readings of tables that are under way.

import type { StateStore, StateTable } from '../../src/state/types.js'

export class GatedState {
  /** Tables of which writes wait for `open`. */
  readonly shut = new Set<string>()
  /** Readings begun and not ended, over all tables. */
  reading = 0
  private waiting: { readonly table: string; readonly go: () => void }[] = []

  readonly wrap = (state: StateStore): StateStore => ({
    table: <V>(name: string) => this.wrapTable(name, state.table<V>(name)),
  })

  /** Writes that wait. */
  get held(): number {
    return this.waiting.length
  }

  /** Lets the writes through that wait now. */
  pass(): void {
    for (const { go } of this.waiting.splice(0)) go()
  }

  open(): void {
    this.shut.clear()
    this.pass()
  }

  private wrapTable<V>(name: string, table: StateTable<V>): StateTable<V> {
    const gate = (): Promise<void> =>
      this.shut.has(name) ? new Promise((go) => this.waiting.push({ table: name, go })) : Promise.resolve()
    const entries = (prefix?: string) => this.count(table.entries(prefix))
    return {
      get: (key) => table.get(key),
      entries,
      put: async (key, value) => {
        await gate()
        return table.put(key, value)
      },
      delete: async (key) => {
        await gate()
        return table.delete(key)
      },
      write: async (operations) => {
        await gate()
        return table.write(operations)
      },
    }
  }

  private async *count<T>(entries: AsyncIterable<T>): AsyncGenerator<T> {
    this.reading += 1
    try {
      yield* entries
    } finally {
      this.reading -= 1
    }
  }
}
