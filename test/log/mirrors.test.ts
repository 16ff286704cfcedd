import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { Logger } from '../../src/base/logger.js'
import type { MirrorStream } from '../../src/log/mirror-stream.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { baseOffsetOf, lastOffsetOf, leaderEpochOf } from '../../src/record/record-batch.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { openLog, readAll, recordOf } from '../helpers/open-log.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const P1 = 1 as PartitionId
const BEGIN = { base: 0, epoch: 0 }

function batch(base: number, count: number, epoch = 0, bytes = 10): Buffer {
  const records = Array.from({ length: count }, (_, i) => recordOf(`${base + i}:${'x'.repeat(bytes)}`))
  return encodeRecordBatch(base as Offset, records, epoch)
}

function append(mirror: MirrorStream, base: number, count: number, { partition = P0, epoch = 0, bytes = 10 } = {}) {
  return mirror.appendBatch(partition, batch(base, count, epoch, bytes)).durable()
}

test('a mirror keeps the bytes, offsets and epochs it was given, also over a restart that was not orderly', async () => {
  const [directory, crashed] = [tempDirInMemory(), tempDirInMemory()]
  let node = await openLog(directory, [{ name: 'telemetry' }])
  await append(await node.log.mirrors.open('gw-1', 'telemetry', [BEGIN], 'gw-1'), 0, 1)
  const mirror = await node.log.mirrors.open('gw-17', 'telemetry', [{ base: 5000, epoch: 3 }, BEGIN], 'gw-17')
  const stored = batch(5000, 10, 3)
  await mirror.appendBatch(P0, stored).durable()
  await append(mirror, 0, 4, { partition: P1 })
  // What a crash would leave: nothing is sealed, and the partitions are younger than their segment.
  cpSync(directory, crashed, { recursive: true })
  await node.close()
  node = await openLog(crashed, [{ name: 'telemetry' }])
  const again = node.log.mirrors.find('gw-17', 'telemetry') as MirrorStream
  const { batches } = await again.fetch(P0, 5000 as Offset, { maxBytes: 1 << 20 })
  assert.equal(batches, [stored])
  assert.is(again.logStartOffset(P0), 5000)
  assert.is(again.epoch(P0), 3)
  assert.is(again.highWatermark(P1), 4)
  assert.is(again.via, 'gw-17')
  assert.is(node.log.stream('gw-17.telemetry'), again)
  assert.equal(node.ledger.list(), [])
  await node.close()
})

test('mirrors of many origins share one log, and partitions come while it is written', async () => {
  const directory = tempDirInMemory()
  let node = await openLog(directory, [{ name: 'telemetry' }], { segmentBytes: 256 * 1024 })
  const origins = Array.from({ length: 20 }, (_, i) => `gw-${i}`)
  for (const [i, origin] of origins.entries()) {
    const mirror = await node.log.mirrors.open(origin, 'telemetry', [{ base: i * 100, epoch: 0 }], 'site')
    await append(mirror, i * 100, 20, { bytes: 1000 })
    // The first one goes on growing over rolls.
    await append(node.log.mirrors.find('gw-0', 'telemetry') as MirrorStream, 20 + i * 10, 10, { bytes: 1000 })
  }
  await node.log.mirrors.open('gw-3', 'telemetry', [BEGIN, BEGIN, BEGIN], 'site')
  assert.is(node.log.mirrors.logs.length, 1)
  await node.close()
  node = await openLog(directory, [{ name: 'telemetry' }])
  for (const [i, origin] of origins.entries()) {
    const records = await readAll(node.log, `${origin}.telemetry`)
    const base = i * 100
    assert.is(records.length, i === 0 ? 220 : 20)
    for (const [n, record] of records.entries()) assert.ok(record.value?.toString().startsWith(`${base + n}:`))
  }
  assert.is(node.log.stream('gw-3.telemetry').partitions, 3)
  assert.equal(node.ledger.list(), [])
  await node.close()
})

