// What the write-ahead logs of a database hold, in memory and in key order: for reading one that LevelDB cannot open, because opening writes and
// nothing can be written.

import type { TableEntry } from './table-format.js'
import type { ReadAheadBytes } from './table-reader.js'
import { salvageWal } from './wal-salvage.js'

const NOTHING = Buffer.alloc(0)
const BY_KEY = (a: TableEntry, b: TableEntry): number => a.key.compare(b.key)

export class WalEntries {
  /** @param entries Of each key the latest, in order. */
  private constructor(private readonly entries: readonly TableEntry[]) {}

  /** Of records that are not whole, as the one is whose write was refused, nothing is taken. */
  static async read(paths: readonly string[]): Promise<WalEntries> {
    const latest = new Map<string, TableEntry>()
    for (const path of paths) {
      for await (const { key, value, sequence } of salvageWal(path, () => false)) {
        const name = key.toString('latin1')
        const known = latest.get(name)
        if (known !== undefined && known.sequence > sequence) continue
        latest.set(name, { key, value: value ?? NOTHING, sequence, deleted: value === null })
      }
    }
    return new WalEntries([...latest.values()].sort(BY_KEY))
  }

  /** Those with keys from `gte` on and below `lt`, some at a time. */
  async *blocks(gte: Buffer, lt: Buffer, readAheadBytes: ReadAheadBytes): AsyncGenerator<TableEntry[]> {
    let block: TableEntry[] = []
    let bytes = 0
    for (let i = this.firstFrom(gte); i < this.entries.length && this.entries[i].key.compare(lt) < 0; i++) {
      block.push(this.entries[i])
      bytes += this.entries[i].value.length
      if (bytes < (readAheadBytes() ?? 0)) continue
      yield block
      block = []
      bytes = 0
    }
    if (block.length > 0) yield block
  }

  async close(): Promise<void> {}

  private firstFrom(key: Buffer): number {
    let [low, high] = [0, this.entries.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.entries[middle].key.compare(key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
