// Environment variables laid over the TOML. The variable of a key is SLUICE_ and its path in capitals: SLUICE_MQTT_LISTEN; lists are
// separated by commas. Entries of arrays go by name, - written as _: SLUICE_STREAM_TELEMETRY_RETENTION_MAX_BYTES. Setting the
// name of an entry that is not there adds it. An empty variable counts as not set.

import { nearestName } from '../base/nearest.js'
import type { Field, Fields, List, Scalar } from './fields.js'
import type { KeyPath } from './problem.js'
import { isTable, type RawTable } from './read-table.js'

export const ENVIRONMENT_PREFIX = 'SLUICE_'
/** Variables that are not keys of the configuration: for the commands, and for finding the file. */
const OTHER_VARIABLES = ['SLUICE_URL', 'SLUICE_TOKEN', 'SLUICE_DEBUG', 'SLUICE_CONFIG']
/** What Kubernetes sets in every pod beside a service named "sluice". */
const SERVICE_LINK = /^SLUICE(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP).*)?)$/

interface Leaf {
  readonly keys: readonly string[]
  readonly field: Scalar<unknown> | List<unknown>
}

interface EntriesField {
  readonly key: string
  readonly leaves: readonly Leaf[]
}

export type Environment = Readonly<Record<string, string | undefined>>

export interface EnvironmentReport {
  /** A key was set from this variable. */
  set(path: KeyPath, variable: string): void
  problem(severity: 'error' | 'warning', variable: string, what: string, fix?: string): void
}

/** Changes `raw`. */
export function applyEnvironment(
  fields: Fields,
  raw: RawTable,
  environment: Environment,
  report: EnvironmentReport,
): void {
  const plain = new Map(leavesOf(fields).map((leaf) => [nameOf(leaf.keys), leaf]))
  const arrays = Object.entries(fields).flatMap(([key, field]) =>
    field.kind === 'entries' ? [{ key, leaves: leavesOf(field.fields) }] : [],
  )
  const variables = Object.keys(environment).filter(
    (name) => name.startsWith(ENVIRONMENT_PREFIX) && environment[name] !== '' && !OTHER_VARIABLES.includes(name),
  )
  // Names first: they add the entries that other variables set keys of.
  variables.sort((a, b) => Number(b.endsWith('_NAME')) - Number(a.endsWith('_NAME')) || (a < b ? -1 : 1))
  for (const variable of variables) {
    const leaf = plain.get(variable)
    const array = arrays.find(({ key }) => variable.startsWith(`${nameOf([key])}_`))
    if (leaf !== undefined) {
      write(raw, leaf.keys, leaf.field, environment[variable] as string)
      report.set(leaf.keys, variable)
    } else if (array !== undefined) {
      applyToEntry(raw, array, variable, environment[variable] as string, report)
    } else if (!SERVICE_LINK.test(variable)) {
      const nearest = nearestVariable(variable, [...plain.keys(), ...OTHER_VARIABLES])
      const section = Object.keys(fields).some((key) => variable.startsWith(`${nameOf([key])}_`))
      const fix = nearest === null ? 'unset it' : `did you mean ${nearest}?`
      // What resembles no key may belong to somebody else's script: it must not keep a gateway from starting.
      report.problem(nearest === null && !section ? 'warning' : 'error', variable, 'is not a known variable', fix)
    }
  }
}

