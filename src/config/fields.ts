// The vocabulary in which schema.ts is written. A field knows how to check what stands in the TOML, what value comes out, its line of
// documentation, and its JSON Schema; the TypeScript types of the values are inferred from it. So there is one source for all four.

import { describe, inRange, quote, type Range, Unfit, wrongType } from './unfit.js'
import {
  BYTE_RATE_PATTERN,
  BYTES_PATTERN,
  DURATION_PATTERN,
  parseByteRate,
  parseBytes,
  parseDuration,
} from './units.js'

export type JsonSchema = { readonly [keyword: string]: unknown }

interface Common {
  /** One line, for the JSON Schema and the reference. */
  readonly description: string
  /** What applies when the key is absent, in TOML's notation. Without it the key is required unless `optional`. */
  readonly default?: unknown
  readonly optional?: true
}

export interface Scalar<T> extends Common {
  readonly kind: 'scalar'
  readonly json: JsonSchema
  /** What the text of an environment variable means in TOML. */
  fromText(text: string): unknown
  read(written: unknown): T | Unfit
  /** The value is a path: made absolute, from the folder of the file it is written in. */
  readonly path?: 'folder' | 'file'
}
export interface List<T> extends Common {
  readonly kind: 'list'
  readonly of: Scalar<T>
  /** Inclusive; does not count for the default. */
  readonly minItems: number
  /** Inclusive. */
  readonly maxItems: number
}
export interface Table<F extends Fields> {
  readonly kind: 'table'
  readonly description: string
  readonly fields: F
}
/** An array of tables, each with a `name`. */
export interface Entries<F extends Fields> {
  readonly kind: 'entries'
  readonly description: string
  readonly fields: F
  /** Inclusive. */
  readonly maxItems: number
}
export type Field = Scalar<unknown> | List<unknown> | Table<Fields> | Entries<Fields>
export type Fields = { readonly [key: string]: Field }

/** `max_packet_size` -> `maxPacketSize`. */
export type Camel<S extends string> = S extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : S
export type ValueOf<F> =
  F extends Scalar<infer T>
    ? T
    : F extends List<infer T>
      ? readonly T[]
      : F extends Table<infer S>
        ? ValuesOf<S>
        : F extends Entries<infer S>
          ? readonly ValuesOf<S>[]
          : never
export type ValuesOf<S> = { readonly [K in keyof S & string as Camel<K>]: ValueOf<S[K]> }