test('origins arrive at every moment at which the segment they share is being begun', async () => {
  for (let round = 0; round < 20; round++) {
    const directory = tempDirInMemory()
    let node = await openLog(directory, [{ name: 'telemetry' }])
    const arrivals: Promise<void>[] = []
    let begun = false
    const arrive = async (origin: string): Promise<void> => {
      const mirror = await node.log.mirrors.open(origin, 'telemetry', [BEGIN, BEGIN], origin)
      begun = true
      await append(mirror, 0, 3, { partition: P1 })
    }
    while (!begun && arrivals.length < 200) {
      arrivals.push(arrive(`gw-${arrivals.length}`))
      for (let turn = 0; turn <= round; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(arrivals)
    assert.equal(node.fatal, [])
    await node.close()
    node = await openLog(directory, [{ name: 'telemetry' }])
    for (const i of arrivals.keys()) assert.is((await readAll(node.log, `gw-${i}.telemetry`, 1)).length, 3)
    await node.close()
  }
})

test('offsets that the ledger knows as gone are passed over, and are not called damage after a restart', async () => {
  const directory = tempDirInMemory()
  let node = await openLog(directory, [{ name: 'telemetry' }])
  const mirror = await node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17')
  await append(mirror, 0, 10)
  const range = { firstOffset: 10 as Offset, lastOffset: 99 as Offset, reason: 'retention' as const, atMs: 1 }
  await node.ledger.add([{ destination: '*', stream: 'gw-17.telemetry', partition: 0, ...range }])
  await append(mirror, 100, 5)
  const read = async () => (await readAll(node.log, 'gw-17.telemetry')).map(({ offset }) => offset)
  const expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101, 102, 103, 104]
  assert.equal(await read(), expected)
  const ledger = node.ledger.list()
  await node.close()
  node = await openLog(directory, [{ name: 'telemetry' }])
  assert.equal(await read(), expected)
  assert.equal(JSON.stringify(node.ledger.list()), JSON.stringify(ledger))
  await node.close()
})

test('a new incarnation takes the name, the one before keeps its records under its number', async () => {
  const directory = tempDirInMemory()
  let node = await openLog(directory, [{ name: 'telemetry' }])
  const before = await node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17')
  await append(before, 0, 10)
  const now = await node.log.mirrors.begin('gw-17', 'telemetry', [{ base: 2, epoch: 1 }], 'gw-17')
  await append(now, 2, 3, { epoch: 1 })
  const check = async () => {
    assert.is((await readAll(node.log, 'gw-17.telemetry')).length, 3)
    assert.is((await readAll(node.log, 'gw-17.telemetry.1')).length, 10)
    assert.is(node.log.mirrors.find('gw-17', 'telemetry')?.incarnation, 2)
    assert.equal(
      node.log.mirrors.former().map(({ name }) => name),
      ['gw-17.telemetry.1'],
    )
  }
  await check()
  await node.close()
  node = await openLog(directory, [{ name: 'telemetry' }])
  await check()
  await node.close()
})

for (const again of ['open', 'begin'] as const) {
  test(`a mirror whose place the disk did not let another take is replaced wholly by the next attempt (${again})`, async () => {
    const directory = tempDirInMemory()
    let refuses = true
    const renamed: string[] = []
    const groupOffsets = {
      streams: () => [],
      async renameStream(stream: string, to: string): Promise<void> {
        if (refuses) throw new SluiceError('STORAGE_FULL', 'refused')
        renamed.push(`${stream} -> ${to}`)
      },
    }
    let node = await openLog(directory, [{ name: 'telemetry' }], { destinations: ['cloud'], groupOffsets })
    await append(await node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17'), 0, 10)
    await node.cursors.set('cloud', 'gw-17.telemetry', 0, 7 as Offset)
    const begin = () => node.log.mirrors.begin('gw-17', 'telemetry', [BEGIN], 'gw-17')
    assert.is(await codeOf(begin()), 'STORAGE_FULL')
    refuses = false
    // Several connections may ask at once.
    const attempt = () => (again === 'begin' ? begin() : node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17'))
    const [now] = await Promise.all(again === 'begin' ? [attempt()] : [attempt(), attempt()])
    await append(now, 0, 3)
    for (const started of [false, true]) {
      if (started) {
        await node.close()
        node = await openLog(directory, [{ name: 'telemetry' }], { destinations: ['cloud'] })
      }
      assert.is(node.log.mirrors.find('gw-17', 'telemetry')?.incarnation, 2)
      assert.is((await readAll(node.log, 'gw-17.telemetry')).length, 3)
      assert.is((await readAll(node.log, 'gw-17.telemetry.1')).length, 10)
      assert.is(node.cursors.get('cloud', 'gw-17.telemetry', 0), undefined, 'the new one inherits no cursor')
      assert.equal(
        node.ledger.list().map((row) => [row.stream, row.firstOffset, row.lastOffset, row.records, row.reason]),
        [['gw-17.telemetry.1', 7, 9, 3, 'replaced']],
      )
    }
    assert.equal(renamed, ['gw-17.telemetry -> gw-17.telemetry.1'])
    await node.close()
  })
}

test('nobody appends to a mirror but its origin', async () => {
  const node = await openLog(tempDirInMemory(), [{ name: 'telemetry' }])
  await node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17')
  assert.throws(() => node.log.stream('gw-17.telemetry').append(P0, recordOf('x')), /mirror/)
  await node.close()
})

test('retention of a mirror owes to the upstreams that forward it, by its own name', async () => {
  const node = await openLog(tempDirInMemory(), [{ name: 'telemetry' }], {
    segmentBytes: 256 * 1024,
    mirrorRetention: { maxBytes: 600_000, maxAgeMs: null, onFull: 'drop_oldest' },
    destinations: ['cloud'],
  })
  const other = await node.log.mirrors.open('gw-1', 'telemetry', [BEGIN], 'gw-1')
  const mirror = await node.log.mirrors.open('gw-2', 'telemetry', [{ base: 50, epoch: 0 }], 'gw-2')
  for (let i = 0; i < 100; i++) await append(mirror, 50 + i * 10, 10, { bytes: 1000 })
  await append(other, 0, 1)
  const start = mirror.logStartOffset(P0)
  assert.ok(start > 50)
  const rows = node.ledger.list()
  assert.equal(
    rows.map(({ stream, partition, firstOffset, lastOffset }) => [stream, partition, firstOffset, lastOffset]),
    [['gw-2.telemetry', 0, 50, start - 1]],
  )
  await node.close()
})

for (const [how, extension, said] of [
  ['an orderly end', '.ldb', /whose mirror a partition is.*stream=\*\.telemetry.*partition=1/],
  ['a kill', '.log', /holds partitions it does not know.*partitions=1/],
] as const) {
  test(`damage that takes whose mirror a partition is, is said at the start after ${how}, and the origin begins again`, async () => {
    const [running, killed] = [tempDirInMemory(), tempDirInMemory()]
    let node = await openLog(running, [{ name: 'telemetry' }])
    // The segment is born with the partition of the first, and the second comes later.
    await append(await node.log.mirrors.open('gw-1', 'telemetry', [BEGIN], 'gw-1'), 0, 1)
    const mirror = await node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17')
    // LevelDB goes on reading a damaged log at the next block of 32 KB.
    await append(mirror, 0, 3, { bytes: 20_000 })
    await append(mirror, 3, 3)
    cpSync(running, killed, { recursive: true })
    await node.close()
    const directory = extension === '.log' ? killed : running
    const segment = join(directory, 'mirrors', 'telemetry', '000000000001')
    const [file] = readdirSync(segment).filter((name) => name.endsWith(extension))
    const bytes = readFileSync(join(segment, file))
    bytes[bytes.indexOf('gw-17')] ^= 1
    writeFileSync(join(segment, file), bytes)
    let lines = ''
    const logger = new Logger('log', 'error', (line) => {
      lines += line
    })
    node = await openLog(directory, [{ name: 'telemetry' }], { logger })
    try {
      assert.match(lines, said)
      assert.is(node.log.mirrors.find('gw-17', 'telemetry'), undefined)
      await append(await node.log.mirrors.open('gw-17', 'telemetry', [BEGIN], 'gw-17'), 0, 3)
      assert.is((await readAll(node.log, 'gw-17.telemetry')).length, 3)
      assert.is((await readAll(node.log, 'gw-1.telemetry')).length, 1)
    } finally {
      await node.close()
    }
  })
}

test('a stored batch begins where its key says', () => {
  const stored = batch(7, 3, 2)
  assert.equal([baseOffsetOf(stored), lastOffsetOf(stored), leaderEpochOf(stored)], [7, 9, 2])
})

test.run()