function applyToEntry(
  raw: RawTable,
  array: EntriesField,
  variable: string,
  text: string,
  report: EnvironmentReport,
): void {
  const rest = variable.slice(nameOf([array.key]).length + 1)
  const entries = entriesOf(raw, array.key)
  const isNamed = (entryName: string) => (entry: RawTable) => upper([String(entry['name'])]) === entryName
  // `A_MAX_AGE` may be key AGE of the entry A_MAX or key MAX_AGE of A: the entries that are there decide.
  const readings = array.leaves
    .filter(({ keys }) => rest.endsWith(`_${upper(keys)}`) && rest.length > upper(keys).length + 1)
    .map((leaf) => ({ leaf, entryName: rest.slice(0, -upper(leaf.keys).length - 1) }))
  const reading = readings.find(({ entryName }) => entries.some(isNamed(entryName)))
  const naming = readings.find(({ leaf }) => leaf.keys.join() === 'name')
  if (reading === undefined && naming === undefined) {
    reportNoEntry(array, entries, readings[0]?.entryName, variable, report)
  } else if (reading === undefined || reading === naming) {
    addEntry(raw, array.key, naming!.entryName, { variable, text, exists: reading !== undefined }, report)
  } else if (entries.filter(isNamed(reading.entryName)).length > 1) {
    report.problem('error', variable, 'fits more than one entry', 'rename one of them, or set the key in the file')
  } else {
    const at = entries.findIndex(isNamed(reading.entryName))
    write(entries[at], reading.leaf.keys, reading.leaf.field, text)
    report.set([array.key, at, ...reading.leaf.keys], variable)
  }
}

function addEntry(
  raw: RawTable,
  key: string,
  entryName: string,
  { variable, text, exists }: { readonly variable: string; readonly text: string; readonly exists: boolean },
  report: EnvironmentReport,
): void {
  const entries = raw[key] ?? []
  if (upper([text]) !== entryName) {
    const fix = `set it to ${JSON.stringify(entryName.toLowerCase())}`
    report.problem('error', variable, `gives the name ${JSON.stringify(text)}, which is not its own`, fix)
  } else if (!exists && Array.isArray(entries)) {
    raw[key] = [...entries, { name: text }]
    report.set([key, entries.length], variable)
  }
}

function reportNoEntry(
  { key, leaves }: EntriesField,
  entries: readonly RawTable[],
  entryName: string | undefined,
  variable: string,
  report: EnvironmentReport,
): void {
  const known = entries.flatMap((entry) => leaves.map(({ keys }) => nameOf([key, String(entry['name']), ...keys])))
  const nearest = nearestVariable(variable, known)
  const hints = nearest === null ? [] : [`did you mean ${nearest}?`]
  if (entryName !== undefined)
    hints.push(`to add one, set ${nameOf([key, entryName, 'name'])}=${entryName.toLowerCase()} too`)
  const what = entryName === undefined ? 'is not a known variable' : `belongs to no [[${key}]] there is`
  report.problem('error', variable, what, hints.join(' or ') || 'unset it')
}

function nearestVariable(variable: string, known: readonly string[]): string | null {
  const bare = (name: string): string => name.slice(ENVIRONMENT_PREFIX.length)
  // The prefix they share would make any two look alike.
  const nearest = nearestName(bare(variable), known.map(bare))
  return nearest === null ? null : ENVIRONMENT_PREFIX + nearest
}

function write(raw: RawTable, keys: readonly string[], field: Leaf['field'], text: string): void {
  let table = raw
  for (const key of keys.slice(0, -1)) {
    table[key] ??= {}
    // What stands in the file in place of a table is reported when the file is read.
    if (!isTable(table[key])) return
    table = table[key]
  }
  table[keys[keys.length - 1]] = rawValueOf(field, text)
}

function rawValueOf(field: Leaf['field'], text: string): unknown {
  if (field.kind === 'scalar') return field.fromText(text)
  const items = text.split(',').map((item) => item.trim())
  return items.filter((item) => item !== '').map((item) => field.of.fromText(item))
}

function leavesOf(fields: Fields, above: readonly string[] = []): Leaf[] {
  return Object.entries(fields).flatMap(([key, field]: [string, Field]): Leaf[] => {
    const keys = [...above, key]
    if (field.kind === 'table') return leavesOf(field.fields, keys)
    return field.kind === 'entries' ? [] : [{ keys, field }]
  })
}

function entriesOf(raw: RawTable, key: string): RawTable[] {
  const written = raw[key]
  return Array.isArray(written) ? written.filter(isTable) : []
}

function nameOf(keys: readonly string[]): string {
  return ENVIRONMENT_PREFIX + upper(keys)
}

function upper(keys: readonly string[]): string {
  return keys.join('_').replaceAll('-', '_').toUpperCase()
}
