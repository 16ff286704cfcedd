import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { crc32c } from '../../src/base/crc32c.js'
import { SluiceError } from '../../src/base/errors.js'
import { attributesOf, type Offset, qosOf, type RecordInput, retainOf } from '../../src/record/record.js'
import {
  baseOffsetOf,
  decodeRecords,
  lastOffsetOf,
  maxTimestampOf,
  recordBatchProblem,
} from '../../src/record/record-batch.js'
import { encodeRecordBatch, RecordBatchBuilder } from '../../src/record/record-batch-builder.js'

const record = (value: string, more: Partial<RecordInput> = {}): RecordInput => ({
  timestampMs: 1_700_000_000_000,
  key: Buffer.from('sensors/1/temp'),
  value: Buffer.from(value),
  valueStart: 0,
  valueEnd: Buffer.byteLength(value),
  headers: [],
  attributes: attributesOf(1, false),
  ...more,
})

test('what was encoded is decoded: offsets, times, keys, payloads, headers, QoS and retain', () => {
  const batch = encodeRecordBatch(41 as Offset, [
    record('21.5', {
      attributes: attributesOf(2, true),
      headers: [
        { key: 'unit', value: Buffer.from('C') },
        { key: 'raw', value: null },
      ],
    }),
    record('', { timestampMs: 1_699_999_999_000, key: null }),
    record('x'.repeat(70_000), { timestampMs: 1_700_000_500_000, value: Buffer.from('x'.repeat(70_000)) }),
  ])
  assert.is(recordBatchProblem(batch), null)
  assert.is(baseOffsetOf(batch), 41)
  assert.is(lastOffsetOf(batch), 43)
  assert.is(maxTimestampOf(batch), 1_700_000_500_000)
  const [first, second, third] = decodeRecords(batch)
  assert.is(first.offset, 41)
  assert.is(first.key?.toString(), 'sensors/1/temp')
  assert.is(first.value?.toString(), '21.5')
  assert.is(qosOf(first.attributes), 2)
  assert.ok(retainOf(first.attributes))
  assert.equal(
    first.headers.map((h) => [h.key, h.value && Buffer.from(h.value).toString()]),
    [
      ['unit', 'C'],
      ['raw', null],
    ],
  )
  assert.is(second.timestampMs, 1_699_999_999_000)
  assert.is(second.key, null)
  assert.is(second.value?.length, 0)
  assert.is(third.value?.length, 70_000)
})

test('offsets and times beyond 32 bits survive', () => {
  const offset = (2 ** 50 + 7) as Offset
  const batch = encodeRecordBatch(offset, [record('a', { timestampMs: 0 }), record('b', { timestampMs: 2 ** 45 })])
  assert.equal(
    decodeRecords(batch).map((r) => [r.offset, r.timestampMs]),
    [
      [offset, 0],
      [offset + 1, 2 ** 45],
    ],
  )
})

test('records below the offset asked for are left out', () => {
  const batch = encodeRecordBatch(
    10 as Offset,
    ['a', 'b', 'c'].map((v) => record(v)),
  )
  assert.equal(
    decodeRecords(batch, 12 as Offset).map((r) => r.value?.toString()),
    ['c'],
  )
})

test('the CRC leaves base offset and leader epoch out, and nothing else behind it', () => {
  const batch = encodeRecordBatch(1 as Offset, [record('21.5')])
  batch.writeInt32BE(7, 12)
  batch.writeInt32BE(9, 4)
  assert.is(recordBatchProblem(batch), null)
  for (let at = 16; at < batch.length; at++) {
    batch[at] ^= 0x10
    assert.ok(recordBatchProblem(batch), `a flipped bit at byte ${at} is noticed`)
    batch[at] ^= 0x10
  }
})

test('a cut batch is reported, never read', () => {
  const batch = encodeRecordBatch(1 as Offset, [record('21.5'), record('22')])
  for (let length = 0; length < batch.length; length++) assert.ok(recordBatchProblem(batch.subarray(0, length)))
})

test('records that lie about their lengths throw CORRUPT_MESSAGE, whatever byte is changed', () => {
  const good = encodeRecordBatch(1 as Offset, [
    record('21.5', { headers: [{ key: 'k', value: Buffer.from('v') }] }),
    record('22'),
  ])
  for (let at = 61; at < good.length; at++) {
    for (const value of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
      const bad = Buffer.from(good)
      bad[at] = value
      try {
        decodeRecords(bad)
      } catch (error) {
        assert.ok(error instanceof SluiceError && error.code === 'CORRUPT_MESSAGE', `byte ${at} = ${value}: ${error}`)
      }
    }
  }
})

test('a gzip batch of another producer is read', () => {
  const plain = encodeRecordBatch(
    5 as Offset,
    ['a', 'b'].map((v) => record(v)),
  )
  const batch = Buffer.concat([plain.subarray(0, 61), gzipSync(plain.subarray(61))])
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt16BE(1, 21)
  batch.writeUInt32BE(crc32c(batch, 21), 17)
  assert.is(recordBatchProblem(batch), null)
  assert.equal(
    decodeRecords(batch).map((r) => `${r.offset}${r.value}`),
    ['5a', '6b'],
  )
})

test('batches that another implementation encoded are read to the byte', () => {
  const fixture = join(import.meta.dirname, '../../../test/record/fixtures/kafkajs.json')
  const { messages, batches } = JSON.parse(readFileSync(fixture, 'utf8'))
  for (const encoded of Object.values(batches as Record<string, string>)) {
    const batch = Buffer.from(encoded, 'base64')
    assert.is(recordBatchProblem(batch), null)
    const records = decodeRecords(batch).map((record) => ({
      key: String(record.key),
      value: String(record.value),
      timestampMs: record.timestampMs,
      headers: Object.fromEntries(record.headers.map(({ key, value }) => [key, Buffer.from(value ?? []).toString()])),
    }))
    assert.equal(records, messages)
  }
})

test('a builder that was reset builds the same bytes as a fresh one', () => {
  const builder = new RecordBatchBuilder(64)
  builder.reset(0)
  builder.append(record('something longer than the second one'))
  builder.finish(3)
  builder.reset(9)
  builder.append(record('b'))
  assert.equal(Buffer.from(builder.finish(0)), encodeRecordBatch(9 as Offset, [record('b')]))
})

test.run()
