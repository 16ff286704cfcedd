// The configuration as a JSON Schema (2020-12), for editors that complete and check TOML, and for documentation.

import type { Field, Fields, JsonSchema } from './fields.js'
import { CONFIG_FIELDS } from './schema.js'

export function configJsonSchema(): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Configuration of Sluice (sluice.toml)',
    ...objectSchema(CONFIG_FIELDS),
  }
}

function objectSchema(fields: Fields): JsonSchema {
  const all = Object.entries(fields)
  const required = all.filter(([, field]) => isRequired(field)).map(([key]) => key)
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length > 0 && { required }),
    properties: Object.fromEntries(all.map(([key, field]) => [key, fieldSchema(field)])),
  }
}

function fieldSchema(field: Field): JsonSchema {
  const { description } = field
  if (field.kind === 'table') return { description, ...objectSchema(field.fields) }
  if (field.kind === 'entries')
    return { description, type: 'array', maxItems: field.maxItems, items: objectSchema(field.fields) }
  const standard = field.default === undefined ? {} : { default: field.default }
  if (field.kind === 'scalar') return { description, ...field.json, ...standard }
  const { of, minItems, maxItems } = field
  const items = { description: of.description, ...of.json }
  return { description, anyOf: [{ type: 'array', items, minItems, maxItems, uniqueItems: true }, of.json], ...standard }
}

function isRequired(field: Field): boolean {
  return (field.kind === 'scalar' || field.kind === 'list') && field.default === undefined && field.optional !== true
}
