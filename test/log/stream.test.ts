import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { decodeRecords } from '../../src/record/record-batch.js'
import { openLog, readAll, recordOf, type TestLog } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const P1 = 1 as PartitionId
const SMALL = { segmentBytes: 256 * 1024 }

async function append(node: TestLog, stream: string, count: number, bytes = 100, partition = P0): Promise<void> {
  const target = node.log.stream(stream)
  for (let i = 0; i < count; i++) {
    target.append(partition, recordOf(`${target.nextOffset(partition)}:${'x'.repeat(bytes)}`))
    if (!target.hasRoom) await target.whenRoom()
  }
  await target.append(partition, recordOf(`${target.nextOffset(partition)}:last`)).durable()
}

/** Every payload begins with its offset: checks order, contiguity and content at once. */
function assertContiguous(
  records: readonly { offset: number; value: Buffer | null }[],
  first: number,
  end: number,
): void {
  assert.is(records.length, end - first)
  records.forEach((record, i) => {
    assert.is(record.offset, first + i)
    assert.ok(record.value?.toString().startsWith(`${first + i}:`), `record ${first + i} holds its own payload`)
  })
}

async function rejection(promise: Promise<unknown>): Promise<SluiceError> {
  try {
    await promise
  } catch (error) {
    assert.instance(error, SluiceError)
    return error as SluiceError
  }
  throw new Error('it did not reject')
}

test('what was appended is read back from any offset, across segments and a restart', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's', partitions: 2 }], SMALL)
  await append(node, 's', 9_999)
  await append(node, 's', 99, 100, P1)
  assert.ok(node.log.stream('s').stats().segments > 3)
  await node.close()
  node = await openLog(directory, [{ name: 's', partitions: 2 }], SMALL)
  assertContiguous(await readAll(node.log, 's'), 0, 10_000)
  assertContiguous(await readAll(node.log, 's', 0, 7_777), 7_777, 10_000)
  assertContiguous(await readAll(node.log, 's', 1), 0, 100)
  await append(node, 's', 9)
  assertContiguous(await readAll(node.log, 's', 0, 9_990), 9_990, 10_010)
  await node.close()
})

test('a commit settles only once its records are readable, in order', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's' }])
  const stream = node.log.stream('s')
  const settled: number[] = []
  for (let i = 0; i < 50; i++) {
    const offset = stream.nextOffset(P0)
    const commit = stream.append(P0, recordOf(`${offset}:`))
    commit.onSettled((error) => {
      assert.is(error, null)
      assert.ok(stream.highWatermark(P0) > offset, 'durable before it settles')
      settled.push(offset)
    })
    if (i % 7 === 0) await commit.durable()
  }
  await stream.append(P0, recordOf('50:')).durable()
  assert.equal(
    settled,
    Array.from({ length: 50 }, (_, i) => i),
  )
  await node.close()
})

test('records that arrive during a commit share the next one', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's' }])
  const stream = node.log.stream('s')
  const first = stream.append(P0, recordOf('0:'))
  assert.is(stream.append(P0, recordOf('1:')), first)
  await first.durable()
  assert.is.not(stream.append(P0, recordOf('2:')), first)
  await node.close()
  assert.is(stream.stats().commits, 2)
})

test('a fetch keeps to its limits but always returns a batch', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's' }], { maxBatchBytes: 4096 })
  await append(node, 's', 999)
  const stream = node.log.stream('s')
  assert.is((await stream.fetch(P0, 0 as Offset, { maxBytes: 1 })).batches.length, 1)
  const limited = await stream.fetch(P0, 500 as Offset, { maxBytes: 1 << 20, maxRecords: 10 })
  assert.ok(limited.nextOffset >= 510 && limited.nextOffset < 560, String(limited.nextOffset))
  const atEnd = await stream.fetch(P0, 1000 as Offset, { maxBytes: 1 << 20 })
  assert.equal(atEnd.batches, [])
  assert.is(atEnd.nextOffset, 1000)
  await node.close()
})

test('an offset outside the log is refused with the range there is', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's' }])
  await append(node, 's', 9)
  const error = await rejection(node.log.stream('s').fetch(P0, 11 as Offset, { maxBytes: 100 }))
  assert.is(error.code, 'OFFSET_OUT_OF_RANGE')
  assert.is(error.details.highWatermark, 10)
  assert.throws(() => node.log.stream('s').append(7 as PartitionId, recordOf('x')), /partitions 0 to 0/)
  assert.throws(() => node.log.stream('nowhere'), /there are: s/)
  await node.close()
})

