// The messages of node-protocol.ts as bytes. What comes in is checked before and after it is decoded: nothing of a stranger's is built unseen, and
// what is returned has the types it says.

import { Encoder } from 'cbor-x'
import { SluiceError } from '../base/errors.js'
import { cborProblem } from './cbor-check.js'
import {
  type DownMessage,
  MAX_FRAME_BATCHES,
  MAX_LANES,
  MAX_PARTITIONS,
  MAX_TOLD_GAPS,
  MAX_TOLD_GROUPS,
  ORIGIN_EPOCH_BYTES,
  type UpMessage,
} from './node-protocol.js'

const MAX_TEXT_LENGTH = 4096
const NAME = /^[A-Za-z0-9_-]{1,64}$/
const MAX_EPOCH = 0x7fffffff

const cbor = new Encoder({ useRecords: false, tagUint8Array: false })

export function encodeUp(message: UpMessage): Buffer {
  switch (message.type) {
    case 'hello':
      return cbor.encode([1, message.version, message.nodeId, message.current, message.next])
    case 'open': {
      const rows = message.partitions.map(({ start, cursor, end, epoch, tip }) => [start, cursor, end, epoch, tip])
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
          const [start, cursor, end, epoch, tip] = list(offer)
          return {
            start: integer(start),
            cursor: integer(cursor),
            end: integer(end),
            epoch: integer(epoch, MAX_EPOCH),
            tip: fingerprint(tip),
          }
        }),
      }
    case 3:
      return {
        type: 'frame',
        lane: integer(row[1], MAX_LANES),
        gaps: list(row[2], MAX_TOLD_GAPS).map((gap) => {
          const [first, last, reason] = list(gap)
          return { first: integer(first), last: integer(last), reason: text(reason) }
        }),
        batches: list(row[3], MAX_FRAME_BATCHES).map(byteString),
      }
    case 4:
      return {
        type: 'groups',
        lane: integer(row[1], MAX_LANES),
        groups: list(row[2], MAX_TOLD_GROUPS).map((position) => {
          const [group, offset, metadata] = list(position)
          return { group: name(group), offset: integer(offset), metadata: text(metadata) }
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
                  tip: fingerprint(tip),
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

function fingerprint(value: unknown): number | null {
  return value === null ? null : integer(value, 0xffffffff)
}

function corrupt(problem: string): SluiceError {
  return new SluiceError('CORRUPT_MESSAGE', `a message between nodes ${problem}`)
}
