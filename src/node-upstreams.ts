// What an [[upstream]] of the configuration means to replication, and how that is started: part of the composition root.

import { SluiceError } from './base/errors.js'
import { UPSTREAM_DEAD } from './config/schema/names.js'
import type { UpstreamConfig } from './config/schema.js'
import type { UpstreamsPort } from './http/routes/upstreams.js'
import type { UpstreamOptions } from './replication/upstream-options.js'
import type { Upstreams } from './replication/upstreams.js'

export function upstreamOptions(upstream: UpstreamConfig, nodeId: string): UpstreamOptions {
  const { bandwidth, keepalive, maxRate, dailyBudget, envelope, limits, tls, alpn, ...same } = upstream
  const { maxTopicBytes, maxTopicLevels, bandwidthBurst } = limits
  const { retain, maxPacketSize: maxPacketBytes } = upstream
  const clientId = upstream.clientId ?? `sluice-${nodeId}-${upstream.name}`
  return {
    ...same,
    deadLetter: upstream.type === 'mqtt' ? (upstream.deadLetter ?? UPSTREAM_DEAD) : undefined,
    clientId,
    ledgerTopic: upstream.ledgerTopic?.replaceAll('{node}', nodeId).replaceAll('{client_id}', clientId),
    tls: alpn.length === 0 ? tls : { ...tls, alpnProtocols: alpn },
    bandwidthBytesPerSecond: bandwidth,
    bandwidthBurstBytes: bandwidthBurst,
    messagesPerSecond: maxRate,
    bytesPerDay: dailyBudget,
    limits: { retain, maxPacketBytes, maxTopicBytes, maxTopicLevels },
    envelope:
      envelope === 'none'
        ? undefined
        : {
            format: envelope,
            gzip: upstream.envelopeGzip,
            maxBytes: upstream.envelopeMaxBytes,
            maxRecords: upstream.envelopeMaxRecords,
            lingerMs: upstream.envelopeLingerMs,
          },
    keepaliveSeconds: Math.ceil(keepalive / 1000),
  }
}

/** Loads mqtt.js, 9 MB of memory, only for a node that has upstreams. */
export async function startUpstreams(
  options: Parameters<typeof Upstreams.start>[0],
): Promise<UpstreamsPort & Pick<Upstreams, 'sysValues' | 'stop'>> {
  if (options.upstreams.length > 0) return (await import('./replication/upstreams.js')).Upstreams.start(options)
  const none = (): never => {
    throw new SluiceError('UNKNOWN_UPSTREAM', 'no upstream is configured')
  }
  return {
    status: () => [],
    sysValues: () => [],
    statusOf: none,
    pause: none,
    resume: none,
    rewind: none,
    stop: async () => {},
  }
}
