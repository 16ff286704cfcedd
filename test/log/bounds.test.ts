// Bounds of what the log keeps in memory, each at its maximum and one past it. The others are listed in src/log/README.md with their tests.

import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../src/base/errors.js'
import { BatchCompressor, MAX_COMMIT_BYTES } from '../../src/log/batch-compressor.js'
import { KEY_END } from '../../src/log/keys.js'
import { MAX_MIRRORED_PARTITIONS, MAX_MIRRORED_STREAMS } from '../../src/log/mirrors.js'
import { MAX_PRODUCERS_PER_STREAM, ProducerTable, REMEMBERED_BATCHES } from '../../src/log/producer-table.js'
import type { Segment } from '../../src/log/segment.js'
import { MAX_OPEN_SEALED_SEGMENTS, OpenSegments } from '../../src/log/segment-list.js'
import { FileSource, MAX_READ_AHEAD_BYTES } from '../../src/log/segment-source.js'
import { MAX_FACTS_PER_STREAM } from '../../src/log/stream.js'
import { MAX_TOPIC_SET_BYTES, TopicSet } from '../../src/log/topic-set.js'
import { MAX_STRETCH_BYTES, verifyStretch } from '../../src/log/verify.js'
import { decompress, MAX_DECOMPRESSED_BYTES } from '../../src/record/compression.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { MAX_ACKED_RANGES } from '../../src/state/cursors.js'
import { openLevel } from '../../src/state/level-database.js'
import { TableIndex } from '../../src/state/table-index.js'
import { MemoryStream } from '../helpers/memory-streams.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

const NOTHING = Buffer.alloc(0)
const BEGIN = { base: 0, epoch: 0 }
const P0 = 0 as PartitionId

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

test('a stream keeps as many facts as it may, and refuses one more until one has gone', async () => {
  const node = await openLog(tempDirInMemory(), [{ name: 's' }])
  const stream = node.log.stream('s')
  const refusal = (name: string): string | null => {
    try {
      stream.setFact(name, NOTHING)
      return null
    } catch (error) {
      return (error as SluiceError).code
    }
  }
  for (let i = 0; i < MAX_FACTS_PER_STREAM; i++) assert.is(refusal(`qos2/${i}`), null)
  assert.is(refusal('qos2/one-more'), 'TOO_MANY_REQUESTS', 'while they are on their way to the disk')
  await stream.setFact('qos2/0', null).durable()
  await stream.setFact('qos2/0', NOTHING).durable()
  assert.is(stream.facts('').size, MAX_FACTS_PER_STREAM)
  assert.is(refusal('qos2/one-more'), 'TOO_MANY_REQUESTS')
  assert.is(refusal('qos2/1'), null, 'one that is there may change')
  await stream.setFact('qos2/1', null).durable()
  assert.is(refusal('qos2/one-more'), null)
  await node.close()
})

test('a commit is compressed up to the largest that may be, and not with a byte more', async () => {
  const compressor = new BatchCompressor('gzip')
  const batch = encodeRecordBatch(0 as Offset, [recordOf('x'.repeat(10_000))], 0)
  const sizeAt = async (bytes: number) => (await compressor.compress([{ partition: 0, batch }], bytes))[0].batch.length
  assert.ok((await sizeAt(MAX_COMMIT_BYTES)) < batch.length / 2)
  assert.is(await sizeAt(MAX_COMMIT_BYTES + 1), batch.length)
})

test('a cursor holds as many acknowledged ranges as it may; one more is a mistake of ours', async () => {
  const node = await openLog(tempDirInMemory(), [{ name: 's' }])
  const ranges = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ first: (10 * i + 5) as Offset, next: (10 * i + 6) as Offset }))
  await node.cursors.set('cloud', 's', 0, 1 as Offset, ranges(MAX_ACKED_RANGES))
  assert.is(node.cursors.acked('cloud', 's', 0).length, MAX_ACKED_RANGES)
  const tooMany = node.cursors.set('cloud', 's', 0, 1 as Offset, ranges(MAX_ACKED_RANGES + 1))
  assert.match(await tooMany.then(() => 'taken', String), /bounded number of ranges/)
  await node.close()
})

