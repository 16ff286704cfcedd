// The small facts of bridges in processes of their own: tables of bytes, kept in state/. Bounded per bridge.

import { SluiceError } from '../base/errors.js'
import type { StateTable } from '../state/types.js'
import { base64Of, booleanOf, objectOf, textOf } from './json-body.js'
import { checkParameter } from './parameters.js'

/** Of a bridge, over all its tables, inclusive. */
const MAX_ROWS = 50_000
const MAX_KEY_BYTES = 512
const MAX_VALUE_BYTES = 64 * 1024
const MAX_ANSWER_BYTES = 1024 * 1024

export interface TableWrite {
  readonly key: string
  /** Null: the row is taken out. */
  readonly value: Buffer | null
}

export class BridgeTables {
  private readonly rows = new Map<string, Promise<Set<string>>>()

  constructor(private readonly table: StateTable<Uint8Array>) {}

  /** The row with this key, or none. */
  async readOne(bridge: string, table: string, key: string): Promise<object> {
    const value = await this.table.get(prefixOf(bridge, table) + key)
    return { rows: value === undefined ? [] : [rowOf(key, value)], done: true }
  }

  /** @param after Rows from the first key behind this one; null: from the first. */
  async read(bridge: string, table: string, after: string | null, maxRows: number): Promise<object> {
    const prefix = prefixOf(bridge, table)
    const rows: object[] = []
    let bytes = 0
    for await (const [name, value] of this.table.entries(prefix)) {
      const key = name.slice(prefix.length)
      if (after !== null && Buffer.compare(Buffer.from(key), Buffer.from(after)) <= 0) continue
      if (rows.length === maxRows || bytes > MAX_ANSWER_BYTES) return { rows, done: false }
      bytes += key.length + value.length
      rows.push(rowOf(key, value))
    }
    return { rows, done: true }
  }

  /** All or nothing, durable when it resolves. @throws SluiceError TOO_MANY_REQUESTS when the bridge has too many rows. */
  async write(bridge: string, table: string, writes: readonly TableWrite[]): Promise<void> {
    const prefix = prefixOf(bridge, table)
    const names = await this.namesOf(bridge)
    const fresh = writes.filter(({ key, value }) => value !== null && !names.has(prefix + key))
    if (names.size + fresh.length > MAX_ROWS)
      throw new SluiceError('TOO_MANY_REQUESTS', `bridge ${bridge} keeps ${names.size} facts, the most is ${MAX_ROWS}`)
    await this.table.write(
      writes.map(({ key, value }) => (value === null ? { delete: prefix + key } : { put: prefix + key, value })),
    )
    for (const { key, value } of writes) {
      if (value === null) names.delete(prefix + key)
      else names.add(prefix + key)
    }
  }

  private namesOf(bridge: string): Promise<Set<string>> {
    let names = this.rows.get(bridge)
    if (names === undefined) {
      names = this.load(bridge)
      this.rows.set(bridge, names)
      names.catch(() => this.rows.delete(bridge))
    }
    return names
  }

  private async load(bridge: string): Promise<Set<string>> {
    const names = new Set<string>()
    for await (const [name] of this.table.entries(`${bridge}/`)) names.add(name)
    return names
  }
}

/** A write as it comes in a body. @throws SluiceError INVALID_REQUEST. */
export function readWrite(value: unknown, i: number): TableWrite {
  const where = `writes[${i}]`
  const fields = objectOf(value, where, ['key', 'value_base64', 'delete'])
  const key = textOf(fields['key'], `${where}.key`)
  if (key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES)
    throw new SluiceError('INVALID_REQUEST', `${where}.key has to have 1 to ${MAX_KEY_BYTES} bytes`)
  if (booleanOf(fields['delete'], `${where}.delete`, false)) return { key, value: null }
  const bytes = base64Of(fields['value_base64'], `${where}.value_base64`)
  if (bytes.length > MAX_VALUE_BYTES)
    throw new SluiceError('RECORD_TOO_LARGE', `${where} has ${bytes.length} bytes, the most is ${MAX_VALUE_BYTES}`)
  return { key, value: bytes }
}

function rowOf(key: string, value: Uint8Array): object {
  return { key, value_base64: Buffer.from(value).toString('base64') }
}

function prefixOf(bridge: string, table: string): string {
  return `${checkParameter('bridge', bridge)}/${checkParameter('table', table)}/`
}
