// A table as a node offers it, in memory; it can be made to fail.

import type { DurableTable } from '../../firmware-bridge/devices/bridge-node.js'

/** Keeps copies. */
export class MemoryTable<V> implements DurableTable<V> {
  readonly rows = new Map<string, string>()
  failing = false
  async get(key: string): Promise<V | undefined> {
    const row = this.rows.get(key)
    return row === undefined ? undefined : JSON.parse(row)
  }
  async *entries(): AsyncGenerator<readonly [string, V]> {
    for (const [key, row] of this.rows) yield [key, JSON.parse(row)]
  }
  async put(key: string, value: V): Promise<void> {
    if (this.failing) throw new Error('disk')
    this.rows.set(key, JSON.stringify(value))
  }
  async delete(key: string): Promise<void> {
    this.rows.delete(key)
  }
}
