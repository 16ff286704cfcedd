// What a firmware bridge of its own process needs of the node: messages numbered by their devices, small facts, how devices are, and connections that
// need no login (upgraded: MQTT bytes either way). Whoever has the scope `bridge` speaks for every device.

import type { Duplex } from 'node:stream'
import { SluiceError } from '../../base/errors.js'
import type { BridgeDevices } from '../bridge-devices.js'
import type { BridgeLeases } from '../bridge-leases.js'
import { type BridgeTables, readWrite } from '../bridge-tables.js'
import { base64Of, booleanOf, integerOf, listOf, objectOf, optionalText, textOf } from '../json-body.js'
import { checkParameter, numberOf } from '../parameters.js'
import { type HttpRequest, jsonReply, type Route } from '../route.js'

const MAX_MESSAGES_PER_REQUEST = 1000
const MAX_WRITES_PER_REQUEST = 1000
/** Bridges whose requests are told apart, inclusive. */
const MAX_BRIDGES = 1000
const MAX_U32 = 0xffff_ffff
const MESSAGE_FIELDS = ['topic', 'value_base64', 'qos', 'retain', 'client', 'numbered']
/** A connection's messages that it has not acknowledged, at most, whatever it asks for. */
const MAX_IN_FLIGHT = 64

export interface BridgeMessage {
  readonly mqttTopic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly clientId?: string
  readonly numberedBy?: { readonly id: string; readonly epoch: number; readonly sequence: number }
}

export interface BridgeDependencies {
  /** See RunningNode. */
  publish(message: BridgeMessage): { readonly durable: Promise<void>; readonly duplicate: boolean }
  connect(maxInFlight: number): Duplex
  undeliverable(clientId: string, packetId: number): Promise<void>
  readonly tables: BridgeTables
  readonly devices: BridgeDevices
  readonly leases: BridgeLeases
}

/** What became of a message. One that follows a failed one of the same producer is not looked at: `skipped`. */
type Outcome = { readonly duplicate: boolean } | { readonly error: string; readonly message: string } | typeof SKIPPED
const SKIPPED = { skipped: true } as const

/** Every request says which process it comes from: only the one that has the bridge's name is heard. */
export function bridgeRoutes(dependencies: BridgeDependencies): Route[] {
  const check = ({ params, query }: Pick<HttpRequest, 'params' | 'query'>) =>
    dependencies.leases.check(params['bridge'], runOf(query))
  /** While a body is on its way another process may come to have the name. */
  const bodyOf: BodyOf = async (request) => {
    const body = await request.json()
    check(request)
    return body
  }
  return allRoutes(dependencies, bodyOf).map((route): Route => {
    const { handle, upgrade, query = [] } = route
    return {
      ...route,
      scope: 'bridge',
      query: ['run', ...query],
      handle(request) {
        check(request)
        return handle(request)
      },
      ...(upgrade && {
        upgrade(request) {
          check(request)
          return upgrade(request)
        },
      }),
    }
  })
}

type BodyOf = (request: HttpRequest) => Promise<unknown>

function allRoutes(
  { publish, connect, undeliverable, tables, devices, leases }: BridgeDependencies,
  bodyOf: BodyOf,
): Route[] {
  const requests = new RequestOrder()
  return [
    {
      method: 'POST',
      pattern: '/v1/bridges/{bridge}/messages',
      async handle(request) {
        const body = objectOf(await bodyOf(request), 'the body', ['number', 'messages'])
        const messages = listOf(body['messages'], 'messages', MAX_MESSAGES_PER_REQUEST).map(messageOf)
        requests.check(request.params['bridge'], runOf(request.query), integerOf(body['number'], 'number'))
        return jsonReply({ messages: await publishAll(messages, publish) })
      },
    },
    {
      method: 'GET',
      pattern: '/v1/bridges/{bridge}/tables/{table}',
      query: ['key', 'after', 'max_rows'],
      async handle(request) {
        const maxRows = numberOf(request, 'max_rows', { minimum: 1, maximum: 1000, otherwise: 1000 })
        const { bridge, table } = request.params
        const key = request.query.get('key')
        if (key !== undefined) return jsonReply(await tables.readOne(bridge, table, key))
        return jsonReply(await tables.read(bridge, table, request.query.get('after') ?? null, maxRows))
      },
    },
    {
      method: 'POST',
      pattern: '/v1/bridges/{bridge}/tables/{table}',
      async handle(request) {
        const body = objectOf(await bodyOf(request), 'the body', ['writes'])
        const writes = listOf(body['writes'], 'writes', MAX_WRITES_PER_REQUEST).map(readWrite)
        await tables.write(request.params['bridge'], request.params['table'], writes)
        return jsonReply({})
      },
    },
    {
      method: 'POST',
      pattern: '/v1/bridges/{bridge}/devices',
      async handle(request) {
        devices.take(request.params['bridge'], await bodyOf(request))
        return jsonReply({})
      },
    },
    {
      method: 'POST',
      pattern: '/v1/bridges/{bridge}/undeliverable',
      async handle(request) {
        const body = objectOf(await bodyOf(request), 'the body', ['client', 'packet_id'])
        await undeliverable(textOf(body['client'], 'client'), integerOf(body['packet_id'], 'packet_id', 1, 65_535))
        return jsonReply({})
      },
    },
    {
      method: 'GET',
      pattern: '/v1/bridges/{bridge}/lease',
      handle: isConnection,
      upgrade: ({ params, query }) => leases.take(params['bridge'], checkParameter('run', query.get('run') ?? '')),
    },
    {
      method: 'GET',
      pattern: '/v1/bridges/{bridge}/mqtt',
      query: ['max_in_flight'],
      handle: isConnection,
      upgrade: (request) =>
        connect(numberOf(request, 'max_in_flight', { minimum: 1, maximum: MAX_IN_FLIGHT, otherwise: MAX_IN_FLIGHT })),
    },
  ]
}

