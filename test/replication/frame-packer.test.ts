import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compress } from '../../src/record/compression.js'
import type { Offset, PartitionId, RecordInput } from '../../src/record/record.js'
import {
  baseOffsetOf,
  codecOf,
  decodeRecords,
  lastOffsetOf,
  leaderEpochOf,
  producerOf,
  recordBatchProblem,
  withCompressedRecords,
} from '../../src/record/record-batch.js'
import { RecordBatchBuilder } from '../../src/record/record-batch-builder.js'
import { FramePacker, type FrameShipment } from '../../src/replication/frame-packer.js'
import { recordOf } from '../helpers/open-log.js'

const SOURCE = { stream: 'telemetry', partition: 0 as PartitionId }
const LIMITS = { maxBatchBytes: 1 << 20, readsZstd: false, inHaste: false }

function batch(base: number, values: readonly (string | Buffer)[], more: { epoch?: number; producer?: number } = {}) {
  const builder = new RecordBatchBuilder(1024)
  builder.reset(base)
  if (more.producer !== undefined) builder.setProducer(more.producer, 1, base * 10)
  for (const [i, value] of values.entries()) builder.append(record(base + i, value))
  return Buffer.from(builder.finish(more.epoch ?? 0))
}

function record(n: number, value: string | Buffer): RecordInput {
  return recordOf(value, {
    timestampMs: 1000 + n,
    headers: [{ key: 'n', value: Buffer.from(String(n)) }],
    attributes: n % 8,
  })
}

function pack(batches: readonly Buffer[], from = 0, limits = LIMITS): Promise<FrameShipment[]> {
  return new FramePacker().pack(SOURCE, batches, from as Offset, limits)
}

/** The frames hold exactly the records of the batches from `from` on, whole and in order. */
function assertSameRecords(frames: readonly FrameShipment[], batches: readonly Buffer[], from = 0): void {
  const there = batches.flatMap((one) => decodeRecords(one, from as Offset))
  const here = frames.flatMap(({ batches: packed }) => packed.flatMap((one) => decodeRecords(one)))
  assert.equal(JSON.stringify(here), JSON.stringify(there))
  for (const frame of frames) for (const one of frame.batches) assert.is(recordBatchProblem(one), null)
}

test('tiny batches become one, compressed, with every record as it was', async () => {
  const batches = Array.from({ length: 50 }, (_, i) =>
    batch(i * 2, [`reading ${i} of a sensor`, `and ${i} of another`]),
  )
  const frames = await pack(batches)
  assert.is(frames.length, 1)
  assert.is(frames[0].batches.length, 1)
  assert.is(codecOf(frames[0].batches[0]), 'gzip')
  assert.equal([frames[0].offset, frames[0].nextOffset, frames[0].records], [0, 100, 100])
  assertSameRecords(frames, batches)
})

test('a batch alone goes as it is stored, byte for byte', async () => {
  const stored = batch(7, ['tiny'])
  assert.equal((await pack([stored]))[0].batches, [stored])
  const large = batch(8, [randomBytes(30_000)])
  assert.equal((await pack([large]))[0].batches, [large])
  const zipped = await withCompressedRecords(batch(9, ['x'.repeat(9000)]), 'gzip', compress)
  assert.equal((await pack([zipped]))[0].batches, [zipped])
})

test('what lies below the start is cut off', async () => {
  const batches = [batch(0, ['a', 'b', 'c']), batch(3, ['d', 'e', 'f'])]
  for (let from = 0; from < 6; from++) {
    const frames = await pack(batches, from)
    assert.is(frames[0].offset, from)
    assertSameRecords(frames, batches, from)
  }
  assert.equal(await pack(batches, 6), [])
})

test('batches of producers stay apart, and a cut one keeps its numbers', async () => {
  const batches = [batch(0, ['a', 'b']), batch(2, ['c', 'd'], { producer: 5 }), batch(4, ['e'], { producer: 5 })]
  const [{ batches: packed }] = await pack(batches)
  assert.equal(packed, batches)
  const [cut] = await pack(batches.slice(1, 2), 3)
  assert.equal(producerOf(cut.batches[0]), { producerId: 5, producerEpoch: 1, baseSequence: 21 })
})

test('batches of two epochs are not merged', async () => {
  const batches = [batch(0, ['a']), batch(1, ['b'], { epoch: 1 })]
  const [{ batches: packed }] = await pack(batches)
  assert.equal(packed.map(leaderEpochOf), [0, 1])
})

test('a frame ends where offsets are missing', async () => {
  const batches = [batch(0, ['a']), batch(5, ['b'])]
  const frames = await pack(batches)
  assert.equal(
    frames.map(({ offset, nextOffset }) => [offset, nextOffset]),
    [
      [0, 1],
      [5, 6],
    ],
  )
})

test('a batch larger than the upstream takes is named as rejected, and those beside it are not', async () => {
  const batches = [batch(0, [randomBytes(20_000)]), batch(1, [randomBytes(60_000)]), batch(2, [randomBytes(20_000)])]
  const frames = await pack(batches, 0, { ...LIMITS, maxBatchBytes: 50_000 })
  assert.equal(
    frames.map(({ offset, rejected }) => [offset, rejected !== undefined]),
    [
      [0, false],
      [1, true],
      [2, false],
    ],
  )
})

test('many large batches become several frames, in order', async () => {
  const batches = Array.from({ length: 10 }, (_, i) => batch(i, [randomBytes(40_000)]))
  const frames = await pack(batches)
  assert.ok(frames.length > 2)
  assertSameRecords(frames, batches)
  for (const { batches: packed, offset, nextOffset } of frames) {
    assert.is(baseOffsetOf(packed[0]), offset)
    assert.is(lastOffsetOf(packed[packed.length - 1]), nextOffset - 1)
  }
})

test.run()
