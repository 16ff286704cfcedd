import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { crc32c } from '../../src/base/crc32c.js'
import { murmur2 } from '../../src/base/murmur2.js'
import { VarintReader, varintSize, writeVarint } from '../../src/base/varint.js'

test('CRC-32C has the values of RFC 3720, appendix B.4', () => {
  assert.is(crc32c(Buffer.alloc(32)), 0x8a9136aa)
  assert.is(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
  assert.is(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), 0x46dd794e)
  assert.is(crc32c(Buffer.from('123456789')), 0xe3069283)
  assert.is(crc32c(Buffer.from('xx123456789y'), 2, 11), 0xe3069283)
})

test('CRC-32C is that of its definition, bit by bit, wherever the bytes lie and in however many pieces', () => {
  const bitwise = (bytes: Uint8Array): number => {
    let crc = -1
    for (const byte of bytes) {
      crc ^= byte
      for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    }
    return (crc ^ -1) >>> 0
  }
  const bytes = Buffer.from(Array.from({ length: 80 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24))
  for (let start = 0; start < 20; start++) {
    for (let end = start; end <= bytes.length; end++) {
      const expected = bitwise(bytes.subarray(start, end))
      assert.is(crc32c(bytes, start, end), expected)
      assert.is(crc32c(bytes.subarray(start, end)), expected)
      const middle = (start + end) >> 1
      assert.is(crc32c(bytes, middle, end, crc32c(bytes, start, middle)), expected)
    }
  }
})

test('murmur2 has the values Kafka publishes for its own', () => {
  const signed = (text: string): number => murmur2(Buffer.from(text)) | 0
  assert.is(signed('21'), -973932308)
  assert.is(signed('foobar'), -790332482)
  assert.is(signed('a-little-bit-long-string'), -985981536)
  assert.is(signed('a-little-bit-longer-string'), -1486304829)
  assert.is(signed('lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8'), -58897971)
  assert.is(signed('abc'), 479470107)
})

test('varints of every size come back, in the bytes that were foretold', () => {
  const values = [
    0,
    -1,
    1,
    63,
    64,
    -64,
    -65,
    8191,
    8192,
    2 ** 30 - 1,
    2 ** 30,
    -(2 ** 31),
    2 ** 31,
    2 ** 45,
    Number.MAX_SAFE_INTEGER >> 1,
    2 ** 52,
    -(2 ** 52),
  ]
  const bytes = Buffer.alloc(16)
  for (const value of values) {
    const end = writeVarint(bytes, 0, value)
    assert.is(end, varintSize(value), `size of ${value}`)
    const reader = new VarintReader(bytes, 0, end)
    assert.is(reader.next(), value)
    assert.not(reader.failed)
  }
})

test('a varint that never ends, or is cut, fails instead of being guessed', () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from([0x80]), Buffer.alloc(20, 0xff)]) {
    const reader = new VarintReader(bytes, 0)
    assert.ok(Number.isNaN(reader.next()))
    assert.ok(reader.failed)
  }
})

test.run()
