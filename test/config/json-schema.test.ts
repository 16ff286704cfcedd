import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { configJsonSchema } from '../../src/config/json-schema.js'
import { loadConfig } from '../../src/config/load.js'

interface Schema {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  /** Where the names are free: what each value is. */
  readonly additionalProperties?: false | Schema
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
}

/** As much of JSON Schema as ours uses. */
function accepts(schema: Schema, value: unknown): boolean {
  if (schema.anyOf !== undefined) return schema.anyOf.some((one) => accepts(one, value))
  if (schema.enum !== undefined) return schema.enum.includes(value)
  if (schema.type === 'array')
    return (
      Array.isArray(value) &&
      value.length >= (schema.minItems ?? 0) &&
      value.every((item) => accepts(schema.items ?? {}, item))
    )
  if (schema.type === 'boolean') return typeof value === 'boolean'
  if (schema.type === 'integer')
    return (
      Number.isInteger(value) &&
      (value as number) >= (schema.minimum ?? -Infinity) &&
      (value as number) <= (schema.maximum ?? Infinity)
    )
  if (schema.type === 'string') return typeof value === 'string' && new RegExp(schema.pattern ?? '').test(value)
  if (schema.type !== 'object' || typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { properties = {}, required = [], additionalProperties: others = false } = schema
  return (
    required.every((key) => key in value) &&
    Object.entries(value).every(([key, one]) =>
      Object.hasOwn(properties, key) ? accepts(properties[key], one) : others !== false && accepts(others, one),
    )
  )
}

function everyField(schema: Schema, path: string[] = []): { path: string; schema: Schema }[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, field]) => [
    { path: [...path, key].join('.'), schema: field },
    ...everyField(field.type === 'array' ? (field.items ?? {}) : field, [...path, key]),
  ])
}

const schema = configJsonSchema() as Schema

test('every key has a line of documentation and forbids what is not known', () => {
  const fields = everyField(schema)
  assert.ok(fields.length > 50)
  for (const { path, schema: field } of fields) {
    assert.match(field.description ?? '', /^\S.*\.$/, path)
    if (field.type === 'object' && field.properties !== undefined) assert.is(field.additionalProperties, false, path)
  }
})

test('every default is valid by the schema', () => {
  for (const { path, schema: field } of everyField(schema)) {
    if (field.default === undefined) continue
    // The default of upstream.streams, all, cannot be written.
    assert.is(accepts(field, field.default) || path === 'upstream.streams', true, path)
  }
})

test('schema and loader agree on what is good and what is bad', () => {
  const stream = { name: 's', topics: ['s/#'] }
  const upstream = { name: 'c', type: 'mqtt', url: 'mqtt://x' }
  const values: readonly [good: boolean, value: object][] = [
    [true, {}],
    [true, { mqtt: { listen: '127.0.0.1:1', max_packet_size: '64KB' } }],
    [true, { mqtt: { max_packet_size: 1024 } }],
    [
      true,
      {
        stream: [{ ...stream, key: 'level:2', retention: { max_age: '1h30m' } }],
        upstream: [{ ...upstream, bandwidth: '50KB/s' }],
      },
    ],
    [false, { mqtt: { max_packet_size: '12X' } }],
    [false, { mqtt: { listen: [] } }],
    [false, { frobnicate: 1 }],
    [false, { log_level: 'loud' }],
    [false, { stream: [{ name: 's' }] }],
    [false, { stream: [{ ...stream, name: 'a.b' }] }],
    [false, { stream: [{ ...stream, partitions: 0 }] }],
    [false, { upstream: [{ ...upstream, type: 'kafka' }] }],
    [false, { upstream: [{ ...upstream, bandwidth: '50kbit/s' }] }],
  ]
  for (const [good, value] of values) {
    const toml = Object.entries(value)
      .map(([key, one]) => `${key} = ${toToml(one)}`)
      .join('\n')
    assert.is(accepts(schema, value), good, `schema on ${toml}`)
    assert.is(loadConfig({ text: toml }).config !== null, good, `loader on ${toml}`)
  }
})

function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{ ${Object.entries(value)
    .map(([key, one]) => `${key} = ${toToml(one)}`)
    .join(', ')} }`
}

test.run()
