// Upstreams: how each is doing, and what an operator may do to it. Every GET carries the same object per upstream.

import { snakeCased } from '../../base/snake-case.js'
import { booleanOf, integerOf, objectOf, textOf } from '../json-body.js'
import { checkParameter } from '../parameters.js'
import type { UpstreamNumbers } from '../part-metrics.js'
import { type HttpRequest, jsonReply, type Route } from '../route.js'

/** Plain data whose field names are camel case; on the wire they are snake case. */
type Plain = object

/** What the routes need of replication's Upstreams. */
export interface UpstreamsPort {
  status(): readonly UpstreamNumbers[]
  /** @throws SluiceError UNKNOWN_UPSTREAM, as do the others. */
  statusOf(name: string): Plain
  /** Durable when it resolves. */
  pause(name: string): Promise<void>
  resume(name: string): Promise<void>
  /** Durable when it resolves. @returns the partitions that were moved. */
  rewind(
    name: string,
    request: {
      readonly stream: string
      readonly partition?: number
      readonly offset?: number
      readonly timestampMs?: number
      readonly dryRun?: boolean
    },
  ): Promise<readonly Plain[]>
}

export function upstreamRoutes({ upstreams }: { readonly upstreams: UpstreamsPort }): Route[] {
  const statusOf = (name: string) => jsonReply(snakeCased(upstreams.statusOf(name)))
  return [
    {
      method: 'GET',
      pattern: '/v1/upstreams',
      handle: () => jsonReply({ upstreams: upstreams.status().map(snakeCased) }),
    },
    {
      method: 'GET',
      pattern: '/v1/upstreams/{upstream}',
      handle: ({ params }) => statusOf(params['upstream']),
    },
    {
      method: 'POST',
      pattern: '/v1/upstreams/{upstream}/pause',
      async handle({ params }) {
        await upstreams.pause(params['upstream'])
        return statusOf(params['upstream'])
      },
    },
    {
      method: 'POST',
      pattern: '/v1/upstreams/{upstream}/resume',
      async handle({ params }) {
        await upstreams.resume(params['upstream'])
        return statusOf(params['upstream'])
      },
    },
    {
      method: 'POST',
      pattern: '/v1/upstreams/{upstream}/rewind',
      async handle(request) {
        const rewound = await upstreams.rewind(request.params['upstream'], await rewindOf(request))
        return jsonReply({ rewound: rewound.map(snakeCased) })
      },
    },
  ]
}

async function rewindOf(request: HttpRequest): Promise<Parameters<UpstreamsPort['rewind']>[1]> {
  const body = objectOf(await request.json(), 'the body', ['stream', 'partition', 'offset', 'timestamp_ms', 'dry_run'])
  const optional = (name: string) => (body[name] === undefined ? undefined : integerOf(body[name], name))
  return {
    stream: checkParameter('stream', textOf(body['stream'], 'stream')),
    partition: optional('partition'),
    offset: optional('offset'),
    timestampMs: optional('timestamp_ms'),
    dryRun: booleanOf(body['dry_run'], 'dry_run', false),
  }
}
