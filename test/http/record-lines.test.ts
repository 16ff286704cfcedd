import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { MAX_HELD_BYTES, RecordLines } from '../../src/http/record-lines.js'
import { toOffset } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { recordOf } from '../helpers/open-log.js'

const test = suite('lines of stored batches')

const batchOf = (base: number, ...values: string[]): Buffer =>
  encodeRecordBatch(
    toOffset(base),
    values.map((value) => recordOf(value)),
  )

function valuesOf(lines: RecordLines, batches: Buffer[], from: number): string[] {
  return [...lines.pieces('s', 0, batches, toOffset(from))]
    .join('')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line).value)
}

test('those who read the same batch get the very same bytes', () => {
  const lines = new RecordLines()
  const batch = batchOf(5, 'a', 'b')
  const [first] = lines.pieces('s', 0, [batch], toOffset(5))
  const [second] = lines.pieces('s', 0, [Buffer.from(batch)], toOffset(5))
  assert.ok(first === second)
})

test('a reader that begins inside a batch gets no record before its place', () => {
  const lines = new RecordLines()
  const batches = [batchOf(0, 'a', 'b', 'c'), batchOf(3, 'd')]
  assert.equal(valuesOf(lines, batches, 0), ['a', 'b', 'c', 'd'])
  assert.equal(valuesOf(lines, batches, 2), ['c', 'd'])
})

test('other records at the same offset are not taken for the known ones', () => {
  const lines = new RecordLines()
  assert.equal(valuesOf(lines, [batchOf(0, 'a')], 0), ['a'])
  assert.equal(valuesOf(lines, [batchOf(0, 'b')], 0), ['b'])
  assert.equal(valuesOf(lines, [batchOf(0, 'a', 'b')], 0), ['a', 'b'])
})

test('what is held counts for the memory it lies in', () => {
  const lines = new RecordLines()
  const [piece] = lines.pieces('s', 0, [batchOf(0, 'a', 'b')], toOffset(0))
  assert.is(lines.bytes, piece.buffer.byteLength)
})

test('what is held stays below its maximum, and a batch larger than that is sent all the same', () => {
  const lines = new RecordLines()
  const value = 'x'.repeat(60_000)
  for (let i = 0; i < 100; i++) {
    assert.is(valuesOf(lines, [batchOf(i, value)], i).length, 1)
    assert.ok(lines.bytes <= MAX_HELD_BYTES)
  }
  assert.ok(lines.bytes > MAX_HELD_BYTES - 2 * value.length, 'the newest are held')
  const held = lines.bytes
  assert.is(valuesOf(lines, [batchOf(100, 'y'.repeat(MAX_HELD_BYTES))], 100).length, 1)
  assert.is(lines.bytes, held)
})

test.run()