function isConnection(): never {
  throw new SluiceError('INVALID_REQUEST', `this is a connection: ask with "Upgrade: sluice-bridge"`)
}

/** A request that does not say its process is of none that may have a name. */
function runOf(query: HttpRequest['query']): string {
  const run = query.get('run')
  return run === undefined ? '' : checkParameter('run', run)
}

function messageOf(value: unknown, i: number): BridgeMessage {
  const where = `messages[${i}]`
  const fields = objectOf(value, where, MESSAGE_FIELDS)
  const clientId = optionalText(fields['client'], `${where}.client`)
  const { numbered } = fields
  return {
    mqttTopic: textOf(fields['topic'], `${where}.topic`),
    payload: base64Of(fields['value_base64'], `${where}.value_base64`),
    qos: integerOf(fields['qos'], `${where}.qos`, 0, 2) as 0 | 1 | 2,
    retain: booleanOf(fields['retain'], `${where}.retain`, false),
    ...(clientId !== undefined && { clientId }),
    ...(numbered !== undefined && { numberedBy: numberOfProducer(numbered, `${where}.numbered`) }),
  }
}

function numberOfProducer(value: unknown, where: string): BridgeMessage['numberedBy'] {
  const fields = objectOf(value, where, ['by', 'epoch', 'sequence'])
  return {
    id: checkParameter('numbered_by', textOf(fields['by'], `${where}.by`)),
    epoch: integerOf(fields['epoch'], `${where}.epoch`, 0, MAX_U32),
    sequence: integerOf(fields['sequence'], `${where}.sequence`, 0, MAX_U32),
  }
}

/** In their order. A producer's message is not stored once one before it was refused: its number would make the earlier one a resend. */
async function publishAll(
  messages: readonly BridgeMessage[],
  publish: BridgeDependencies['publish'],
): Promise<Outcome[]> {
  const failed = new Set<string>()
  const outcomes = messages.map((message): Outcome | Promise<Outcome> => {
    const by = message.numberedBy?.id
    if (by !== undefined && failed.has(by)) return SKIPPED
    try {
      const { durable, duplicate } = publish(message)
      return durable.then(() => ({ duplicate }), failure)
    } catch (error) {
      if (by !== undefined) failed.add(by)
      return failure(error)
    }
  })
  return Promise.all(outcomes)
}

function failure(error: unknown): Outcome {
  // Numbered, and of a topic that no stream takes at this QoS.
  if (error instanceof RangeError) return { error: 'INVALID_REQUEST', message: error.message }
  if (!(error instanceof SluiceError)) throw error
  return { error: error.code, message: error.message }
}

/** A request that was given up and sent again may come late, after others: its messages would be stored anew. */
class RequestOrder {
  private readonly last = new Map<string, { readonly run: string; readonly number: number }>()

  /** @throws SluiceError OUT_OF_ORDER_SEQUENCE for a request before the last of the same run. */
  check(bridge: string, run: string, number: number): void {
    const last = this.last.get(bridge)
    if (last?.run === run && number < last.number)
      throw new SluiceError(
        'OUT_OF_ORDER_SEQUENCE',
        `request ${number} of bridge ${bridge} comes after ${last.number}`,
        {
          expected: last.number,
        },
      )
    this.last.delete(bridge)
    this.last.set(bridge, { run, number })
    if (this.last.size > MAX_BRIDGES) for (const oldest of this.last.keys()) return void this.last.delete(oldest)
  }
}
