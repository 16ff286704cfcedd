// Bounds of what the log keeps in memory, each at its maximum and one past it. The others are listed in src/log/README.md with their tests.

import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_PRODUCERS_PER_STREAM, ProducerTable, REMEMBERED_BATCHES } from '../../src/log/producer-table.js'
import type { Segment } from '../../src/log/segment.js'
import { MAX_OPEN_SEALED_SEGMENTS, OpenSegments } from '../../src/log/segment-list.js'
import { MAX_TOPIC_SET_BYTES, TopicSet } from '../../src/log/topic-set.js'
import { decompress, MAX_DECOMPRESSED_BYTES } from '../../src/record/compression.js'
import type { Offset } from '../../src/record/record.js'
import { codeOf } from '../helpers/rejection.js'

/** Each name of 120 bytes counts as 128. */
const NAMES = MAX_TOPIC_SET_BYTES / 128
const nameOf = (i: number): Buffer => Buffer.from(String(i).padStart(120, '0'))

test('a segment lists as many topics as fit; with one more, any topic may be there', () => {
  const topics = new TopicSet()
  for (let i = 0; i < NAMES; i++) topics.add(nameOf(i))
  topics.add(nameOf(0))
  assert.is(topics.names()?.length, NAMES)
  topics.add(nameOf(NAMES))
  assert.is(topics.names(), null)
})

test('of the producers there may be, the one not heard of for longest is forgotten for one more, and its fact removed', () => {
  const table = new ProducerTable()
  const append = (producerId: number) =>
    table.appended(0, { producerId, epoch: 0, sequence: 0 }, { sequence: 0, count: 1, offset: 0 as Offset }, producerId)
  for (let id = 0; id < MAX_PRODUCERS_PER_STREAM; id++) assert.is(append(id).length, 1)
  assert.ok(table.find(0, { producerId: 0, epoch: 0, sequence: 0 }, 1))
  const [, removed] = append(MAX_PRODUCERS_PER_STREAM)
  assert.equal(removed, { name: 'producer/0/0', value: null })
  assert.is(table.find(0, { producerId: 0, epoch: 0, sequence: 0 }, 1), null)
  assert.ok(table.find(0, { producerId: 1, epoch: 0, sequence: 0 }, 1))
})

test('the last batches of a producer are recognised; the one before them is refused, not stored twice', async () => {
  const table = new ProducerTable()
  const at = (sequence: number) => ({ producerId: 1, epoch: 0, sequence })
  for (let i = 0; i <= REMEMBERED_BATCHES; i++)
    table.appended(0, at(i), { sequence: i, count: 1, offset: i as Offset }, 0)
  assert.is(table.find(0, at(1), 1)?.offset, 1)
  assert.is(await codeOf(Promise.resolve().then(() => table.find(0, at(0), 1))), 'OUT_OF_ORDER_SEQUENCE')
})

test('as many sealed segments stay open as may be; for one more, the one not read for longest is closed', () => {
  const open = new OpenSegments()
  const closed: number[] = []
  const segments = Array.from({ length: MAX_OPEN_SEALED_SEGMENTS + 1 }, (_, i) => {
    return { close: async () => void closed.push(i) } as unknown as Segment
  })
  for (const segment of segments.slice(0, -1)) open.touch(segment)
  open.touch(segments[0])
  assert.equal(closed, [])
  open.touch(segments[MAX_OPEN_SEALED_SEGMENTS])
  assert.equal(closed, [1])
})

test('a batch may be as large as the maximum when it is decompressed, and not a byte larger', () => {
  const whole = gzipSync(Buffer.alloc(MAX_DECOMPRESSED_BYTES), { level: 1 })
  assert.is(decompress('gzip', whole).length, MAX_DECOMPRESSED_BYTES)
  const larger = gzipSync(Buffer.alloc(MAX_DECOMPRESSED_BYTES + 1), { level: 1 })
  assert.throws(() => decompress('gzip', larger), /larger than 67108864 bytes/)
})

test.run()