export function camel(key: string): string {
  return key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

type Present<T, O> = O extends { optional: true } ? T | undefined : T

interface TextOptions extends Common {
  readonly pattern?: RegExp
  /** Instruction for what does not match `pattern`. */
  readonly fix?: string
  /** Further checks. */
  readonly check?: (text: string) => Unfit | null
}

export function text<const O extends TextOptions>(options: O): Scalar<Present<string, O>> {
  const { pattern, fix, check, ...common } = options as TextOptions
  const json = { type: 'string', ...(pattern ? { pattern: pattern.source } : { minLength: 1 }) }
  return scalar<string>({ ...common, json }, (written) => {
    if (typeof written !== 'string') return wrongType(written, 'a text in quotes')
    if (written === '') return new Unfit('is empty', 'give it a value or leave the key out')
    if (pattern && !pattern.test(written)) return new Unfit(`is ${quote(written)}, which is not valid`, fix)
    return check?.(written) ?? written
  }) as Scalar<Present<string, O>>
}

/** A text that is read into something else, such as an address. */
export function parsed<const O extends Common & { readonly json?: JsonSchema }, R>(
  options: O,
  parse: (written: string) => R,
): Scalar<Present<Exclude<R, Unfit>, O>> {
  return scalar<R>({ ...options, json: options.json ?? { type: 'string' } }, (written) =>
    typeof written === 'string' ? parse(written) : wrongType(written, 'a text in quotes'),
  ) as Scalar<Present<Exclude<R, Unfit>, O>>
}

export function filePath<const O extends Common>(options: O): Scalar<Present<string, O>> {
  return { ...text(options), path: 'file' }
}

export function folderPath<const O extends Common>(options: O): Scalar<Present<string, O>> {
  return { ...text(options), path: 'folder' }
}

export function integer<const O extends Common & Range>(options: O): Scalar<Present<number, O>> {
  const { min, max, ...common } = options as Common & Range
  const json = { type: 'integer', minimum: min, maximum: max }
  const read = (written: unknown): number | Unfit => {
    if (typeof written !== 'number' || !Number.isInteger(written)) return wrongType(written, 'a whole number')
    return inRange(written, String(written), { min, max }, String)
  }
  const fromText = (value: string): unknown => (/^-?\d+$/.test(value) ? Number(value) : value)
  return { ...scalar(common, read, fromText), json } as unknown as Scalar<Present<number, O>>
}

/** Whole numbers by name: `{ alarms = 8 }`, in an environment variable `alarms=8,telemetry=1`. */
export function numbers(options: {
  readonly description: string
  readonly min: number
  readonly max: number
}): Scalar<Readonly<Record<string, number>>> {
  const { description, ...range } = options
  const json = { type: 'object', additionalProperties: { type: 'integer', minimum: range.min, maximum: range.max } }
  const read = (written: unknown): Readonly<Record<string, number>> | Unfit => {
    if (typeof written !== 'object' || written === null || Array.isArray(written) || written instanceof Date)
      return wrongType(written, 'a table of whole numbers: { NAME = 2 }')
    const values: Record<string, number> = {}
    for (const [name, value] of Object.entries(written)) {
      if (typeof value !== 'number' || !Number.isInteger(value))
        return new Unfit(`has ${quote(name)} = ${describe(value)}`, 'write a whole number')
      if (value < range.min || value > range.max)
        return new Unfit(`has ${quote(name)} = ${value}`, `set it from ${range.min} to ${range.max}`)
      values[name] = value
    }
    return values
  }
  const fromText = (text: string): unknown =>
    Object.fromEntries(
      text.split(',').map((pair) => {
        const [name, value = ''] = pair.split('=').map((part) => part.trim())
        return [name, /^-?\d+$/.test(value) ? Number(value) : value]
      }),
    )
  return scalar({ description, default: {}, json }, read, fromText)
}

export function flag<const O extends Common>(options: O): Scalar<Present<boolean, O>> {
  const read = (written: unknown): boolean | Unfit =>
    typeof written === 'boolean' ? written : wrongType(written, 'true or false')
  const fromText = (value: string): unknown => (value === 'true' || value === 'false' ? value === 'true' : value)
  return { ...scalar(options, read, fromText), json: { type: 'boolean' } } as unknown as Scalar<Present<boolean, O>>
}

export function choice<const C extends readonly string[], const O extends Common>(
  options: O & {
    readonly of: C
    /** Known words that this version does not offer. */
    readonly unavailable?: readonly string[]
  },
): Scalar<Present<C[number], O>> {
  const { of, unavailable = [], ...common } = options
  const offered = of
    .map((word) => `"${word}"`)
    .join(', ')
    .replace(/, ([^,]*)$/, ' or $1')
  return scalar<string>({ ...(common as unknown as Common), json: { enum: of } }, (written) => {
    if (typeof written !== 'string') return wrongType(written, offered)
    if (of.includes(written)) return written
    if (unavailable.includes(written))
      return new Unfit(`is "${written}", which is not available in this version`, `use ${offered}`)
    return new Unfit(`is ${quote(written)}`, `write ${offered}`)
  }) as Scalar<Present<C[number], O>>
}

interface Unit {
  readonly parse: (text: string) => number | null
  readonly pattern: string
  readonly noun: string
  readonly example: string
  /** Whether a bare number means the base unit. */
  readonly bare: boolean
}
const BYTES: Unit = {
  parse: parseBytes,
  pattern: BYTES_PATTERN,
  noun: 'a size',
  example: '"64KB" or "2GB" (KB = 1024 bytes)',
  bare: true,
}
const DURATION: Unit = {
  parse: parseDuration,
  pattern: DURATION_PATTERN,
  noun: 'a duration',
  example: '"500ms", "30s", "12h" or "7d"',
  bare: false,
}
const BYTE_RATE: Unit = {
  parse: parseByteRate,
  pattern: BYTE_RATE_PATTERN,
  noun: 'a rate',
  example: '"50KB/s" (bytes, not bits, a second)',
  bare: false,
}

interface Measured extends Common {
  /** As they would be written; inclusive. */
  readonly min: string
  readonly max: string
}

/** Sizes: the value is in bytes. */
export const bytes = <const O extends Measured>(options: O): Scalar<Present<number, O>> => measured(options, BYTES)
/** Durations: the value is in milliseconds. */
export const duration = <const O extends Measured>(options: O): Scalar<Present<number, O>> =>
  measured(options, DURATION)
/** Rates: the value is in bytes per second. */
export const byteRate = <const O extends Measured>(options: O): Scalar<Present<number, O>> =>
  measured(options, BYTE_RATE)

function measured<const O extends Measured>(options: O, unit: Unit): Scalar<Present<number, O>> {
  const { min, max, ...common } = options as Measured
  const range = { min: unit.parse(min) as number, max: unit.parse(max) as number }
  const ofText = { type: 'string', pattern: unit.pattern }
  const json = unit.bare ? { anyOf: [ofText, { type: 'integer', minimum: range.min, maximum: range.max }] } : ofText
  return scalar<number>({ ...common, json }, (written) => {
    const bare = unit.bare && typeof written === 'number' && Number.isInteger(written)
    if (!bare && typeof written !== 'string')
      return new Unfit(`is ${describe(written)}, not ${unit.noun} with its unit`, `write ${unit.example}`)
    const value = bare ? (written as number) : unit.parse(written as string)
    if (value === null) return new Unfit(`is ${quote(written)}, which is not ${unit.noun}`, `write ${unit.example}`)
    return inRange(value, bare ? String(value) : quote(written), range, (bound) => (bound === range.min ? min : max))
  }) as Scalar<Present<number, O>>
}

export function list<T>(options: Common & { of: Scalar<T>; minItems?: number; maxItems: number }): List<T> {
  return { kind: 'list', minItems: 0, ...options }
}

export function table<const F extends Fields>(description: string, fields: F): Table<F> {
  return { kind: 'table', description, fields }
}

export function entries<const F extends Fields>(description: string, maxItems: number, fields: F): Entries<F> {
  return { kind: 'entries', description, maxItems, fields }
}

function scalar<T>(
  common: Common & { json?: JsonSchema },
  read: (written: unknown) => T | Unfit,
  fromText: (text: string) => unknown = (value) => value,
): Scalar<T> {
  return { json: {}, ...common, kind: 'scalar', read, fromText }
}
