import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { crc32c } from '../../src/base/crc32c.js'
import { SluiceError } from '../../src/base/errors.js'
import type { Fetched, StreamReader } from '../../src/log/types.js'
import { verifyStretch } from '../../src/log/verify.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { AT, BATCH_HEADER_BYTES, CRC_START, lastOffsetOf } from '../../src/record/record-batch.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import type { LedgerRow } from '../../src/state/ledger.js'
import { recordOf } from '../helpers/open-log.js'

const P0 = 0 as PartitionId

/** Batches of ten records at the given offsets; what lies between them has been passed over. */
function streamOf(bases: readonly number[], end: number, change?: (batch: Buffer, base: number) => void) {
  const batches = bases.map((base) => {
    const batch = encodeRecordBatch(
      base as Offset,
      Array.from({ length: 10 }, (_, i) => recordOf(`${base + i}:`)),
    )
    change?.(batch, base)
    return batch
  })
  const stream = {
    name: 's',
    partitions: 1,
    start: 0,
    onFetch: () => {},
    logStartOffset: () => stream.start as Offset,
    highWatermark: () => end as Offset,
    async fetch(_: PartitionId, from: Offset, { maxRecords = Number.POSITIVE_INFINITY }): Promise<Fetched> {
      stream.onFetch()
      const logStartOffset = stream.logStartOffset()
      if (from < logStartOffset) throw new SluiceError('OFFSET_OUT_OF_RANGE', 'gone', {})
      const stored = batches.filter((batch) => lastOffsetOf(batch) >= Math.max(from, stream.start))
      const chosen = stored.slice(0, Math.ceil(maxRecords / 10))
      const nextOffset = chosen.length < stored.length ? lastOffsetOf(chosen[chosen.length - 1]) + 1 : end
      return { batches: chosen, nextOffset: nextOffset as Offset, logStartOffset, highWatermark: end as Offset }
    },
  }
  return stream as typeof stream & StreamReader
}

function known(firstOffset: number, lastOffset: number, more: Partial<LedgerRow> = {}): LedgerRow {
  const records = lastOffset - firstOffset + 1
  const range = { firstOffset: firstOffset as Offset, lastOffset: lastOffset as Offset, records }
  return { destination: '*', stream: 's', partition: 0, reason: 'corruption', atMs: 0, ...range, ...more }
}

function check(reader: StreamReader, from = 0, { maxRecords = 1000, ledger = [] as LedgerRow[] } = {}) {
  return verifyStretch(reader, { partition: P0, from: from as Offset, maxRecords, ledger })
}

const rangesOf = ({ damage }: Awaited<ReturnType<typeof check>>) =>
  damage.map((range) => [range.firstOffset, range.lastOffset, range.known ? 'known' : 'new'])

test('a good stretch counts records, bytes and batches, and says where to go on', async () => {
  const whole = await check(streamOf([0, 10, 20], 30))
  assert.equal(
    { ...whole, bytes: whole.bytes > 0 },
    {
      firstOffset: 0,
      nextOffset: 30,
      records: 30,
      bytes: true,
      batches: 3,
      damage: [],
    },
  )
  const part = await check(streamOf([0, 10, 20], 30), 5, { maxRecords: 7 })
  assert.equal([part.firstOffset, part.nextOffset, part.records], [5, 20, 15])
})

test('every jump between two batches is named: at the beginning, in the middle, at the end', async () => {
  const stretch = await check(streamOf([10, 40], 60))
  assert.equal(rangesOf(stretch), [
    [0, 9, 'new'],
    [20, 39, 'new'],
    [50, 59, 'new'],
  ])
  assert.is(stretch.records, 20)
})

test('what the ledger named before is known damage, cut exactly where known and new meet', async () => {
  const ledger = [
    known(0, 12),
    known(22, 25),
    known(26, 45, { destination: 'cloud', reason: 'retention' }),
    known(26, 45, { stream: 'other' }),
    known(26, 45, { partition: 1 }),
  ]
  assert.equal(rangesOf(await check(streamOf([10, 40], 50), 0, { ledger })), [
    [0, 9, 'known'],
    [20, 21, 'new'],
    [22, 25, 'known'],
    [26, 39, 'new'],
  ])
})

test('a batch whose records do not parse, or contradict its header, is damaged although its checksum is right', async () => {
  const seal = (batch: Buffer): void => void batch.writeUInt32BE(crc32c(batch, CRC_START), AT.crc)
  const reader = streamOf([0, 10, 20, 30], 40, (batch, base) => {
    if (base === 10) batch[BATCH_HEADER_BYTES] = 0x7f
    if (base === 30) batch.writeInt32BE(0, AT.maxTimestamp)
    seal(batch)
  })
  const stretch = await check(reader)
  assert.equal(rangesOf(stretch), [
    [10, 19, 'new'],
    [30, 39, 'new'],
  ])
  assert.is(stretch.records, 20)
  assert.match(stretch.damage[0].problem, /at offset 10/)
  assert.match(stretch.damage[1].problem, /contradicts the header/)
})

test('what retention removes during the check is not damage', async () => {
  const reader = streamOf([0, 10, 20, 30], 40)
  reader.onFetch = () => {
    reader.start = 20
  }
  const stretch = await check(reader)
  assert.equal([stretch.firstOffset, stretch.nextOffset, stretch.records], [0, 40, 20])
  assert.equal(stretch.damage, [])
})

test.run()