test('as many streams may be mirrored as there is room for; one more is refused', async () => {
  const node = await openLog(tempDirInMemory(), [], { memoryBudgetBytes: 1 })
  const { mirrors } = node.log
  const open = (stream: number) => mirrors.open('gw-1', `s${stream}`, [BEGIN], 'gw-1')
  for (let i = 0; i < MAX_MIRRORED_STREAMS; i++) await open(i)
  assert.is(await codeOf(open(MAX_MIRRORED_STREAMS)), 'TOO_MANY_REQUESTS')
  assert.is((await mirrors.open('gw-2', 's0', [BEGIN], 'gw-2')).partitions, 1)
  assert.is(mirrors.list().length, MAX_MIRRORED_STREAMS + 1)
  await node.close()
})

test('mirrors of one stream have as many partitions together as may be; who brings one more changes nothing', async () => {
  const node = await openLog(tempDirInMemory(), [])
  const { mirrors } = node.log
  const begins = Array.from({ length: MAX_MIRRORED_PARTITIONS - 1 }, () => BEGIN)
  await mirrors.open('gw-1', 's', begins, 'gw-1')
  assert.is(await codeOf(mirrors.open('gw-2', 's', [BEGIN, BEGIN], 'gw-2')), 'TOO_MANY_REQUESTS')
  assert.ok(mirrors.find('gw-2', 's') === undefined)
  const last = await mirrors.open('gw-2', 's', [BEGIN], 'gw-2')
  assert.is(await codeOf(mirrors.begin('gw-2', 's', [BEGIN], 'gw-2')), 'TOO_MANY_REQUESTS')
  assert.ok(mirrors.find('gw-2', 's') === last, 'the one that was there is not replaced')
  assert.is(await codeOf(mirrors.open('gw-3', 's', [BEGIN], 'gw-3')), 'TOO_MANY_REQUESTS')
  await node.close()
})

/** Of a stretch of such batches, the first of which may be shorter: how many bytes are looked at in one request. */
async function verifiedBytes(batchBytes: number, firstShorterBy: number): Promise<number> {
  const stream = new MemoryStream('s')
  stream.add(0, Buffer.alloc(batchBytes))
  const { batches } = await stream.fetch(P0, 0 as Offset, { maxBytes: 1 })
  const valueBytes = 2 * batchBytes - batches[0].length
  const whole = new MemoryStream('s')
  for (let i = 0; i < MAX_STRETCH_BYTES / batchBytes + 10; i++)
    whole.add(0, Buffer.alloc(valueBytes - (i === 0 ? firstShorterBy : 0)))
  const { bytes, damage } = await verifyStretch(whole, {
    partition: P0,
    from: 0 as Offset,
    maxRecords: 1e6,
    ledger: [],
  })
  assert.equal(damage, [])
  return bytes
}

test('one request to verify ends where it has looked at as many bytes as it may; a byte before that it goes on', async () => {
  assert.is(await verifiedBytes(64 * 1024, 0), MAX_STRETCH_BYTES)
  assert.ok((await verifiedBytes(64 * 1024, 1)) > MAX_STRETCH_BYTES)
})

/** Of a table with two values of these lengths: its blocks, and how much is read at once for its entries. */
async function readTable(lengths: readonly number[]) {
  const directory = tempDirInMemory()
  const database = await openLevel(directory, { writeBufferBytes: 1 << 22, createIfMissing: true })
  for (const [i, length] of lengths.entries()) await database.put(Buffer.from([0, i]), Buffer.alloc(length))
  await database.compactRange(KEY_END, KEY_END)
  await database.close()
  const handle = await open(join(directory, '000005.ldb'))
  const index = (await TableIndex.read(handle)) as TableIndex
  const blocks = lengths.map((_, i) => index.block(i))
  const prototype = Object.getPrototypeOf(handle)
  await handle.close()
  const source = await FileSource.open(directory)
  const reads: number[] = []
  const { read } = prototype
  prototype.read = function (...args: [Buffer, number, number]) {
    reads.push(args[2])
    return read.apply(this, args)
  }
  try {
    for await (const _ of source.entries(Buffer.from([0]), Buffer.from([1])));
  } finally {
    prototype.read = read
    await source.close()
  }
  return { blocks, reads }
}

test('a table is read ahead as far as may be; what goes a byte beyond that is read by itself', async () => {
  const half = MAX_READ_AHEAD_BYTES / 2
  const { blocks } = await readTable([half, half - 1000])
  const longest = half - 1000 + MAX_READ_AHEAD_BYTES - (blocks[1].offset + blocks[1].size)
  assert.equal((await readTable([half, longest])).reads, [MAX_READ_AHEAD_BYTES])
  assert.equal((await readTable([half, longest + 1])).reads, [
    blocks[0].size,
    blocks[1].size - (half - 1000) + longest + 1,
  ])
})

test.run()
