// What an upstream is told, and what it tells.

import type { TopicMapping } from '../base/topic-mapping.js'
import type { TlsOptions } from './targets/mqtt-address.js'
import type { BrokerLimits, EnvelopeOptions } from './targets/mqtt-packer.js'

export interface UpstreamOptions {
  /** Also the destination in the ledger and the owner of the cursors. */
  readonly name: string
  readonly type: 'mqtt' | 'sluice'
  readonly url: string
  /** Tried in turn while `url` cannot be reached. Default: none. */
  readonly fallbackUrls?: readonly string[]
  /** Streams to forward, each once; `*.NAME` stands for the mirrors of that name, also those to come. */
  readonly streams: readonly string[]
  /** By a name of `streams`: bytes it gets relative to the others while they compete. Default 1 each. */
  readonly weights?: Readonly<Record<string, number>>
  /** `live_first`: new records before what has waited, to an MQTT broker only: see live-first.ts. Default: in order. */
  readonly order?: 'in_order' | 'live_first'
  /** Of the bytes, in percent: what new records get while there is a backlog. Default 80. */
  readonly liveShare?: number
  /** What has waited longer is backlog. Default 10 s. */
  readonly backlogAfterMs?: number
  /** Where an MQTT broker gets records: see targets/topic-template.ts. */
  readonly topic: string
  /** Records (to a Sluice node: frames, at most 16) sent and not yet acknowledged, inclusive. */
  readonly maxInFlight: number
  /** Of topics and payloads, on average; a second's worth may go at once. Default: no limit. */
  readonly bandwidthBytesPerSecond?: number | undefined
  /** What may go at once instead of a second's worth. */
  readonly bandwidthBurstBytes?: number | undefined
  /** In any second, inclusive. Default: no limit. */
  readonly messagesPerSecond?: number | undefined
  /** In 24 hours of the node being on: see daily-allowance.ts. Default: no limit. */
  readonly bytesPerDay?: number | undefined
  readonly limits?: BrokerLimits
  /** Left out: a PUBLISH per record. */
  readonly envelope?: EnvelopeOptions | undefined
  readonly clientId: string
  /** What is subscribed to over there, and where it is published here. Default: nothing. */
  readonly downlink?: readonly TopicMapping[]
  readonly username?: string
  readonly password?: string
  readonly tls?: TlsOptions
  readonly keepaliveSeconds: number
  /** The connection is given up when nothing was acknowledged for so long although something is in flight. */
  readonly ackTimeoutMs: number
  /** Ceiling of the first pause before a new attempt. */
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  /** After so many hang-ups on one record that was sent alone it becomes a dead letter. Default 5. */
  readonly maxAttempts?: number
  /** The stream for dead letters; left out: such records are in the ledger only. */
  readonly deadLetter?: string
  /** Where an MQTT broker is told, retained, what it will never be sent. Default: nowhere. */
  readonly ledgerTopic?: string | undefined
  /** From the first packet to the broker's consent. Default 30 s. */
  readonly connectTimeoutMs?: number
  /** Longest that a few acknowledgements wait to be saved. Default 1 s. */
  readonly cursorSaveDelayMs?: number
  /** Stored bytes read ahead of sending, for all partitions together; at least 16 KB each. Default 256 KB. */
  readonly readAheadBytes?: number
}

/**
 * `connecting`; `waiting` for the next attempt; `flowing` or `idle` (nothing to send) while connected; `stalled`: connected, but
 * nothing is acknowledged, or a partition cannot be forwarded; `paused` by an operator; `over_budget`:
 * connected, but the day's bytes are spent.
 */
export type UpstreamState = 'connecting' | 'waiting' | 'flowing' | 'idle' | 'stalled' | 'paused' | 'over_budget'

export interface UpstreamStatus {
  readonly name: string
  readonly type: string
  /** Without user and password. */
  readonly url: string
  readonly state: UpstreamState
  readonly connected: boolean
  /** Wall-clock time. */
  readonly connectedSinceMs: number | null
  readonly nextAttemptInMs?: number
  readonly lastError?: string
  /** Stored and not yet acknowledged. */
  readonly backlogRecords: number
  /** Of topics and payloads, estimated from the records that were sent (or are stored). */
  readonly backlogBytes: number
  /** Records acknowledged per second, over the last ten. */
  readonly ratePerSecond: number
  readonly inFlight: number
  /** Records acknowledged since start, those sent twice counted twice. */
  readonly deliveredTotal: number
  /** In the ledger, of whatever age: it will never get them. */
  readonly lostRecords: number
  /** Records passed over since start because the destination could never take them. */
  readonly rejectedTotal: number
  /** Messages from there that are durable here, since start; null without a downlink. */
  readonly downlinkTotal: number | null
  /** Messages from there that could not be published here, since start. */
  readonly downlinkRefusedTotal: number
  /** Of the oldest record waiting; null if none is, or it has not been read yet. */
  readonly oldestWaitingTimestampMs: number | null
  /** Until the backlog is gone at the present rates of acknowledging and arriving; null if it will not be. */
  readonly drainForecastMs: number | null
  /** Null without a limit of bytes a day. */
  readonly daily: DailyStatus | null
  readonly partitions: readonly UpstreamPartition[]
}

export interface DailyStatus {
  readonly bytesPerDay: number
  /** Of the running day. */
  readonly leftBytes: number
  /** Until the next one begins, if the node stays on. */
  readonly endsInMs: number
}

export interface UpstreamPartition {
  readonly stream: string
  readonly partition: number
  /** The next offset not acknowledged. */
  readonly nextOffset: number
  /** Acknowledged above it, where new records go first: ascending pairs of a first offset and one past the last. */
  readonly ackedRanges?: readonly (readonly [first: number, next: number])[]
  /** The next offset of what is new, where that goes first. */
  readonly liveOffset?: number
  readonly highWatermark: number
  /** Stored and not yet acknowledged. */
  readonly backlogRecords: number
  /** Why it cannot be forwarded, or has to wait. */
  readonly problem?: string
}

/** Where to go on: at an offset, or at the first record of a time. */
export interface RewindRequest {
  readonly stream: string
  /** Default: every partition. */
  readonly partition?: number
  readonly offset?: number
  readonly timestampMs?: number
  /** Only say what would be moved. Default: false. */
  readonly dryRun?: boolean
}

export interface RewoundPartition {
  readonly stream: string
  readonly partition: number
  readonly fromOffset: number
  readonly toOffset: number
}
