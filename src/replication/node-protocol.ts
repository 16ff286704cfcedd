// What two Sluice nodes say to each other, over MQTT, version 1. The sender connects as any MQTT client does and publishes at QoS 1 to
// `$sluice/up`; the receiver answers on the same connection with PUBLISH packets of QoS 0 to `$sluice/down`, for which nobody subscribes.
// A PUBACK only frees the sender's packet identifier: that something is durable is said by `ack` alone.
//
// Every payload is one CBOR array; integers are at most 2^53 - 1 (beyond 2^32 as float64), no maps, no tags, nothing of indefinite length
// (cbor-check.ts). A reader ignores elements behind those it knows, so that later versions can add to a message.
//
//   up     hello     = [1, version, nodeId, current, next]                first, and once; `current` and `next`: see origin-epoch.ts
//          open      = [2, lane, origin, stream, fresh, [[start, cursor, end, epoch], …]]
//                      one per stream; partition p of it is lane + p. fresh: what the receiver has is not the beginning of this
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

import { Encoder } from 'cbor-x'
import { SluiceError } from '../base/errors.js'
import { cborProblem } from './cbor-check.js'

export const PROTOCOL_VERSION = 1
export const UP_TOPIC = '$sluice/up'
export const DOWN_TOPIC = '$sluice/down'
export const ORIGIN_EPOCH_BYTES = 16
/** Lanes of one connection, inclusive. */
export const MAX_LANES = 4096
const MAX_PARTITIONS = 256
const MAX_TEXT_LENGTH = 4096
const NAME = /^[A-Za-z0-9_-]{1,64}$/
const MAX_EPOCH = 0x7fffffff

const cbor = new Encoder({ useRecords: false, tagUint8Array: false })

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

export function encodeUp(message: UpMessage): Buffer {
  switch (message.type) {
    case 'hello':
      return cbor.encode([1, message.version, message.nodeId, message.current, message.next])
    case 'open': {
      const rows = message.partitions.map(({ start, cursor, end, epoch }) => [start, cursor, end, epoch])
      return cbor.encode([2, message.lane, message.origin, message.stream, message.fresh, rows])
    }
    case 'frame': {
      const gaps = message.gaps.map(({ first, last, reason }) => [first, last, reason])
      return cbor.encode([3, message.lane, gaps, message.batches])
    }
    case 'groups':
      return cbor.encode([
        4,
        message.lane,
        message.groups.map(({ group, offset, metadata }) => [group, offset, metadata]),
      ])
  }
}

export function encodeDown(message: DownMessage): Buffer {
  switch (message.type) {
    case 'welcome':
      return cbor.encode([1, message.version, message.nodeId, message.maxFrameBytes, message.readsZstd])
    case 'opened':
      return cbor.encode([
        2,
        message.lane,
        message.positions?.map(({ epoch, next, tip }) => [epoch, next, tip]) ?? null,
      ])
    case 'ack':
      return cbor.encode([3, message.acks.map(({ lane, epoch, next }) => [lane, epoch, next])])
    case 'lacks':
      return cbor.encode([4, message.lane, message.next])
    case 'refused':
      return cbor.encode([5, message.code, message.message])
  }
}

