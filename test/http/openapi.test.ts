// The description at /openapi.json against a node: each holds the other.

import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { OPERATIONS } from '../../src/http/openapi-texts.js'
import { Logger, loadValidConfig, type RunningNode, startNode } from '../../src/index.js'
import { tempDir } from '../helpers/temp-dir.js'
import { type Answer, call, post } from './request-helper.js'

interface Schema {
  readonly type: string
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
}

interface Operation {
  readonly summary: string
  readonly operationId: string
  readonly security: readonly object[]
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } }
  readonly responses: Readonly<
    Record<string, { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }>
  >
}

const test = suite('OpenAPI')
let node: RunningNode
let address: string
let operations: Map<string, Operation>

test.before(async () => {
  const text = '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n'
  const config = loadValidConfig({ text, dataDir: tempDir(), environment: {} })
  node = await startNode(config, { logger: new Logger('test', 'error', () => {}) })
  address = node.httpAddresses[0]
  const { paths } = (await call(address, '/openapi.json')).json
  operations = new Map()
  for (const [pattern, methods] of Object.entries<Record<string, Operation>>(paths))
    for (const [method, operation] of Object.entries(methods))
      operations.set(`${method.toUpperCase()} ${pattern}`, operation)
})
test.after(() => node.stop())

const EXAMPLES: Readonly<Record<string, string>> = { partition: '0', stream: 'mqtt' }
const pathOf = (key: string): string =>
  key.split(' ')[1].replace(/\{(\w+)\}/g, (_, name: string) => EXAMPLES[name] ?? 'x')

test('every route is described, and nothing is that is no route', () => {
  assert.equal([...operations.keys()].sort(), Object.keys(OPERATIONS).sort())
  for (const [key, { summary }] of operations) assert.ok(summary.length > 0, key)
  const ids = [...operations.values()].map(({ operationId }) => operationId)
  assert.is(new Set(ids).size, ids.length)
})

test('a body takes exactly the fields that are described', async () => {
  for (const [key, { requestBody }] of operations) {
    if (requestBody === undefined) continue
    const { json } = await post(address, pathOf(key), { records: [], frobnicate: 1 })
    const known = /known are (.*)$/.exec(json.error.message)?.[1].split(', ')
    const described = Object.keys(requestBody.content['application/json'].schema.properties ?? {})
    assert.equal(known?.sort(), described.sort(), `${key}: ${json.error.message}`)
  }
})

test('an address takes exactly the parameters that are described', async () => {
  for (const [key, { parameters }] of operations) {
    const [method] = key.split(' ')
    const { json } = await call(address, `${pathOf(key)}?frobnicate=1`, { method })
    const described = parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name)
    assert.equal(json.error.details.known, described, key)
  }
})

test('answers hold what is described', async () => {
  const check = (key: string, answer: Answer): Answer => {
    const schema = operations.get(key)?.responses[String(answer.status)]?.content['application/json']?.schema
    assert.ok(schema !== undefined, `${key} answered ${answer.status}: ${answer.text}`)
    for (const name of schema.required ?? []) {
      assert.ok(name in answer.json, `${key} answers with ${name}`)
      const type = schema.properties?.[name].type
      const value = answer.json[name]
      assert.is(
        Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value,
        type,
        `${key} ${name}`,
      )
    }
    return answer
  }
  const get = async (pattern: string): Promise<Answer> =>
    check(`GET ${pattern}`, await call(address, pathOf(`GET ${pattern}`)))
  const send = async (pattern: string, body: unknown, path = pathOf(`POST ${pattern}`)): Promise<Answer> =>
    check(`POST ${pattern}`, await post(address, path, body))
  const records = [{ topic: 'a', value: '1' }]
  await send('/v1/streams/{stream}/records', { records })
  for (const path of [
    '/v1/streams',
    '/v1/streams/{stream}',
    '/v1/upstreams',
    '/v1/origins',
    '/v1/ledger',
    '/v1/tokens',
    '/healthz',
  ])
    await get(path)
  await get('/v1/streams/{stream}/partitions/{partition}/records')
  await get('/v1/streams/{stream}/partitions/{partition}/query')
  await send('/v1/streams/{stream}/partitions/{partition}/verify', {})
  const { json: joined } = await send('/v1/groups/{group}/members', { streams: ['mqtt'] })
  const member = `/v1/groups/x/members/${joined.member_id}`
  check('GET /v1/groups/{group}/members/{member}/records', await call(address, `${member}/records`))
  await send('/v1/groups/{group}/members/{member}/heartbeat', {}, `${member}/heartbeat`)
  const offsets = [{ stream: 'mqtt', partition: 0, offset: 1 }]
  await send('/v1/groups/{group}/offsets', { offsets, member_id: joined.member_id, generation: joined.generation })
  await get('/v1/groups')
  await get('/v1/groups/{group}')
  check('DELETE /v1/groups/{group}/members/{member}', await call(address, member, { method: 'DELETE' }))
  const queue = '/v1/queues/{stream}/{group}'
  const { json: received } = await send(`${queue}/receive`, {})
  const receipts = [received.messages[0].receipt]
  await send(`${queue}/extend`, { receipts, visibility_timeout_ms: 1_000 })
  await send(`${queue}/nack`, { receipts })
  await send(`${queue}/ack`, { receipts })
  await send(`${queue}/redrive`, {})
  await get('/v1/queues')
  await get(queue)
  check(`DELETE ${queue}`, await call(address, pathOf(`DELETE ${queue}`), { method: 'DELETE' }))
})

test('metrics tell of streams, groups, queues, MQTT and readiness', async () => {
  const { text } = await call(address, '/metrics')
  for (const line of ['sluice_ready 1', 'sluice_mqtt_connections 0', 'sluice_stream_bytes{stream="mqtt"}'])
    assert.ok(text.includes(line), line)
})

test.run()
