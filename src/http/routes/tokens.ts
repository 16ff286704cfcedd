// GET, POST /v1/tokens; DELETE /v1/tokens/{token_name}: who may use this interface. A token's secret is in the answer to its creation and
// nowhere else.

import { SluiceError } from '../../base/errors.js'
import { SCOPES, type Scope, type TokenDescription } from '../access-tokens.js'
import { listOf, objectOf, textOf } from '../json-body.js'
import { checkParameter } from '../parameters.js'
import { jsonReply, type Route } from '../route.js'

export interface TokenDependencies {
  readonly tokens: {
    list(): readonly TokenDescription[]
    create(name: string, scopes: readonly Scope[]): Promise<string>
    revoke(name: string): Promise<void>
  }
}

export function tokenRoutes({ tokens }: TokenDependencies): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/tokens',
      scope: 'admin',
      handle: () => jsonReply({ tokens: tokens.list().map(asJson) }),
    },
    {
      method: 'POST',
      pattern: '/v1/tokens',
      scope: 'admin',
      async handle(request) {
        const body = objectOf(await request.json(), 'the body', ['name', 'scopes'])
        const name = checkParameter('token_name', textOf(body['name'], 'name'))
        const scopes = listOf(body['scopes'], 'scopes', SCOPES.length).map((scope, i) => scopeOf(scope, `scopes[${i}]`))
        return jsonReply({ name, scopes, token: await tokens.create(name, scopes) }, 201)
      },
    },
    {
      method: 'DELETE',
      pattern: '/v1/tokens/{token_name}',
      scope: 'admin',
      async handle({ params }) {
        await tokens.revoke(params['token_name'])
        return jsonReply({})
      },
    },
  ]
}

function scopeOf(value: unknown, where: string): Scope {
  const scope = SCOPES.find((known) => known === value)
  if (scope !== undefined) return scope
  throw new SluiceError('INVALID_REQUEST', `${where} has to be one of ${SCOPES.join(', ')}`, { field: where })
}

function asJson({ name, scopes, createdAtMs }: TokenDescription): unknown {
  return { name, scopes, created_at: new Date(createdAtMs).toISOString() }
}
