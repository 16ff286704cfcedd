// A state store whose writes can be refused, as on a full disk. What was refused is on the disk all the same, or it is not: a caller cannot tell (D4).

import { SluiceError } from '../../src/base/errors.js'
import type { StateOperation, StateStore, StateTable } from '../../src/state/types.js'

export class RefusingState implements StateStore {
  refuses = false
  /** Whether the disk has what was refused. */
  takesAllTheSame = false

  constructor(private readonly store: StateStore) {}

  table<V>(name: string): StateTable<V> {
    const table = this.store.table<V>(name)
    const write = async (operations: readonly StateOperation<V>[]): Promise<void> => {
      if (!this.refuses || this.takesAllTheSame) await table.write(operations)
      if (this.refuses) throw new SluiceError('STORAGE_FULL', 'refused')
    }
    return {
      get: (key) => table.get(key),
      entries: (prefix) => table.entries(prefix),
      put: (key, value) => write([{ put: key, value }]),
      delete: (key) => write([{ delete: key }]),
      write,
    }
  }
}
