import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { leaderEpochOf } from '../../../src/record/record-batch.js'
import { openLog, readAll, recordOf, type TestLog } from '../../helpers/open-log.js'
import { tempDir } from '../../helpers/temp-dir.js'
import { witnessed } from '../../helpers/witnessed.js'

const PARTITIONS = [0, 1, 2] as PartitionId[]
const STREAM = { name: 's', partitions: PARTITIONS.length }

async function append(node: TestLog, partition: PartitionId, count: number): Promise<void> {
  const stream = node.log.stream('s')
  for (let i = 0; i < count; i++) {
    await stream.append(partition, recordOf(`${stream.nextOffset(partition)}:${'x'.repeat(300)}`)).durable()
  }
}

/** A data directory as a killed node leaves it: 100 records in partition 0, then 50 in partition 1, none in partition 2; and its log file. */
async function killedNode(): Promise<{ directory: string; segment: string; log: string }> {
  const live = await openLog(tempDir(), [STREAM])
  await append(live, PARTITIONS[0], 100)
  await append(live, PARTITIONS[1], 50)
  await witnessed(live.directory)
  const directory = tempDir()
  await cp(live.directory, directory, { recursive: true })
  await live.close()
  const segment = join(directory, 'streams', 's', '000000000001')
  const name = (await readdir(segment)).find((one) => one.endsWith('.log')) as string
  return { directory, segment, log: join(segment, name) }
}

/** @param position If below 0, from the end of what was written, behind which the log is laid out with zeros. */
async function flip(path: string, position: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[position < 0 ? writtenBytes(bytes) + position : position] ^= 4
  await writeFile(path, bytes)
}

function writtenBytes(log: Buffer): number {
  return log.findLastIndex((byte) => byte !== 0) + 1
}

/** [partition, first, last] of what the ledger says is lost to everybody; what lies before a place where nothing is, because its end is unknown. */
function lost(node: TestLog): number[][] {
  return node.ledger.list().map((row) => {
    const next = node.log.streams.get(row.stream)?.nextOffset(row.partition as PartitionId)
    const isEnd = next === undefined || row.lastOffset + 1 === next
    assert.is(
      `${row.destination} ${row.reason}`,
      isEnd || row.reason === 'end_unknown' ? '* end_unknown' : '* corruption',
    )
    return [row.partition, row.firstOffset, row.lastOffset]
  })
}

async function assertHolds(node: TestLog, partition: PartitionId, first: number, end: number): Promise<void> {
  const records = (await readAll(node.log, 's', partition)).filter(({ offset }) => offset >= first && offset < end)
  assert.is(records.length, end - first)
  records.forEach(({ offset, value }, i) => {
    assert.is(offset, first + i)
    assert.ok(value?.toString().startsWith(`${offset}:`))
  })
}

test('acked records hidden by a changed byte at the end of a log are named, and their offsets never used again', async () => {
  const { directory, log } = await killedNode()
  await flip(log, -20)
  let ledger: number[][] = []
  // What the first start has found out still holds for the later ones, which see nothing unusual any more.
  for (let start = 0; start < 3; start++) {
    const node = await openLog(directory, [STREAM])
    const stream = node.log.stream('s')
    const [p0, p1, p2] = PARTITIONS
    assert.equal(lost(node), [
      [0, 100, stream.nextOffset(p0) - 1],
      [1, 49, stream.nextOffset(p1) - 1],
    ])
    if (start > 0) assert.equal(lost(node), ledger)
    ledger = lost(node)
    assert.is(stream.nextOffset(p2), 0, 'a partition never written has lost nothing')
    await assertHolds(node, p0, 0, 100)
    await assertHolds(node, p1, 0, 49)
    await node.close()
  }
  const node = await openLog(directory, [STREAM])
  const next = node.log.stream('s').nextOffset(PARTITIONS[1])
  await append(node, PARTITIONS[1], 5)
  await node.close()
  const again = await openLog(directory, [STREAM])
  assert.equal(lost(again), ledger)
  await assertHolds(again, PARTITIONS[1], next, next + 5)
  const { batches } = await again.log.stream('s').fetch(PARTITIONS[1], next as Offset, { maxBytes: 1 })
  assert.is(leaderEpochOf(batches[0]), 1, 'the partition epoch tells that its end could not be proven')
  await again.close()
})

