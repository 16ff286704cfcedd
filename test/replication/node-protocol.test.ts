import { Encoder } from 'cbor-x'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { cborProblem, MAX_CBOR_ITEMS } from '../../src/replication/cbor-check.js'
import { decodeDown, decodeUp, encodeDown, encodeUp } from '../../src/replication/node-codec.js'
import {
  type DownMessage,
  MAX_FRAME_BATCHES,
  MAX_LANES,
  MAX_PARTITIONS,
  MAX_TOLD_GAPS,
  MAX_TOLD_GROUPS,
  type UpMessage,
} from '../../src/replication/node-protocol.js'

const cbor = new Encoder({ useRecords: false, tagUint8Array: false })
const EPOCH = Buffer.alloc(16, 7)
const LARGE = 2 ** 53 - 1

const UP: readonly UpMessage[] = [
  { type: 'hello', version: 1, nodeId: 'gw-17', current: EPOCH, next: Buffer.alloc(16, 8) },
  {
    type: 'open',
    lane: 0,
    origin: 'gw-17',
    stream: 'telemetry',
    fresh: false,
    partitions: [{ start: 0, cursor: 2 ** 40, end: LARGE, epoch: 3, tip: null }],
  },
  {
    type: 'frame',
    lane: 5,
    gaps: [{ first: 2 ** 33, last: LARGE, reason: 'retention' }],
    batches: [Buffer.from('one'), Buffer.alloc(0)],
  },
  { type: 'groups', lane: 1, groups: [{ group: 'g', offset: 7, metadata: '' }] },
]

const DOWN: readonly DownMessage[] = [
  { type: 'welcome', version: 1, nodeId: 'cloud', maxFrameBytes: 1 << 20, readsZstd: true },
  {
    type: 'opened',
    lane: 3,
    positions: [
      { epoch: 0, next: LARGE, tip: 0xffffffff },
      { epoch: 1, next: 0, tip: null },
    ],
  },
  { type: 'opened', lane: 3, positions: null },
  { type: 'ack', acks: [{ lane: 1, epoch: 2, next: 3 }] },
  { type: 'lacks', lane: 1, next: 2 ** 40 },
  { type: 'refused', code: 'FENCED_EPOCH', message: 'größer' },
]

test('every message comes out as it went in', () => {
  for (const message of UP) assert.equal(decodeUp(encodeUp(message)), message)
  for (const message of DOWN) assert.equal(decodeDown(encodeDown(message)), message)
})

test('every list of a message is taken at its maximum and refused one past it', () => {
  const offer = { start: 0, cursor: 0, end: 0, epoch: 0, tip: 1 }
  const open = { type: 'open', lane: 0, origin: 'a', stream: 'b', fresh: false } as const
  const frame = { type: 'frame', lane: 0 } as const
  const lists: readonly (readonly [number, (count: number) => UpMessage])[] = [
    [MAX_PARTITIONS, (count) => ({ ...open, partitions: Array(count).fill(offer) })],
    [MAX_TOLD_GAPS, (count) => ({ ...frame, batches: [], gaps: Array(count).fill({ first: 0, last: 1, reason: '' }) })],
    [MAX_FRAME_BATCHES, (count) => ({ ...frame, gaps: [], batches: Array(count).fill(EPOCH) })],
    [
      MAX_TOLD_GROUPS,
      (count) => ({ type: 'groups', lane: 0, groups: Array(count).fill({ group: 'g', offset: 0, metadata: '' }) }),
    ],
  ]
  for (const [maximum, message] of lists) {
    assert.equal(decodeUp(encodeUp(message(maximum))), message(maximum))
    assert.throws(() => decodeUp(encodeUp(message(maximum + 1))), /array of more than/)
  }
})

test('a message cut at any byte, and one with bytes behind it, is refused', () => {
  for (const message of UP) {
    const bytes = encodeUp(message)
    for (let length = 0; length < bytes.length; length++)
      assert.throws(() => decodeUp(Buffer.from(bytes.subarray(0, length))), /a message between nodes/)
    assert.throws(() => decodeUp(Buffer.concat([bytes, Buffer.from([0])])), /bytes behind its end/)
  }
})