test('a record over the limit is refused and takes no offset', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's' }], { maxRecordBytes: 1000 })
  const stream = node.log.stream('s')
  assert.throws(
    () => stream.append(P0, recordOf('x'.repeat(1000))),
    (error: SluiceError) => error.code === 'RECORD_TOO_LARGE',
  )
  await stream.append(P0, recordOf('0:')).durable()
  assertContiguous(await readAll(node.log, 's'), 0, 1)
  await node.close()
})

test('retention by size drops the oldest segments and enters in the ledger what an upstream was owed, exactly', async () => {
  const directory = tempDir()
  const retention = { maxBytes: 1024 * 1024, maxAgeMs: null, onFull: 'drop_oldest' as const }
  const node = await openLog(directory, [{ name: 's', retention }], { ...SMALL, destinations: ['cloud'] })
  await append(node, 's', 100)
  await node.cursors.set('cloud', 's', 0, 42 as Offset)
  await append(node, 's', 30_000)
  const stream = node.log.stream('s')
  const start = stream.logStartOffset(P0)
  assert.ok(
    start > 1000 && stream.stats().bytes <= retention.maxBytes + SMALL.segmentBytes,
    `${start} ${stream.stats().bytes}`,
  )
  assert.equal(
    node.ledger.list().map((row) => [row.destination, row.firstOffset, row.lastOffset, row.records, row.reason]),
    [['cloud', 42, start - 1, start - 42, 'retention']],
  )
  assert.is((await rejection(stream.fetch(P0, 0 as Offset, { maxBytes: 1 }))).code, 'OFFSET_OUT_OF_RANGE')
  assertContiguous(await readAll(node.log, 's', 0, start), start, 30_102)
  await node.close()
})

test('a stream that rejects when full takes no record it cannot keep, and goes on once upstreams have caught up', async () => {
  const directory = tempDir()
  const retention = { maxBytes: 512 * 1024, maxAgeMs: null, onFull: 'reject' as const }
  const node = await openLog(directory, [{ name: 's', retention }], { ...SMALL, destinations: ['cloud'] })
  const stream = node.log.stream('s')
  let refused: SluiceError | undefined
  while (!refused) {
    try {
      await stream.append(P0, recordOf(`${stream.nextOffset(P0)}:${randomBytes(2000).toString('hex')}`)).durable()
    } catch (error) {
      refused = error as SluiceError
    }
  }
  assert.is(refused.code, 'STORAGE_FULL')
  assert.is(stream.logStartOffset(P0), 0)
  assert.equal(node.ledger.list(), [])
  await node.cursors.set('cloud', 's', 0, stream.highWatermark(P0))
  const moved = new Promise<void>((resolve) => void stream.onChange(resolve))
  await moved
  const end = stream.highWatermark(P0)
  await stream.append(P0, recordOf(`${end}:`)).durable()
  assert.ok(stream.logStartOffset(P0) > 0)
  assert.equal(node.ledger.list(), [], 'what was delivered is not in the ledger')
  await node.close()
})

test('a time finds the first record at or after it', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's' }], { maxBatchBytes: 2048 })
  const stream = node.log.stream('s')
  for (let i = 0; i < 1000; i++) stream.append(P0, recordOf(`${i}:`, { timestampMs: 1000 + i * 10 }))
  await stream.append(P0, recordOf('1000:', { timestampMs: 11_000 })).durable()
  assert.is(await stream.offsetForTime(P0, 0), 0)
  assert.is(await stream.offsetForTime(P0, 6000), 500)
  assert.is(await stream.offsetForTime(P0, 6001), 501)
  assert.is(await stream.offsetForTime(P0, 11_001), 1001)
  await node.close()
})

test('segments half born or half dropped are cleared away at start', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's' }], SMALL)
  await append(node, 's', 9999)
  await node.close()
  const streamDirectory = join(directory, 'streams', 's')
  const before = await readdir(streamDirectory)
  await mkdir(join(streamDirectory, '000000000099'))
  await writeFile(join(streamDirectory, '000000000099', 'CURRENT'), 'MANIFEST-000001\n')
  await mkdir(join(streamDirectory, '000000000000.dropped'))
  node = await openLog(directory, [{ name: 's' }], SMALL)
  assertContiguous(await readAll(node.log, 's'), 0, 10_000)
  await node.close()
  assert.equal(await readdir(streamDirectory), before)
})

test('a lost sealed file is no loss: the segment is verified and sealed again', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's' }], SMALL)
  await append(node, 's', 9999)
  await node.close()
  await rm(join(directory, 'streams', 's', '000000000002', 'sealed'))
  node = await openLog(directory, [{ name: 's' }], SMALL)
  assertContiguous(await readAll(node.log, 's'), 0, 10_000)
  assert.equal(node.ledger.list(), [])
  await node.close()
})

