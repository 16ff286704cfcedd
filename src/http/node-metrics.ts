// The metrics of what every node has: its streams, its groups, its process, its HTTP side. Parts that come and go (MQTT, upstreams) bring
// their own to the registry.

import type { Stream, StreamCatalog, StreamStats } from '../log/types.js'
import { toPartitionId } from '../record/record.js'
import type { HttpStats } from './http-server.js'
import { counter, gauge, type Metric, type Sample } from './metrics.js'
import type { DescribedQueue, Groups, Queues } from './ports.js'

export function streamMetrics(catalog: StreamCatalog): Metric[] {
  const each = (value: (stats: StreamStats) => number) => (): Sample[] =>
    [...catalog.streams.values()].map((stream) => ({ labels: { stream: stream.name }, value: value(stream.stats()) }))
  const eachPartition = (value: (stream: Stream, partition: number) => number) => (): Sample[] =>
    [...catalog.streams.values()].flatMap((stream) =>
      Array.from({ length: stream.partitions }, (_, partition) => ({
        labels: { stream: stream.name, partition: String(partition) },
        value: value(stream, partition),
      })),
    )
  return [
    gauge(
      'sluice_stream_bytes',
      'Stored bytes of all live segments.',
      each(({ bytes }) => bytes),
    ),
    gauge(
      'sluice_stream_segments',
      'Live segments.',
      each(({ segments }) => segments),
    ),
    gauge(
      'sluice_stream_pending_bytes',
      'Bytes appended but not yet durable.',
      each((stats) => stats.pendingBytes),
    ),
    counter(
      'sluice_stream_appended_records_total',
      'Records appended since start.',
      each((stats) => stats.appendedRecords),
    ),
    counter(
      'sluice_stream_commits_total',
      'Group commits since start.',
      each(({ commits }) => commits),
    ),
    gauge(
      'sluice_partition_log_start_offset',
      'The oldest offset still stored.',
      eachPartition((stream, partition) => stream.logStartOffset(toPartitionId(partition))),
    ),
    gauge(
      'sluice_partition_high_watermark',
      'One past the last durable record.',
      eachPartition((stream, partition) => stream.highWatermark(toPartitionId(partition))),
    ),
  ]
}

export function groupMetrics(groups: Groups, catalog: StreamCatalog): Metric[] {
  const lag = (): Sample[] =>
    groups.list().flatMap((group) =>
      groups.describe(group).offsets.flatMap(({ stream, partition, offset }) => {
        const highWatermark = catalog.streams.get(stream)?.highWatermark(toPartitionId(partition))
        if (highWatermark === undefined) return []
        return [{ labels: { group, stream, partition: String(partition) }, value: Math.max(0, highWatermark - offset) }]
      }),
    )
  const members = (): Sample[] =>
    groups.list().map((group) => ({ labels: { group }, value: groups.describe(group).members.length }))
  return [
    gauge('sluice_group_lag_records', 'Records a group has not yet committed.', lag),
    gauge('sluice_group_members', 'Members of a group.', members),
  ]
}

export function queueMetrics(queues: Pick<Queues, 'list'>): Metric[] {
  const each = (value: (queue: DescribedQueue) => number) => (): Sample[] =>
    queues.list().map((queue) => ({ labels: { stream: queue.stream, group: queue.group }, value: value(queue) }))
  return [
    gauge(
      'sluice_queue_backlog_messages',
      'Messages of a work queue never handed out yet.',
      each(({ backlog }) => backlog),
    ),
    gauge(
      'sluice_queue_in_flight_messages',
      'Messages with a worker right now.',
      each(({ inFlight }) => inFlight),
    ),
    gauge(
      'sluice_queue_waiting_messages',
      'Messages handed out before, or waiting for their key.',
      each(({ waiting }) => waiting),
    ),
    counter(
      'sluice_queue_acknowledged_messages_total',
      'Messages acknowledged since start.',
      each(({ acknowledged }) => acknowledged),
    ),
    counter(
      'sluice_queue_dead_letters_total',
      'Messages that became dead letters since start.',
      each(({ deadLettered }) => deadLettered),
    ),
  ]
}

export function httpMetrics(stats: () => HttpStats): Metric[] {
  return [
    gauge('sluice_http_connections', 'Open HTTP connections.', () => stats().connections),
    gauge('sluice_http_waiting_polls', 'HTTP requests that wait for records.', () => stats().waitingPolls),
    counter('sluice_http_requests_total', 'HTTP requests since start.', () => stats().requests),
    counter('sluice_http_failures_total', 'HTTP replies with status 500 or more since start.', () => stats().failures),
  ]
}

export function processMetrics(): Metric[] {
  return [
    gauge('process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss()),
    counter('process_cpu_seconds_total', 'Processor time used.', () => {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    }),
    gauge('process_uptime_seconds', 'Seconds since the process started.', () => process.uptime()),
  ]
}
