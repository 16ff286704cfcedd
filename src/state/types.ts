// What the state store offers: small mutable facts in one LevelDB, each write synced to disk before it resolves.

export type StateOperation<V> = { readonly put: string; readonly value: V } | { readonly delete: string }

/** A named table of the state store; keys are strings (ordered by their UTF-8 bytes, at most 1 KB), values whatever CBOR holds. */
export interface StateTable<V> {
  get(key: string): Promise<V | undefined>
  /** In key order, from a consistent snapshot. */
  entries(prefix?: string): AsyncIterable<readonly [key: string, value: V]>
  /** Resolves once durable (fdatasync). Writes that come while one is running are grouped into the next. */
  put(key: string, value: V): Promise<void>
  delete(key: string): Promise<void>
  /** All or nothing, durable when it resolves. */
  write(operations: readonly StateOperation<V>[]): Promise<void>
}

export interface StateStore {
  table<V>(name: string): StateTable<V>
}
