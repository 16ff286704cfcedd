import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { copyBytes, viewOf } from '../../src/record/copy-bytes.js'

/** Large enough to be read by words, and not: see copy-bytes.ts. */
const SOURCE_BYTES = [1024, 256 * 1024]

for (const sourceBytes of SOURCE_BYTES) {
  test(`every length arrives as it is and touches nothing beside it, out of ${sourceBytes} bytes`, () => {
    // Views of something larger, as buffers are.
    const source = Buffer.alloc(sourceBytes + 3, 'the quick brown fox').subarray(3)
    const target = Buffer.alloc(1024 + 5).subarray(5)
    const words = viewOf(target)
    for (let length = 0; length <= 600; length++) {
      target.fill(0)
      const start = length % 11
      const at = 1 + (length % 7)
      assert.is(copyBytes(source, start, start + length, target, words, at), at + length)
      const expected = Buffer.concat([Buffer.alloc(at), source.subarray(start, start + length), Buffer.alloc(1024)])
      assert.ok(target.equals(expected.subarray(0, target.length)), `${length} bytes`)
    }
  })
}

test('sources that take turns are not mistaken for one another', () => {
  const sources = ['a', 'b', 'c'].map((letter) => Buffer.alloc(64 * 1024, letter))
  const target = Buffer.alloc(64)
  for (let turn = 0; turn < 9; turn++) {
    copyBytes(sources[turn % 3], 100, 164, target, viewOf(target), 0)
    assert.is(target.toString(), 'abc'[turn % 3].repeat(64))
  }
})

test.run()
