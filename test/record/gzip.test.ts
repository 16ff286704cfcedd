// Contexts that are used again give what a new one gives, whatever they had before.

import { gunzipSync, gzipSync } from 'node:zlib'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { GzipPool } from '../../src/record/gzip.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const OPTIONS = { level: 1, windowBits: 14 }

test('many streams, one after the other and at once', async () => {
  const random = new SeededRandom(7)
  const pool = new GzipPool(OPTIONS)
  // Empty, smaller and larger than what zlib gives at a time, of bytes that shrink and of bytes that do not.
  const inputs = Array.from({ length: 60 }, (_, i) => {
    const bytes = Buffer.alloc([0, 1, 300, 20_000, 65_536, 200_000][i % 6])
    const values = i % 4 === 0 ? 256 : 6
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.below(values)
    return bytes
  })
  for (let round = 0; round < 3; round++) {
    const atOnce = await Promise.all(inputs.slice(round * 20, round * 20 + 20).map((bytes) => pool.compress(bytes)))
    for (const [i, compressed] of atOnce.entries()) same(compressed, inputs[round * 20 + i])
    for (const bytes of inputs) same(await pool.compress(bytes), bytes)
  }
})

function same(compressed: Buffer, bytes: Buffer): void {
  assert.ok(gunzipSync(compressed).equals(bytes), `${bytes.length} bytes come back`)
  const { length } = gzipSync(bytes, OPTIONS)
  assert.ok(compressed.length <= length * 1.01 + 16, `${bytes.length} bytes: ${compressed.length}, not ${length}`)
}

test.run()