/** Batches are views into `bytes`, and not looked into. @throws SluiceError CORRUPT_MESSAGE */
export function decodeUp(bytes: Buffer): UpMessage {
  const row = decodeRow(bytes)
  switch (row[0]) {
    case 1:
      return {
        type: 'hello',
        version: integer(row[1]),
        nodeId: name(row[2]),
        current: originEpoch(row[3]),
        next: originEpoch(row[4]),
      }
    case 2:
      return {
        type: 'open',
        lane: integer(row[1], MAX_LANES),
        origin: name(row[2]),
        stream: name(row[3]),
        fresh: flag(row[4]),
        partitions: list(row[5], MAX_PARTITIONS).map((offer) => {
          const [start, cursor, end, epoch] = list(offer)
          return { start: integer(start), cursor: integer(cursor), end: integer(end), epoch: integer(epoch, MAX_EPOCH) }
        }),
      }
    case 3:
      return {
        type: 'frame',
        lane: integer(row[1], MAX_LANES),
        gaps: list(row[2]).map((gap) => {
          const [first, last, reason] = list(gap)
          return { first: integer(first), last: integer(last), reason: text(reason) }
        }),
        batches: list(row[3]).map(byteString),
      }
    case 4:
      return {
        type: 'groups',
        lane: integer(row[1], MAX_LANES),
        groups: list(row[2]).map((position) => {
          const [group, offset, metadata] = list(position)
          return { group: text(group), offset: integer(offset), metadata: text(metadata) }
        }),
      }
    default:
      throw corrupt('is of an unknown type')
  }
}

/** @throws SluiceError CORRUPT_MESSAGE */
export function decodeDown(bytes: Buffer): DownMessage {
  const row = decodeRow(bytes)
  switch (row[0]) {
    case 1:
      return {
        type: 'welcome',
        version: integer(row[1]),
        nodeId: name(row[2]),
        maxFrameBytes: integer(row[3]),
        readsZstd: flag(row[4]),
      }
    case 2:
      return {
        type: 'opened',
        lane: integer(row[1], MAX_LANES),
        positions:
          row[2] === null
            ? null
            : list(row[2], MAX_PARTITIONS).map((position) => {
                const [epoch, next, tip] = list(position)
                return {
                  epoch: integer(epoch, MAX_EPOCH),
                  next: integer(next),
                  tip: tip === null ? null : integer(tip, 0xffffffff),
                }
              }),
      }
    case 3:
      return {
        type: 'ack',
        acks: list(row[1], MAX_LANES).map((ack) => {
          const [lane, epoch, next] = list(ack)
          return { lane: integer(lane, MAX_LANES), epoch: integer(epoch, MAX_EPOCH), next: integer(next) }
        }),
      }
    case 4:
      return { type: 'lacks', lane: integer(row[1], MAX_LANES), next: integer(row[2]) }
    case 5:
      return { type: 'refused', code: text(row[1]), message: text(row[2]) }
    default:
      throw corrupt('is of an unknown type')
  }
}

function decodeRow(bytes: Buffer): readonly unknown[] {
  const problem = cborProblem(bytes)
  if (problem !== null) throw corrupt(problem)
  return list(cbor.decode(bytes))
}

function list(value: unknown, maximum = Number.POSITIVE_INFINITY): readonly unknown[] {
  if (!Array.isArray(value)) throw corrupt('lacks an array')
  if (value.length > maximum) throw corrupt(`has an array of more than ${maximum}`)
  return value
}

function integer(value: unknown, maximum = Number.MAX_SAFE_INTEGER): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0 || (value as number) > maximum)
    throw corrupt(`lacks a whole number up to ${maximum}`)
  return value as number
}

function text(value: unknown): string {
  if (typeof value !== 'string' || value.length > MAX_TEXT_LENGTH) throw corrupt('lacks a text')
  return value
}

function name(value: unknown): string {
  if (typeof value !== 'string' || !NAME.test(value)) throw corrupt('lacks a name')
  return value
}

function flag(value: unknown): boolean {
  if (typeof value !== 'boolean') throw corrupt('lacks true or false')
  return value
}

function byteString(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw corrupt('lacks bytes')
  return Buffer.from(value.buffer, value.byteOffset, value.length)
}

function originEpoch(value: unknown): Buffer {
  const bytes = byteString(value)
  if (bytes.length !== ORIGIN_EPOCH_BYTES) throw corrupt('lacks an origin epoch')
  return Buffer.from(bytes)
}

function corrupt(problem: string): SluiceError {
  return new SluiceError('CORRUPT_MESSAGE', `a message between nodes ${problem}`)
}
