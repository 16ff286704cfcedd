import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { TailCache } from '../../src/log/tail-cache.js'
import type { Stream } from '../../src/log/types.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { baseOffsetOf, decodeRecords, lastOffsetOf } from '../../src/record/record-batch.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { flipBitIn } from '../helpers/damage.js'
import { openLog, readAll, recordOf } from '../helpers/open-log.js'
import { unlessSkipped } from '../helpers/skip.js'
import { SmallDisk } from '../helpers/small-disk.js'
import { tempDir } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const STREAM = { name: 's', partitions: 2 }
const LIMITS = { maxBytes: 64 * 1024 }
const disk = SmallDisk.make(24)
const whereDisksCanBeMade = unlessSkipped(test, disk === null ? 'mounting a small tmpfs needs root' : null)

function batch(base: number, records = 1, valueBytes = 1) {
  const values = Array.from({ length: records }, () => recordOf('v'.repeat(valueBytes)))
  return { partition: 0, batch: encodeRecordBatch(base as Offset, values) }
}

/** What was stored, and durable, one write after the other, while somebody follows. */
function cacheOf(maxBytes: number, ...writes: readonly (readonly ReturnType<typeof batch>[])[]): TailCache {
  const cache = new TailCache(maxBytes)
  for (const write of writes) {
    cache.read(0, 0, 0, LIMITS)
    cache.add(cache.copies(write))
  }
  return cache
}

const offsets = (batches: readonly Buffer[] | null) => batches?.map((one) => [baseOffsetOf(one), lastOffsetOf(one)])

/** A reader has caught up; from then on what is appended is held. */
async function follow(stream: Stream): Promise<void> {
  await stream.fetch(P0, stream.highWatermark(P0), LIMITS)
}

test('a reader gets the batch that holds its offset, and those behind it up to its limits', () => {
  const cache = cacheOf(10_000, [batch(10, 5)], [batch(15, 5), batch(20, 5)])
  assert.is(cache.read(0, 9, 25, LIMITS), null, 'not held')
  assert.is(cache.read(0, 25, 25, LIMITS), null, 'the end')
  assert.is(cache.read(1, 10, 25, LIMITS), null, 'another partition')
  const from17 = [
    [15, 19],
    [20, 24],
  ]
  assert.equal(offsets(cache.read(0, 17, 25, LIMITS)), from17)
  assert.equal(offsets(cache.read(0, 14, 25, { maxBytes: 1 })), [[10, 14]], 'the first whatever its size')
  assert.equal(offsets(cache.read(0, 14, 25, { maxBytes: 100_000, maxRecords: 1 })), [[10, 14]])
  assert.equal(offsets(cache.read(0, 14, 25, { maxBytes: 100_000, maxRecords: 2 }))?.length, 2)
})

test('it holds its maximum and not a byte more: the oldest go first, also those of other partitions', () => {
  const writes = Array.from({ length: 10 }, (_, i) => [batch(i), { ...batch(i), partition: 1 }])
  const full = cacheOf(1_000_000, ...writes).heldBytes
  assert.is(cacheOf(full, ...writes).heldBytes, full)
  const tight = cacheOf(full - 1, ...writes)
  assert.ok(tight.heldBytes < full)
  assert.is(tight.read(0, 0, 10, LIMITS), null)
  assert.equal(offsets(tight.read(1, 0, 10, LIMITS))?.[0], [0, 0])
})

test('of a write larger than its maximum it holds the end', () => {
  const one = cacheOf(1_000_000, [batch(0, 1, 1000)]).heldBytes
  const cache = cacheOf(one * 2, [batch(0, 1, 1000), batch(1, 1, 1000), batch(2, 1, 1000)])
  assert.is(cache.read(0, 0, 3, LIMITS), null)
  assert.equal(offsets(cache.read(0, 1, 3, LIMITS))?.length, 2)
})