test('when the newest segment is unreadable, writing goes on at the ceiling, in a new epoch, and the jump is in the ledger', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's' }], SMALL)
  await append(node, 's', 9999)
  await node.close()
  const streamDirectory = join(directory, 'streams', 's')
  const newest = (await readdir(streamDirectory)).filter((name) => /^\d+$/.test(name)).at(-1) as string
  await rm(join(streamDirectory, newest, 'sealed'))
  const table = (await readdir(join(streamDirectory, newest))).find((name) => name.endsWith('.ldb')) as string
  await rm(join(streamDirectory, newest, table))
  node = await openLog(directory, [{ name: 's' }], SMALL)
  const [row] = node.ledger.list()
  const stream = node.log.stream('s')
  assert.is(stream.nextOffset(P0), row.lastOffset + 1)
  assert.ok(row.firstOffset < 10_000 && row.lastOffset >= 9_999 && row.reason === 'end_unknown')
  await append(node, 's', 9)
  const records = await readAll(node.log, 's')
  assertContiguous(records.slice(0, row.firstOffset), 0, row.firstOffset)
  assertContiguous(records.slice(row.firstOffset), row.lastOffset + 1, row.lastOffset + 11)
  await node.close()
})

test('a batch that turns out to be damaged is named exactly, once, and passed over; the rest is read', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's' }], { ...SMALL, maxBatchBytes: 4096 })
  await append(node, 's', 9999)
  await node.close()
  const segment = join(directory, 'streams', 's', '000000000003')
  const table = join(segment, (await readdir(segment)).find((name) => name.endsWith('.ldb')) as string)
  const bytes = await readFile(table)
  const struck = bytes.indexOf(':xxxxxxxxxx', bytes.length / 2)
  bytes[struck + 3] ^= 1
  await writeFile(table, bytes)

  node = await openLog(directory, [{ name: 's' }], SMALL)
  for (let round = 0; round < 2; round++) {
    const records = await readAll(node.log, 's')
    const [row, ...others] = node.ledger.list()
    assert.equal(others, [])
    assert.ok(row.reason === 'corruption' && row.records > 1 && row.records < 100, JSON.stringify(row))
    assertContiguous(records.slice(0, row.firstOffset), 0, row.firstOffset)
    assertContiguous(records.slice(row.firstOffset), row.lastOffset + 1, 10_000)
    await node.close()
    node = await openLog(directory, [{ name: 's' }], SMALL)
  }
  await node.close()
})

test('a fact is durable with the records beside it, outlives every segment, and goes when it is removed', async () => {
  const directory = tempDir()
  const options = [{ name: 's', retention: { maxBytes: 1024 * 1024, maxAgeMs: null, onFull: 'drop_oldest' as const } }]
  let node = await openLog(directory, options, SMALL)
  const stream = node.log.stream('s')
  const commit = stream.append(P0, recordOf('0:'))
  assert.is(stream.setFact('qos2/a/1', Buffer.from('one')), commit)
  stream.setFact('qos2/a/2', Buffer.from('two'))
  assert.is(stream.facts('qos2/').size, 0, 'not before it is durable')
  await commit.durable()
  await stream.setFact('qos2/a/2', null).durable()
  await append(node, 's', 20_000)
  assert.ok(stream.logStartOffset(P0) > 0, 'the segment it was written in is gone')
  await node.close()
  node = await openLog(directory, options, SMALL)
  const facts = node.log.stream('s').facts('qos2/')
  assert.equal(
    [...facts].map(([name, value]) => [name, Buffer.from(value).toString()]),
    [['qos2/a/1', 'one']],
  )
  await node.close()
})

test('compressed batches are smaller on disk and the same to a reader; what does not shrink stays as it was', async () => {
  const directory = tempDir()
  const node = await openLog(directory, [{ name: 's', compression: 'gzip', partitions: 2 }], SMALL)
  const stream = node.log.stream('s')
  await append(node, 's', 999, 200)
  assert.ok(stream.stats().bytes < 1000 * 100, `${stream.stats().bytes} bytes for 1,000 records of 200`)
  assertContiguous(await readAll(node.log, 's'), 0, 1000)
  assertContiguous(await readAll(node.log, 's', 0, 555), 555, 1000)
  const noise = randomBytes(4000)
  await stream.append(P1, recordOf(Buffer.concat([Buffer.from('0:'), noise]))).durable()
  const { batches } = await stream.fetch(P1, 0 as Offset, { maxBytes: 1 << 20 })
  assert.ok(batches[0].includes(noise))
  await node.close()
})