const nested = (depth: number): Buffer => Buffer.concat([Buffer.alloc(depth, 0x81), Buffer.from([0])])
const open = (partitions: unknown, lane: unknown = 0, origin: unknown = 'gw'): Buffer =>
  cbor.encode([2, lane, origin, 'telemetry', false, partitions])

const MALFORMED: readonly (readonly [what: string, bytes: Buffer, problem: RegExp])[] = [
  ['nothing', Buffer.alloc(0), /ends early/],
  ['a number', Buffer.from([1]), /lacks an array/],
  ['an empty array', Buffer.from([0x80]), /unknown type/],
  ['an unknown type', cbor.encode([99]), /unknown type/],
  ['a map', Buffer.from([0xa1, 1, 2]), /has a map/],
  ['a bignum', Buffer.from([0x81, 0xc2, 0x42, 1, 0]), /has a tag/],
  ['a regular expression', cbor.encode([3, /a+/]), /has a tag/],
  ['a text of indefinite length', Buffer.from([0x81, 0x7f, 0x61, 0x61, 0xff]), /indefinite/],
  ['undefined', Buffer.from([0x81, 0xf7]), /simple value/],
  ['a half float', Buffer.from([0x81, 0xf9, 0, 0]), /simple value/],
  ['deep nesting', nested(100_000), /nested deeper/],
  ['an array that says it is huge', Buffer.from([0x9b, 0, 0, 0, 0xff, 0, 0, 0, 0]), /longer than the rest/],
  ['a string that says it is huge', Buffer.from([0x81, 0x5a, 0xff, 0xff, 0xff, 0xff]), /longer than the rest/],
  ['more items than allowed', cbor.encode(new Array(MAX_CBOR_ITEMS).fill(0)), /more than 50000 items/],
  ['a name with a dot', open([], 0, 'a.b'), /lacks a name/],
  ['a name with a slash', open([], 0, '../x'), /lacks a name/],
  ['no name', open([], 0, ''), /lacks a name/],
  ['a lane past the maximum', open([], MAX_LANES + 1), /whole number/],
  ['a negative lane', open([], -1), /whole number/],
  ['half a lane', open([], 0.5), /whole number/],
  ['too many partitions', open(new Array(257).fill([0, 0, 0, 0])), /more than 256/],
  ['an offset past 2^53', open([[0, 0, 2 ** 53, 0]]), /whole number/],
  ['an offset that is no number', open([['0', 0, 0, 0]]), /whole number/],
  ['an offset that is not there', open([[0, 0]]), /whole number/],
  ['an epoch past int32', open([[0, 0, 0, 2 ** 31]]), /whole number/],
  ['a batch that is a text', cbor.encode([3, 0, [], ['x']]), /lacks bytes/],
  ['a short origin epoch', cbor.encode([1, 1, 'gw', Buffer.alloc(15), EPOCH]), /origin epoch/],
]
for (const [what, bytes, problem] of MALFORMED)
  test(`${what} is refused`, () => assert.throws(() => decodeUp(bytes), problem))

test('what a later version adds behind the known elements is passed over', () => {
  assert.equal(decodeDown(cbor.encode([4, 1, 2, 'more', [1]])), { type: 'lacks', lane: 1, next: 2 })
})

test('plain items pass the check, at the maximum of items too', () => {
  for (const item of [0, -1, 1.5, 2 ** 40, 'text', Buffer.from('bytes'), true, false, null, [], [[1, [2]]]])
    assert.is(cborProblem(cbor.encode(item)), null, JSON.stringify(item))
  assert.is(cborProblem(cbor.encode(new Array(MAX_CBOR_ITEMS - 1).fill(0))), null)
  assert.is(cborProblem(nested(4)), null)
  assert.is.not(cborProblem(nested(5)), null)
})

test.run()
