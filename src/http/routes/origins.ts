// Origins: the nodes that forward to this one, and letting one in that was refused.

import { checkParameter } from '../parameters.js'
import { jsonReply, type Route } from '../route.js'

/** What the routes need of replication's Origins. */
export interface OriginsPort {
  list(): readonly OriginInfo[]
  /** @throws SluiceError NOT_FOUND, as does the next. */
  statusOf(nodeId: string): OriginInfo
  /** Durable when it resolves. */
  accept(nodeId: string): Promise<void>
}

interface OriginInfo {
  readonly nodeId: string
  readonly connected: boolean
  readonly lastHelloMs: number | null
  readonly alarm: string | null
}

export function originRoutes({ origins }: { readonly origins: OriginsPort }): Route[] {
  return [
    {
      method: 'GET',
      pattern: '/v1/origins',
      handle: () => jsonReply({ origins: origins.list().map(describe) }),
    },
    {
      method: 'POST',
      pattern: '/v1/origins/{origin}/accept',
      async handle({ params }) {
        const nodeId = checkParameter('origin', params['origin'])
        await origins.accept(nodeId)
        return jsonReply(describe(origins.statusOf(nodeId)))
      },
    },
  ]
}

function describe({ nodeId, connected, lastHelloMs, alarm }: OriginInfo): unknown {
  return { node_id: nodeId, connected, last_hello_ms: lastHelloMs, alarm }
}