test('a reader that wants some topics passes over segments without them, and never over one that has them', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's' }], SMALL)
  const stream = node.log.stream('s')
  const rare = [1000, 9000]
  for (let i = 0; i < 10_000; i++) {
    const key = Buffer.from(rare.includes(i) ? 'alarm/door' : `sensors/${i % 7}/temp`)
    stream.append(P0, recordOf(`${i}:${'x'.repeat(200)}`, { key }))
    if (!stream.hasRoom) await stream.whenRoom()
  }
  await stream.append(P0, recordOf('10000:')).durable()
  const wantsTopic = (topic: string): boolean => topic === 'alarm/door'
  for (let round = 0; round < 2; round++) {
    const reader = node.log.stream('s')
    const found: number[] = []
    let read = 0
    for (let next = 0 as Offset; next < reader.highWatermark(P0); ) {
      const { batches, nextOffset } = await reader.fetch(P0, next, { maxBytes: 64 * 1024, wantsTopic })
      for (const record of batches.flatMap((batch) => decodeRecords(batch, next))) {
        read += 1
        if (wantsTopic(String(record.key))) found.push(record.offset)
      }
      next = nextOffset
    }
    assert.equal(found, rare)
    assert.ok(read < 4000, `${read} of 10,001 records were read`)
    await node.close()
    node = await openLog(directory, [{ name: 's' }], SMALL)
  }
  await node.close()
})

test('a stream that left the configuration is read until it has expired, takes no records, and then is gone', async () => {
  const directory = tempDir()
  const retention = { maxBytes: 1 << 30, maxAgeMs: 1500, onFull: 'drop_oldest' as const }
  let node = await openLog(directory, [{ name: 's' }, { name: 'old', retention, partitions: 2 }], SMALL)
  await append(node, 'old', 99, 100, P1)
  await node.close()
  node = await openLog(directory, [{ name: 's' }], SMALL)
  const old = node.log.stream('old')
  assertContiguous(await readAll(node.log, 'old', 1), 0, 100)
  assert.throws(() => old.append(P1, recordOf('x')), /no longer configured/)
  if (old.logStartOffset(P1) < 100) await new Promise<void>((resolve) => void old.onChange(resolve))
  assert.is(old.logStartOffset(P1), 100)
  assert.equal((await old.fetch(P1, 100 as Offset, { maxBytes: 100 })).batches, [])
  await node.close()
  node = await openLog(directory, [{ name: 's' }], SMALL)
  assert.throws(() => node.log.stream('old'), /there are: s$/)
  await node.close()
  assert.equal(await readdir(join(directory, 'streams')), ['s'])
})

test('a disk budget lets spent segments go first, of whichever stream, then the oldest, by the ledger', async () => {
  const budget = { ...SMALL, diskBudgetBytes: 1536 * 1024, destinations: ['cloud'] }
  const node = await openLog(tempDir(), [{ name: 'a' }, { name: 'b' }], budget)
  await append(node, 'a', 4000, 200)
  await append(node, 'b', 2000, 200)
  await node.cursors.set('cloud', 'b', 0, 2001 as Offset)
  const [a, b] = [node.log.stream('a'), node.log.stream('b')]
  const changed = (stream: typeof a) => new Promise<void>((resolve) => void stream.onChange(resolve))
  const first = changed(b)
  await append(node, 'a', 3000, 200)
  await first
  assert.ok(b.logStartOffset(P0) > 0, 'spent ones of b go')
  while (a.logStartOffset(P0) === 0) {
    const next = changed(a)
    await append(node, 'a', 1000, 200)
    await next
  }
  assert.ok(
    node.ledger.list().every(({ stream }) => stream === 'a'),
    'what was delivered is not in the ledger',
  )
  assert.is(node.ledger.records, a.logStartOffset(P0))
  await node.close()
})

test('partitions may grow, and never shrink', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's', partitions: 2 }], SMALL)
  await append(node, 's', 9, 100, P1)
  await node.close()
  node = await openLog(directory, [{ name: 's', partitions: 3 }], SMALL)
  await append(node, 's', 9, 100, 2 as PartitionId)
  assertContiguous(await readAll(node.log, 's', 1), 0, 10)
  await node.close()
  const error = await rejection(openLog(directory, [{ name: 's', partitions: 2 }], SMALL))
  assert.is(error.code, 'INVALID_CONFIG')
  assert.match(error.message, /set partitions = 3 or more/)
})

test.run()
