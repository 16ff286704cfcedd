// From what the TOML holds to checked values, by the fields of the schema. Nothing stops at the first problem: a key that does not fit is
// reported and its default is used, so that the rest can be checked too.

import { nearestName } from '../base/nearest.js'
import { camel, type Entries, type Field, type Fields, type List, type Scalar } from './fields.js'
import type { KeyPath } from './problem.js'
import { describe, quote, Unfit } from './unfit.js'

export type RawTable = { [key: string]: unknown }

export interface ReadingContext {
  report(path: KeyPath, what: string, fix?: string): void
  /** @returns the absolute path, and what is wrong with what lies there. */
  locate(
    path: KeyPath,
    written: string,
    kind: 'file' | 'folder',
  ): { readonly absolute: string; readonly problem?: Unfit }
  /** All keys of the schema by name, with the tables they belong to: for keys that stand in the wrong place. */
  readonly homes: ReadonlyMap<string, string>
}

export function readTable(
  fields: Fields,
  raw: RawTable,
  path: KeyPath,
  context: ReadingContext,
): Record<string, unknown> {
  for (const key of Object.keys(raw)) if (!Object.hasOwn(fields, key)) reportUnknown(fields, [...path, key], context)
  const values: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(fields)) {
    const written = Object.hasOwn(raw, key) ? raw[key] : undefined
    values[camel(key)] = readField(field, written, [...path, key], context)
  }
  return values
}

export function isTable(written: unknown): written is RawTable {
  return typeof written === 'object' && written !== null && !Array.isArray(written) && !(written instanceof Date)
}

function readField(field: Field, written: unknown, path: KeyPath, context: ReadingContext): unknown {
  if (field.kind === 'scalar') return readScalar(field, written, path, context)
  if (field.kind === 'list') return readList(field, written, path, context)
  if (field.kind === 'entries') return readEntries(field, written, path, context)
  const key = path.at(-1)
  if (Array.isArray(written)) context.report(path, 'is an array of tables', `write [${key}] with single brackets`)
  else if (written !== undefined && !isTable(written))
    context.report(path, `is ${describe(written)}`, `make it a table: [${key}]`)
  return readTable(field.fields, isTable(written) ? written : {}, path, context)
}

function readScalar(field: Scalar<unknown>, written: unknown, path: KeyPath, context: ReadingContext): unknown {
  if (written === undefined && field.default === undefined) {
    if (!field.optional) context.report(path, 'is missing', `add it: ${field.description}`)
    return undefined
  }
  const value = field.read(written ?? field.default)
  if (value instanceof Unfit) {
    context.report(path, value.what, value.fix)
    return field.default === undefined ? undefined : field.read(field.default)
  }
  if (field.path === undefined) return value
  const { absolute, problem } = context.locate(path, value as string, field.path)
  if (problem) context.report(path, problem.what, problem.fix)
  return absolute
}

function readList(field: List<unknown>, written: unknown, path: KeyPath, context: ReadingContext): unknown[] {
  const { of, minItems, maxItems } = field
  if (written === undefined && field.default === undefined)
    context.report(path, 'is missing', `add it: ${field.description}`)
  // A single text may stand for a list of one.
  const items = typeof written === 'string' ? [written] : (written ?? field.default ?? [])
  if (!Array.isArray(items)) {
    context.report(path, `is ${describe(written)}`, 'write a list: ["…", "…"]')
    return []
  }
  if (written !== undefined && items.length < minItems) context.report(path, 'is an empty list', 'name at least one')
  if (items.length > maxItems) context.report(path, `has ${items.length} items`, `name ${maxItems} at most`)
  const values: unknown[] = []
  for (const [at, item] of items.slice(0, maxItems).entries()) {
    const value = of.read(item)
    if (value instanceof Unfit) context.report(path, value.what, value.fix)
    else if (items.indexOf(item) !== at) context.report(path, `names ${quote(item)} twice`, 'leave one out')
    else values.push(value)
  }
  return values
}

function readEntries(field: Entries<Fields>, written: unknown, path: KeyPath, context: ReadingContext): unknown[] {
  const key = path.at(-1)
  if (written === undefined) return []
  const tables = Array.isArray(written) && written.every(isTable) ? (written as RawTable[]) : null
  if (tables === null) {
    const what = isTable(written) ? 'is a single table' : `is ${describe(written)}`
    context.report(path, what, `write [[${key}]] with double brackets, once for each`)
    return []
  }
  if (tables.length > field.maxItems)
    context.report(path, `has ${tables.length} entries`, `define ${field.maxItems} at most`)
  return tables.slice(0, field.maxItems).map((entry, i) => readTable(field.fields, entry, [...path, i], context))
}

function reportUnknown(fields: Fields, path: KeyPath, context: ReadingContext): void {
  const key = String(path.at(-1))
  const nearest = nearestName(key, Object.keys(fields))
  const home = context.homes.get(key)
  const hints = [
    nearest === null ? null : `did you mean ${nearest}?`,
    home === undefined ? null : `${key} belongs to ${home}`,
  ]
  context.report(path, 'is not a known key', hints.filter((hint) => hint !== null).join(' or ') || 'remove it')
}