test('offsets that are left out are never passed over in silence: what lies before them is forgotten', () => {
  const cache = cacheOf(1_000_000, [batch(0)], [batch(1)], [batch(5)])
  assert.is(cache.read(0, 0, 6, LIMITS), null)
  assert.equal(offsets(cache.read(0, 5, 6, LIMITS)), [[5, 5]])
})

test('nothing is held unless somebody reads near the end, and nothing more once nobody does', () => {
  const alone = new TailCache(10_000)
  assert.equal(alone.copies([batch(0)]), [])
  alone.read(0, 0, 1_000_000, LIMITS)
  assert.equal(alone.copies([batch(1)]), [], 'a reader far behind does not count')
  const cache = cacheOf(10_000, [batch(0)])
  for (let next = 1; next < 200; next++) cache.add(cache.copies([batch(next)]))
  assert.is(cache.heldBytes, 0)
})

test('followers share what is held, and it is what the disk has', async () => {
  const node = await openLog(tempDir(), [STREAM])
  const stream = node.log.stream('s')
  await follow(stream)
  for (let i = 0; i < 20; i++) await stream.append(P0, recordOf(`value ${i}`)).durable()
  const [one, other] = await Promise.all([3, 3].map((from) => stream.fetch(P0, from as Offset, LIMITS)))
  const stored = await stream.fetch(P0, 3 as Offset, { ...LIMITS, fromDisk: true })
  assert.is(one.batches.length, 17)
  for (const [i, held] of one.batches.entries()) assert.is(held, other.batches[i])
  assert.equal(one, stored)
  assert.is.not(one.batches[0], stored.batches[0])
  await node.close()
})

test('what is not durable is given to nobody', async () => {
  const node = await openLog(tempDir(), [STREAM])
  const stream = node.log.stream('s')
  await follow(stream)
  const commit = stream.append(P0, recordOf('x'))
  assert.equal((await stream.fetch(P0, 0 as Offset, LIMITS)).batches, [])
  await commit.durable()
  assert.is((await stream.fetch(P0, 0 as Offset, LIMITS)).batches.length, 1)
  await node.close()
})

test('once damage has been found, followers are given what the disk still has', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [STREAM], { segmentBytes: 256 * 1024 })
  const stream = node.log.stream('s')
  await follow(stream)
  for (let i = 0; i < 40; i++) {
    await stream.append(P0, recordOf(`value ${i} ${'x'.repeat(8000)}`)).durable()
    await follow(stream)
  }
  await flipBitIn(directory, 's', 'value 3 ')
  const followed = () => stream.fetch(P0, 20 as Offset, LIMITS)
  const held = (await followed()).batches
  assert.is((await followed()).batches[0], held[0], 'it is held')
  await readAll(node.log, 's')
  assert.is(node.ledger.list().length, 1)
  assert.is.not((await followed()).batches[0], held[0])
  await node.close()
})

whereDisksCanBeMade(
  'a refused write leaves nothing of itself with followers, and what was held goes with it',
  async () => {
    if (disk === null) return
    const node = await openLog(join(disk.path, 'data'), [STREAM], { segmentBytes: 1024 * 1024 })
    const stream = node.log.stream('s')
    await node.ballast.restore()
    await follow(stream)
    await disk.fill(16 * 1024 * 1024)
    let acked = 0
    try {
      for (;;) {
        await stream.append(P0, recordOf(`${acked}:${'x'.repeat(4000)}`)).durable()
        acked += 1
        await follow(stream)
      }
    } catch {
      // The disk is full.
    }
    assert.ok(acked > 0)
    const last = (acked - 1) as Offset
    const twice = await Promise.all([last, last].map((from) => stream.fetch(P0, from, LIMITS)))
    assert.is.not(twice[0].batches[0], twice[1].batches[0], 'read from disk each')
    const values = twice[0].batches.flatMap((one) => decodeRecords(one, last)).map(({ value }) => String(value))
    assert.equal(
      values.map((value) => value.split(':')[0]),
      [String(last)],
    )
    disk.free()
    await node.close()
    disk.remove()
  },
)

test.run()
