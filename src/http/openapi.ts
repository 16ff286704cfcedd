// The OpenAPI description (3.1) of the HTTP interface, made from the routes themselves: paths, parameters and scopes cannot differ from what the
// node does. Texts and fields come from openapi-texts.ts.

import { ERROR_CODES } from '../base/errors.js'
import { type FieldText, OPERATIONS, type OperationText } from './openapi-texts.js'
import { PARAMETER_RULES } from './parameters.js'
import { type Route, scopeOf } from './route.js'

type Json = { readonly [name: string]: unknown }

const UNDESCRIBED: OperationText = { summary: '' }

export function openApiOf(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, Json>> = {}
  for (const route of routes) {
    const operations = (paths[route.pattern] ??= {})
    operations[route.method.toLowerCase()] = operationOf(route)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice',
      version: '1',
      description: 'The HTTP interface of a Sluice node. An unknown parameter or field is refused by name.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: {
      schemas: { Error: ERROR_SCHEMA },
      responses: { Error: { description: 'What went wrong', content: jsonOf({ $ref: '#/components/schemas/Error' }) } },
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'Asked for once a node has a token.' } },
    },
  }
}

const ERROR_SCHEMA = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message', 'details'],
      properties: {
        code: { type: 'string', enum: Object.keys(ERROR_CODES) },
        message: { type: 'string' },
        details: { type: 'object' },
      },
    },
  },
}

function operationOf(route: Route): Json {
  const { summary, body, answer, types, status = 200 } = OPERATIONS[`${route.method} ${route.pattern}`] ?? UNDESCRIBED
  const scope = scopeOf(route)
  const content = Object.fromEntries((types ?? ['application/json']).map((type) => [type, contentOf(type, answer)]))
  return {
    summary,
    operationId: idOf(route),
    ...(scope === 'none' ? { security: [] } : { security: [{ token: [scope] }] }),
    parameters: [...pathParameters(route), ...queryParameters(route)],
    ...(body && { requestBody: { required: true, content: jsonOf(objectOf(body)) } }),
    responses: {
      [status]: { description: 'Done', content },
      default: { $ref: '#/components/responses/Error' },
    },
  }
}

function pathParameters({ pattern }: Route): Json[] {
  return [...pattern.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    description: PARAMETER_RULES[name].says,
    schema: { type: 'string', pattern: PARAMETER_RULES[name].pattern.source },
  }))
}

function queryParameters({ query = [] }: Route): Json[] {
  return query.map((name) => ({ name, in: 'query', required: false, schema: { type: 'string' } }))
}

function contentOf(type: string, answer: OperationText['answer']): Json {
  if (type === 'application/json' && answer !== undefined) return { schema: objectOf(answer) }
  return { schema: { type: 'string', ...(type.includes('batches') && { format: 'binary' }) } }
}

function objectOf(fields: Readonly<Record<string, FieldText>>): Json {
  const entries = Object.entries(fields)
  const required = entries.filter(([, text]) => !text.endsWith('?')).map(([name]) => name)
  const properties = Object.fromEntries(entries.map(([name, text]) => [name, schemaOf(text.replace(/\?$/, ''))]))
  return { type: 'object', ...(required.length > 0 && { required }), properties }
}

function schemaOf(text: string): Json {
  const item = /^array of (.*)$/.exec(text)?.[1]
  return item === undefined ? { type: text } : { type: 'array', items: schemaOf(item) }
}

function jsonOf(schema: Json): Json {
  return { 'application/json': { schema } }
}

/** `postV1GroupsGroupMembers`. */
function idOf({ method, pattern }: Route): string {
  const words = pattern.split(/[^A-Za-z0-9]+/).filter((word) => word !== '')
  return method.toLowerCase() + words.map((word) => word[0].toUpperCase() + word.slice(1)).join('')
}
