// Plain data on its way to the wire, where field names are snake case.

import { snakeCase } from '../base/snake-case.js'

/** The same with `field_names` instead of `fieldNames`, all the way down. */
export function snakeCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snakeCased)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [snakeCase(name), snakeCased(field)]))
}
