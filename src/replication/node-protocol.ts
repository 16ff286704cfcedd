// What two Sluice nodes say to each other, over MQTT, version 1. The sender connects as any MQTT client does and publishes at QoS 1 to
// `$sluice/up`; the receiver answers on the same connection with PUBLISH packets of QoS 0 to `$sluice/down`, for which nobody subscribes.
// A PUBACK only frees the sender's packet identifier: that something is durable is said by `ack` alone.
//
// Every payload is one CBOR array; integers are at most 2^53 - 1 (beyond 2^32 as float64), no maps, no tags, nothing of indefinite length
// (cbor-check.ts). A reader ignores elements behind those it knows, so that later versions can add to a message.
//
//   up     hello     = [1, version, nodeId, current, next]                first, and once; `current` and `next`: see origin-epoch.ts
//          open      = [2, lane, origin, stream, fresh, [[start, cursor, end, epoch, tip], …]]
//                      one per stream; partition p of it is lane + p. fresh: what the receiver has is not the beginning of this;
//                      tip: CRC-32C of the record at end - 1, or null
//          frame     = [3, lane, [[first, last, reason], …], [batch, …]]
//                      gaps, both ends inclusive, ascending: they will never come; then consecutive record batches (Kafka RecordBatch v2)
//          groups    = [4, lane, [[group, offset, metadata], …]]           committed offsets of this partition
//   down   welcome   = [1, version, nodeId, maxFrameBytes, readsZstd]
//          opened    = [2, lane, null]                                     not wanted: it is the receiver's own stream
//                    | [2, lane, [[epoch, next, tip], …]]                  where to go on; tip: CRC-32C of the record before, or null
//          ack       = [3, [[lane, epoch, next], …]]                       durable up to there
//          lacks     = [4, lane, next]                                     what has come on this lane does not begin there: open it anew
//          refused   = [5, code, message]                                  the connection ends
//
//   nodeId, origin, stream, group = tstr    current, next = bstr of 16 bytes    batch = bstr    lane, offsets, epochs, times = uint

export const PROTOCOL_VERSION = 1
export const UP_TOPIC = '$sluice/up'
export const DOWN_TOPIC = '$sluice/down'
export const ORIGIN_EPOCH_BYTES = 16
/** Lanes of one connection, inclusive. */
export const MAX_LANES = 4096
/** Partitions of one stream, inclusive. */
export const MAX_PARTITIONS = 256
/** Gaps told in one frame, inclusive; a sender tells the rest as one. */
export const MAX_TOLD_GAPS = 256
/** Batches of one frame, inclusive. */
export const MAX_FRAME_BATCHES = 4096
/** Groups told in one message, inclusive; the rest goes with the next. */
export const MAX_TOLD_GROUPS = 256

export interface Hello {
  readonly type: 'hello'
  readonly version: number
  readonly nodeId: string
  readonly current: Buffer
  readonly next: Buffer
}

export interface LaneOffer {
  /** Oldest offset stored. */
  readonly start: number
  /** Next offset to be sent, for all the sender knows. */
  readonly cursor: number
  /** One past the last durable record. */
  readonly end: number
  readonly epoch: number
  /** Fingerprint of the record at `end - 1` (record-tip.ts); null if it is not stored. */
  readonly tip: number | null
}

export interface Open {
  readonly type: 'open'
  readonly lane: number
  readonly origin: string
  readonly stream: string
  readonly fresh: boolean
  readonly partitions: readonly LaneOffer[]
}

/** Offsets, both inclusive, that will never come. */
export interface ToldGap {
  readonly first: number
  readonly last: number
  readonly reason: string
}

export interface Frame {
  readonly type: 'frame'
  readonly lane: number
  readonly gaps: readonly ToldGap[]
  readonly batches: readonly Buffer[]
}

export interface GroupPosition {
  readonly group: string
  readonly offset: number
  readonly metadata: string
}

export interface Groups {
  readonly type: 'groups'
  readonly lane: number
  readonly groups: readonly GroupPosition[]
}

export type UpMessage = Hello | Open | Frame | Groups

export interface LanePosition {
  readonly epoch: number
  readonly next: number
  readonly tip: number | null
}

export interface Welcome {
  readonly type: 'welcome'
  readonly version: number
  readonly nodeId: string
  readonly maxFrameBytes: number
  readonly readsZstd: boolean
}

export interface Opened {
  readonly type: 'opened'
  readonly lane: number
  readonly positions: readonly LanePosition[] | null
}

export interface LaneAck {
  readonly lane: number
  readonly epoch: number
  readonly next: number
}

export type DownMessage =
  | Welcome
  | Opened
  | { readonly type: 'ack'; readonly acks: readonly LaneAck[] }
  | { readonly type: 'lacks'; readonly lane: number; readonly next: number }
  | { readonly type: 'refused'; readonly code: string; readonly message: string }