test('records missing in the middle of a log are named exactly; what was written later proves where partitions end', async () => {
  const { directory, log } = await killedNode()
  await flip(log, 10_000)
  const node = await openLog(directory, [STREAM])
  const [[partition, first, last], ...others] = lost(node)
  assert.equal([partition, ...others], [0])
  assert.ok(first > 10 && last === first && last < 100, 'only the record that has changed')
  await assertHolds(node, PARTITIONS[0], 0, first)
  await assertHolds(node, PARTITIONS[0], last + 1, 100)
  await assertHolds(node, PARTITIONS[1], 0, 50)
  assert.equal(
    PARTITIONS.map((one) => node.log.stream('s').nextOffset(one)),
    [100, 50, 0],
  )
  await node.close()
})

test('a newest segment that lost its log is set aside, and what it may have held is named, at every later start', async () => {
  const { directory, log } = await killedNode()
  await rm(log)
  let ledger: number[][] = []
  for (let start = 0; start < 2; start++) {
    const node = await openLog(directory, [STREAM])
    const stream = node.log.stream('s')
    assert.equal(
      lost(node),
      PARTITIONS.slice(0, 2).map((partition) => [partition, 0, stream.nextOffset(partition) - 1]),
    )
    if (start > 0) assert.equal(lost(node), ledger)
    ledger = lost(node)
    await node.close()
  }
  assert.is((await readdir(join(directory, 'quarantine', 's'))).length, 1)
})

for (const missing of ['CURRENT', 'MANIFEST', 'CURRENT and MANIFEST'])
  test(`a newest segment that lost ${missing} of LevelDB has lost no record`, async () => {
    const { directory, segment } = await killedNode()
    for (const name of await readdir(segment))
      if (missing.split(' and ').some((one) => name.startsWith(one))) await rm(join(segment, name))
    for (let start = 0; start < 2; start++) {
      const node = await openLog(directory, [STREAM])
      assert.equal(lost(node), [])
      await assertHolds(node, PARTITIONS[0], 0, 100)
      await assertHolds(node, PARTITIONS[1], 0, 50)
      assert.equal(
        PARTITIONS.map((one) => node.log.stream('s').nextOffset(one)),
        [100, 50, 0],
      )
      await node.close()
    }
  })

test('without a state database, too, writing goes on beyond what a damaged log has hidden', async () => {
  const { directory, log } = await killedNode()
  await flip(log, -20)
  await rm(join(directory, 'state'), { recursive: true })
  const node = await openLog(directory, [STREAM])
  for (const partition of PARTITIONS) assert.ok(node.log.stream('s').nextOffset(partition) > 100)
  await assertHolds(node, PARTITIONS[0], 0, 100)
  await node.close()
})

/** Asserts that no partition goes on below what it has reached, and that what is missing is named. */
async function assertNothingAnew(directory: string, ends: readonly number[], what: string): Promise<void> {
  let ledger: number[][] = []
  for (let start = 0; start < 2; start++) {
    const node = await openLog(directory, [STREAM])
    const stream = node.log.stream('s')
    for (const partition of PARTITIONS) {
      const there = new Set((await readAll(node.log, 's', partition)).map(({ offset }) => Number(offset)))
      const rows = lost(node).filter(([of]) => of === partition)
      for (let offset = 0; offset < ends[partition]; offset++) {
        const named = rows.some(([, first, last]) => first <= offset && offset <= last)
        assert.ok(there.has(offset) !== named, `${what}: ${partition}/${offset} is there or named, and not both`)
      }
      assert.ok(stream.nextOffset(partition) >= ends[partition], `${what}: an offset would be used twice`)
    }
    if (start > 0) assert.equal(lost(node), ledger, what)
    ledger = lost(node)
    await node.close()
  }
  assert.ok(ledger.length > 0, `${what} is told`)
}

