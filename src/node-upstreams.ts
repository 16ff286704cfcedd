// What an [[upstream]] of the configuration means to replication: part of the composition root.

import { UPSTREAM_DEAD } from './config/schema/names.js'
import type { UpstreamConfig } from './config/schema.js'
import type { UpstreamOptions } from './replication/upstream-options.js'

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
