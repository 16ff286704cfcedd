// What a node offers over HTTP, put together: consumer groups, tokens, metrics, routes, the server. Part of the composition root; started
// and stopped by node.ts.

import type { Clock } from './base/clock.js'
import { SluiceError } from './base/errors.js'
import type { Logger } from './base/logger.js'
import { formatAddress, isLoopback } from './config/address.js'
import type { Config } from './config/schema.js'
import { GroupCoordinator } from './consumer/group-coordinator.js'
import { OffsetExpiry } from './consumer/offset-expiry.js'
import { PullGroups } from './consumer/pull-groups.js'
import { StreamAnnouncer } from './consumer/stream-announcer.js'
import { WorkQueues } from './consumer/work-queues.js'
import { AccessTokens } from './http/access-tokens.js'
import { BridgeLeases } from './http/bridge-leases.js'
import { BridgeTables } from './http/bridge-tables.js'
import { deviceMetrics } from './http/device-metrics.js'
import { healthOf } from './http/health.js'
import { HttpServer } from './http/http-server.js'
import { MetricsRegistry } from './http/metrics.js'
import { groupMetrics, httpMetrics, processMetrics, queueMetrics, streamMetrics } from './http/node-metrics.js'
import { healthMetrics, type MqttNumbers, mqttMetrics, upstreamMetrics } from './http/part-metrics.js'
import type { Producer } from './http/ports.js'
import { RecordLines } from './http/record-lines.js'
import { type BridgeDependencies, bridgeRoutes } from './http/routes/bridges.js'
import { deviceRoutes } from './http/routes/devices.js'
import { groupRoutes } from './http/routes/groups.js'
import { healthRoutes } from './http/routes/health.js'
import { ledgerRoutes } from './http/routes/ledger.js'
import { metricsRoutes } from './http/routes/metrics.js'
import { openApiRoutes } from './http/routes/openapi.js'
import { type OriginsPort, originRoutes } from './http/routes/origins.js'
import { produceRoutes } from './http/routes/produce.js'
import { queryRoutes } from './http/routes/query.js'
import { queueRoutes } from './http/routes/queues.js'
import { recordRoutes } from './http/routes/records.js'
import { streamRoutes } from './http/routes/streams.js'
import { tokenRoutes } from './http/routes/tokens.js'
import { type UpstreamsPort, upstreamRoutes } from './http/routes/upstreams.js'
import { verifyRoutes } from './http/routes/verify.js'
import type { NodeStorage } from './node-storage.js'
import type { GroupOffsets } from './state/group-offsets.js'

export interface HttpParts {
  readonly storage: Pick<NodeStorage, 'state' | 'log' | 'ledger' | 'poweredOn'>
  readonly mqtt: {
    stats(): MqttNumbers
    deliverUnstored(mqttTopic: string, payload: Buffer): void
  }
  /** Committed offsets of consumer groups. */
  readonly offsets: GroupOffsets
  readonly upstreams: UpstreamsPort
  readonly origins: OriginsPort
  readonly producer: Producer
  readonly bridges: Pick<BridgeDependencies, 'publish' | 'connect' | 'undeliverable' | 'devices'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface HttpSide {
  readonly addresses: readonly string[]
  /** Ends what waits, lets replies on their way finish, closes. */
  stop(): Promise<void>
}

/** @throws SluiceError ADDRESS_IN_USE; INVALID_CONFIG, also for an address in the open without a token. */
export async function startHttp(
  { http: config, queue, groups: groupConfig }: Pick<Config, 'http' | 'queue' | 'groups'>,
  parts: HttpParts,
): Promise<HttpSide> {
  const { storage, mqtt, offsets, upstreams, origins, producer, bridges, clock, logger } = parts
  const { state, log, ledger, poweredOn } = storage
  const tokens = await AccessTokens.open(state, clock.wallMs)
  refuseOpenDoors(config, tokens)
  const coordinator = new GroupCoordinator({ streams: log, offsets, clock })
  const groups = new PullGroups(coordinator, log, offsets)
  const expiry = await OffsetExpiry.start({
    ...{ state, coordinator, clock, logger },
    poweredOnMs: () => poweredOn.nowMs(),
    retentionMs: groupConfig.offsetRetention,
  })
  const configured = queue.map(({ name, visibilityTimeout, ...same }) => ({
    ...same,
    group: name,
    visibilityTimeoutMs: visibilityTimeout,
  }))
  const queues = await WorkQueues.open({ streams: log, state, clock, logger, configured })
  const health = () => healthOf(log)
  const metrics = new MetricsRegistry().register(
    ...streamMetrics(log),
    ...groupMetrics(groups, log),
    ...queueMetrics(queues),
    ...mqttMetrics(() => mqtt.stats()),
    ...upstreamMetrics(() => upstreams.status(), clock.wallMs),
    ...deviceMetrics(bridges.devices),
    ...healthMetrics(health),
    ...processMetrics(),
  )
  // Those who follow a stream, as members or not, share what was made for one of them.
  const lines = new RecordLines()
  const routes = [
    ...streamRoutes({ streams: log }),
    ...recordRoutes({ streams: log, lines }),
    ...queryRoutes({ streams: log }),
    ...produceRoutes({ streams: log, producer, wallMs: clock.wallMs }),
    ...groupRoutes({ groups, streams: log, lines }),
    ...queueRoutes({ queues }),
    ...originRoutes({ origins }),
    ...upstreamRoutes({ upstreams }),
    ...deviceRoutes({ devices: bridges.devices }),
    ...bridgeRoutes({
      ...bridges,
      tables: new BridgeTables(state.table('bridges')),
      leases: new BridgeLeases(clock),
    }),
    ...ledgerRoutes({ ledger }),
    ...verifyRoutes({ streams: log, ledger }),
    ...tokenRoutes({ tokens }),
    ...healthRoutes({ health }),
    ...metricsRoutes({ metrics }),
  ]
  const server = await HttpServer.start({
    listen: config.listen.map(formatAddress),
    logger,
    limits: { maxBodyBytes: config.maxBodySize, maxWaitingPolls: config.maxWaiting },
    access: tokens,
    tls: config.tls,
    clock,
    routes: [...routes, ...openApiRoutes(routes)],
  })
  metrics.register(...httpMetrics(() => server.stats()))
  const announcer = new StreamAnnouncer({
    streams: log,
    clock,
    tell: (mqttTopic, payload) => mqtt.deliverUnstored(mqttTopic, payload),
  })
  return {
    addresses: server.addresses,
    async stop() {
      announcer.stop()
      await expiry.stop()
      coordinator.stop()
      await server.stop()
      await queues.stop()
    },
  }
}

/** Without TLS the network reads along, so such an address is opened beyond this machine only where somebody has thought of a login. */
function refuseOpenDoors({ listen }: Config['http'], tokens: AccessTokens): void {
  const open = listen.filter(({ protocol, host }) => protocol === 'http' && !isLoopback(host))
  if (open.length === 0 || !tokens.isEmpty) return
  const addresses = open.map(formatAddress).join(', ')
  throw new SluiceError(
    'INVALID_CONFIG',
    `http.listen has ${addresses}, open to others, and there is no token yet: make one first (sluice tokens create NAME --scope admin --data DIR), use https:// with cert_file and key_file, or listen on 127.0.0.1`,
  )
}