test('wherever the log of a killed node is cut short, what it held is named, and no offset is used again', async () => {
  const source = await killedNode()
  const bytes = await readFile(source.log)
  const used = writtenBytes(bytes)
  // The last record, some of its bytes, the zeros laid out behind it as well, half of all, all but the header, all.
  for (const size of [used - 1, used - 200, used - 400, used - 1000, Math.floor(used / 2), 400, 0]) {
    const directory = tempDir()
    await cp(source.directory, directory, { recursive: true })
    const log = source.log.replace(source.directory, directory)
    await truncate(log, size)
    // A disk that has lost a write gives zeros in its place.
    if (size % 2 === 1) await truncate(log, bytes.length)
    await assertNothingAnew(directory, [100, 50, 0], `cut to ${size} of ${used}`)
  }
})

test('a newest segment that is gone is missed, after a kill and after a clean stop', async () => {
  for (const stopped of ['killed', 'closed'] as const) {
    const { directory, segment } = await killedNode()
    let node = await openLog(directory, [STREAM])
    await append(node, PARTITIONS[0], 20)
    if (stopped === 'closed') await node.close()
    const copy = tempDir()
    await witnessed(directory)
    await cp(directory, copy, { recursive: true })
    if (stopped === 'killed') await node.close()
    await rm(join(copy, 'streams', 's', '000000000002'), { recursive: true })
    await assertNothingAnew(copy, [120, 50, 0], `${stopped}, then the newest removed`)
    // Where writing went on, too.
    node = await openLog(copy, [STREAM])
    const next = node.log.stream('s').nextOffset(PARTITIONS[0])
    await append(node, PARTITIONS[0], 1)
    await assertHolds(node, PARTITIONS[0], 0, 100)
    await assertHolds(node, PARTITIONS[0], next, next + 1)
    await node.close()
    assert.ok(segment.endsWith('1'))
  }
})

test('a stream whose segments are all gone, or its whole directory, begins above whatever it can have reached', async () => {
  for (const what of ['streams/s/000000000001', 'streams/s', 'streams']) {
    const { directory } = await killedNode()
    await rm(join(directory, what), { recursive: true })
    await assertNothingAnew(directory, [100, 50, 0], `without ${what}`)
  }
})

test('a stream that is gone after it has left the configuration is told, once, and goes on above it if it comes back', async () => {
  const { directory } = await killedNode()
  await rm(join(directory, 'streams', 's'), { recursive: true })
  for (let start = 0; start < 2; start++) {
    const node = await openLog(directory, [{ name: 'other' }])
    assert.equal(
      lost(node).map(([partition, first]) => [partition, first]),
      [
        [0, 0],
        [1, 0],
      ],
    )
    await node.close()
  }
  await assertNothingAnew(directory, [100, 50, 0], 'a stream gone while it was not configured')
})

test('a changed byte in the file that witnesses an end costs nothing: there are two copies', async () => {
  const { directory, segment } = await killedNode()
  await flip(join(segment, 'live'), 3)
  const node = await openLog(directory, [STREAM])
  assert.equal(lost(node), [])
  assert.equal(
    PARTITIONS.map((one) => node.log.stream('s').nextOffset(one)),
    [100, 50, 0],
  )
  await node.close()
})

test('without the file that witnesses an end, nothing is taken for proven', async () => {
  const { directory, segment } = await killedNode()
  await rm(join(segment, 'live'))
  const node = await openLog(directory, [STREAM])
  for (const partition of [0, 1] as PartitionId[]) {
    await assertHolds(node, partition, 0, [100, 50][partition])
    assert.ok(node.log.stream('s').nextOffset(partition) > 100_000)
  }
  assert.equal(
    lost(node).map(([partition, first]) => [partition, first]),
    [
      [0, 100],
      [1, 50],
    ],
  )
  await node.close()
})

test.run()
