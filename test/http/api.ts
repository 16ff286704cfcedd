// A node's HTTP side over a real log, without MQTT: what a program that pulls sees.

import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import { topicMatches } from '../../src/base/topic-filter.js'
import { GroupCoordinator } from '../../src/consumer/group-coordinator.js'
import { PullGroups } from '../../src/consumer/pull-groups.js'
import { type QueueConfig, WorkQueues } from '../../src/consumer/work-queues.js'
import type { HttpLimits } from '../../src/http/http-limits.js'
import { HttpServer } from '../../src/http/http-server.js'
import { MetricsRegistry } from '../../src/http/metrics.js'
import { groupMetrics, processMetrics, queueMetrics, streamMetrics } from '../../src/http/node-metrics.js'
import type { Producer } from '../../src/http/ports.js'
import { RecordLines } from '../../src/http/record-lines.js'
import { groupRoutes } from '../../src/http/routes/groups.js'
import { healthRoutes } from '../../src/http/routes/health.js'
import { ledgerRoutes } from '../../src/http/routes/ledger.js'
import { metricsRoutes } from '../../src/http/routes/metrics.js'
import { produceRoutes } from '../../src/http/routes/produce.js'
import { queryRoutes } from '../../src/http/routes/query.js'
import { queueRoutes } from '../../src/http/routes/queues.js'
import { recordRoutes } from '../../src/http/routes/records.js'
import { streamRoutes } from '../../src/http/routes/streams.js'
import { verifyRoutes } from '../../src/http/routes/verify.js'
import { GroupCommit } from '../../src/log/commit.js'
import type { Log } from '../../src/log/log.js'
import { attributesOf, type PartitionId } from '../../src/record/record.js'
import { GroupOffsets } from '../../src/state/group-offsets.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { openLog, recordOf, type TestLog, type TestStream } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

export interface Api extends TestLog {
  readonly address: string
  readonly server: HttpServer
  readonly health: { ready: boolean; reasons: string[] }
  /** Appends and waits until durable; `keys` are topics. */
  append(stream: string, partition: number, ...values: readonly (string | Buffer)[]): Promise<void>
}

export async function startApi(
  streams: readonly TestStream[] = [{ name: 'mqtt' }],
  {
    limits,
    producer,
    queues: queueConfig,
    directory = tempDir(),
  }: {
    limits?: Partial<HttpLimits>
    producer?: (log: Log) => Producer
    queues?: QueueConfig[]
    directory?: string
  } = {},
): Promise<Api> {
  const opened = await openLog(directory, streams)
  const { log, ledger } = opened
  const groupState = await LevelStateStore.open({
    directory: join(directory, 'groups'),
    logger: silentLogger,
    onFatal: (error) => opened.fatal.push(error),
  })
  const offsets = await GroupOffsets.open(groupState, systemClock.wallMs)
  const coordinator = new GroupCoordinator({ streams: log, offsets, clock: systemClock })
  const groups = new PullGroups(coordinator, log, offsets)
  const queues = await WorkQueues.open({
    streams: log,
    state: groupState,
    clock: systemClock,
    logger: silentLogger,
    configured: queueConfig,
  })
  const metrics = new MetricsRegistry().register(
    ...streamMetrics(log),
    ...groupMetrics(groups, log),
    ...queueMetrics(queues),
    ...processMetrics(),
  )
  const health = { ready: true, reasons: [] as string[] }
  const lines = new RecordLines()
  const server = await HttpServer.start({
    listen: ['127.0.0.1:0'],
    logger: silentLogger,
    limits,
    routes: [
      ...streamRoutes({ streams: log }),
      ...recordRoutes({ streams: log, lines }),
      ...queryRoutes({ streams: log }),
      ...produceRoutes({ streams: log, producer: producer?.(log) ?? logProducer(log), wallMs: Date.now }),
      ...groupRoutes({ groups, streams: log, lines }),
      ...queueRoutes({ queues }),
      ...ledgerRoutes({ ledger }),
      ...verifyRoutes({ streams: log, ledger }),
      ...healthRoutes({ health: () => health }),
      ...metricsRoutes({ metrics }),
    ],
  })
  return {
    ...opened,
    address: server.addresses[0],
    server,
    health,
    async append(stream, partition, ...values) {
      const commits = values.map((value) =>
        log.stream(stream).append(partition as PartitionId, recordOf(value, { timestampMs: Date.now() })),
      )
      await Promise.all(commits.map((commit) => commit.durable()))
    },
    async close() {
      coordinator.stop()
      await server.stop()
      await groupState.close()
      await opened.close()
    },
  }
}

/** Appends straight to the log: the first stream with a matching filter; topics `p/N/…` go to partition N, all others to 0. */
export function logProducer(log: Log): Producer & { readonly retainedTopics: string[] } {
  const routeOf = (mqttTopic: string) => {
    const partition = Number(/^p\/(\d)\//.exec(mqttTopic)?.[1] ?? 0)
    for (const { name, topics } of log.streams.values())
      if (topics.some((filter) => topicMatches(filter, mqttTopic))) return { stream: name, partition }
    return null
  }
  const retainedTopics: string[] = []
  return {
    routeOf,
    maxPayloadBytes: 256 * 1024,
    retainedTopics,
    publish(messages) {
      return messages.map(({ mqttTopic, payload, qos, retain, headers }) => {
        const stream = log.stream(routeOf(mqttTopic)?.stream ?? '')
        const partition = (routeOf(mqttTopic)?.partition ?? 0) as PartitionId
        const offset = stream.nextOffset(partition)
        const attributes = attributesOf(qos, retain)
        const record = recordOf(payload, { key: Buffer.from(mqttTopic), attributes, headers, timestampMs: Date.now() })
        return { partition, offset, commit: stream.append(partition, record) }
      })
    },
    retain({ mqttTopic }) {
      retainedTopics.push(mqttTopic)
      const done = new GroupCommit()
      done.settle(null)
      return done
    },
  }
}
