// The metrics of the parts that a node may have or not: its MQTT side, its upstreams, its health. What is needed of them is declared here.

import type { Health } from './health.js'
import { counter, gauge, type Metric, type Sample } from './metrics.js'

export interface MqttNumbers {
  readonly connections: number
  readonly durableSessions: number
  readonly subscriptions: number
  readonly retainedMessages: number
  readonly receivedMessages: number
  readonly unroutedMessages: number
  readonly refusedMessages: number
  readonly deliveredMessages: number
  readonly droppedMessages: number
  readonly refusedConnections: number
}

export interface UpstreamNumbers {
  readonly name: string
  readonly connected: boolean
  readonly backlogRecords: number
  readonly backlogBytes: number
  readonly inFlight: number
  readonly deliveredTotal: number
  readonly rejectedTotal: number
  readonly oldestWaitingTimestampMs: number | null
  readonly ratePerSecond: number
  readonly drainForecastMs: number | null
  readonly daily: { readonly bytesPerDay: number; readonly leftBytes: number; readonly endsInMs: number } | null
  readonly downlinkTotal: number | null
}

export function mqttMetrics(stats: () => MqttNumbers): Metric[] {
  return [
    gauge('sluice_mqtt_connections', 'Open MQTT connections.', () => stats().connections),
    gauge('sluice_mqtt_durable_sessions', 'Stored MQTT sessions.', () => stats().durableSessions),
    gauge('sluice_mqtt_subscriptions', 'Subscriptions of connected clients.', () => stats().subscriptions),
    gauge('sluice_mqtt_retained_messages', 'Retained messages.', () => stats().retainedMessages),
    counter('sluice_mqtt_received_messages_total', 'Messages taken since start.', () => stats().receivedMessages),
    counter(
      'sluice_mqtt_unrouted_messages_total',
      'Of these, those that no configured stream takes.',
      () => stats().unroutedMessages,
    ),
    counter(
      'sluice_mqtt_refused_messages_total',
      'Messages not taken since start: denied, or the log refused them.',
      () => stats().refusedMessages,
    ),
    counter(
      'sluice_mqtt_delivered_messages_total',
      'QoS 0 messages handed to subscribers.',
      () => stats().deliveredMessages,
    ),
    counter(
      'sluice_mqtt_dropped_messages_total',
      'QoS 0 messages dropped for subscribers that are too slow.',
      () => stats().droppedMessages,
    ),
    counter(
      'sluice_mqtt_refused_connections_total',
      'Connections closed before they were let in.',
      () => stats().refusedConnections,
    ),
  ]
}

export function upstreamMetrics(status: () => readonly UpstreamNumbers[], wallMs: () => number): Metric[] {
  const each = (value: (upstream: UpstreamNumbers) => number) => (): Sample[] =>
    status().map((upstream) => ({ labels: { upstream: upstream.name }, value: value(upstream) }))
  const some = (value: (upstream: UpstreamNumbers) => number | null | undefined) => (): Sample[] =>
    status().flatMap((upstream) => {
      const known = value(upstream)
      return known == null ? [] : [{ labels: { upstream: upstream.name }, value: known }]
    })
  return [
    gauge(
      'sluice_upstream_connected',
      '1 while connected.',
      each(({ connected }) => Number(connected)),
    ),
    gauge(
      'sluice_upstream_backlog_records',
      'Records not yet acknowledged.',
      each((upstream) => upstream.backlogRecords),
    ),
    gauge(
      'sluice_upstream_backlog_bytes',
      'Their bytes, about.',
      each((upstream) => upstream.backlogBytes),
    ),
    gauge(
      'sluice_upstream_in_flight',
      'Messages sent and not yet acknowledged.',
      each(({ inFlight }) => inFlight),
    ),
    gauge(
      'sluice_upstream_oldest_waiting_seconds',
      'Age of the oldest record not yet acknowledged; 0 where there is none.',
      each(({ oldestWaitingTimestampMs: at }) => (at === null ? 0 : Math.max(0, (wallMs() - at) / 1000))),
    ),
    gauge(
      'sluice_upstream_delivered_records_per_second',
      'Records acknowledged, over the last ten seconds.',
      each((upstream) => upstream.ratePerSecond),
    ),
    gauge(
      'sluice_upstream_drain_forecast_seconds',
      'Until the backlog is gone at the present rates; absent while it would never be.',
      some(({ drainForecastMs: ms }) => (ms === null ? null : ms / 1000)),
    ),
    gauge(
      'sluice_upstream_daily_budget_bytes',
      'What may be sent a day, where that is limited.',
      some(({ daily }) => daily?.bytesPerDay),
    ),
    gauge(
      'sluice_upstream_daily_budget_left_bytes',
      'What is left of it.',
      some(({ daily }) => daily?.leftBytes),
    ),
    gauge(
      'sluice_upstream_daily_budget_renewed_seconds',
      'Until the next day of it begins.',
      some(({ daily }) => (daily === null ? null : daily.endsInMs / 1000)),
    ),
    counter(
      'sluice_upstream_downlink_messages_total',
      'Messages from there that are on disk here, since start; of upstreams with a downlink.',
      some((upstream) => upstream.downlinkTotal),
    ),
    counter(
      'sluice_upstream_delivered_records_total',
      'Records acknowledged since start.',
      each((upstream) => upstream.deliveredTotal),
    ),
    counter(
      'sluice_upstream_rejected_records_total',
      'Records that cannot be sent, since start; the ledger names them.',
      each((upstream) => upstream.rejectedTotal),
    ),
  ]
}

export function healthMetrics(health: () => Health): Metric[] {
  return [gauge('sluice_ready', '1 while the node does its work, as /healthz says.', () => Number(health().ready))]
}
