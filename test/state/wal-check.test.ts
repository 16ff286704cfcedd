import { appendFileSync, cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type LevelDatabase, openLevel } from '../../src/state/level-database.js'
import { checkWal } from '../../src/state/wal-check.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'

const OPTIONS = { writeBufferBytes: 64 * 1024 * 1024, createIfMissing: true }

function keyOf(partition: number, offset: number): Buffer {
  const key = Buffer.alloc(12)
  key.writeUInt32BE(partition, 0)
  key.writeUInt32BE(offset, 8)
  return key
}

/** A write-ahead log as a killed process leaves it. `sizes` are of the values, one synced write each; every third goes to partition 1. */
async function walOf(
  sizes: readonly number[],
): Promise<{ directory: string; path: string; bytes: Buffer; ends: number[] }> {
  const source = tempDir()
  const database: LevelDatabase = await openLevel(source, OPTIONS)
  const name = readdirSync(source).find((one) => one.endsWith('.log')) as string
  const random = new SeededRandom(sizes.length)
  const ends: number[] = []
  for (const [i, size] of sizes.entries()) {
    const value = Buffer.from(Array.from({ length: size }, () => random.below(256)))
    await database.batch([{ type: 'put', key: keyOf(i % 3 === 2 ? 1 : 0, i), value }], { sync: true })
    ends.push(readFileSync(join(source, name)).length)
  }
  const directory = tempDir()
  cpSync(source, directory, { recursive: true })
  await database.close()
  const path = join(directory, name)
  return { directory, path, bytes: readFileSync(path), ends }
}

async function damagedWith(wal: { directory: string; path: string }, bytes: Buffer): Promise<boolean> {
  writeFileSync(wal.path, bytes)
  return (await checkWal(wal.directory)).damaged
}

/** How many of the writes LevelDB finds. */
async function found(directory: string): Promise<number> {
  const copy = tempDir()
  cpSync(directory, copy, { recursive: true })
  const database = await openLevel(copy, OPTIONS)
  const keys = await database.keys().all()
  await database.close()
  return keys.length
}

const SIZES = [100, 2000, 40_000, 3, 500, 32_700, 70_000, 1, 900, 5000, 30, 700]

test('a whole log is not damaged, nor is a directory without one', async () => {
  const wal = await walOf(SIZES)
  assert.is((await checkWal(wal.directory)).damaged, false)
  assert.is((await checkWal(tempDir())).damaged, false)
})

test('a log cut off anywhere is a torn tail, also where zeros follow', async () => {
  const wal = await walOf(SIZES)
  for (let length = 0; length < wal.bytes.length; length += length % 1000 === 0 ? 7 : 993) {
    const cut = wal.bytes.subarray(0, length)
    assert.is(await damagedWith(wal, cut), false, `cut at ${length}`)
    if (length % 512 === 0 || length % 1000 === 0) {
      const sector = Math.floor(length / 512) * 512
      const zeroed = Buffer.concat([wal.bytes.subarray(0, sector), Buffer.alloc(wal.bytes.length - sector)])
      assert.is(await damagedWith(wal, zeroed), false, `zeros from ${sector}`)
    }
  }
})

test('a changed bit is damage wherever LevelDB loses a write by it, and is found nowhere else', async () => {
  const wal = await walOf(SIZES)
  const random = new SeededRandom(7)
  const positions = Array.from({ length: 60 }, () => random.below(wal.bytes.length))
  // The headers of the fragments: the first of the log, and those that follow a whole record, up to the very last.
  for (const start of [0, ...wal.ends.slice(0, -1)]) for (let i = 0; i < 7; i++) positions.push(start + i)
  positions.push(wal.bytes.length - 1)
  for (const position of positions) {
    const bytes = Buffer.from(wal.bytes)
    bytes[position] ^= 1 << random.below(8)
    const damaged = await damagedWith(wal, bytes)
    const lost = (await found(wal.directory)) < SIZES.length
    assert.is(damaged, lost, `byte ${position} of ${bytes.length}`)
  }
})

test('damage hides the end of a partition unless something of it was written later', async () => {
  const wal = await walOf([100, 100, 100, 33_000, 100, 100, 33_000, 100])
  const bytes = Buffer.from(wal.bytes)
  bytes[wal.ends[4] + 50] ^= 1
  writeFileSync(wal.path, bytes)
  assert.equal([...(await checkWal(wal.directory)).prefixes], [0])
  bytes[wal.ends[6] + 50] ^= 1
  writeFileSync(wal.path, bytes)
  assert.equal([...(await checkWal(wal.directory)).prefixes], [])
})

test('sectors of zeros between what was written are damage', async () => {
  const wal = await walOf(SIZES)
  const bytes = Buffer.from(wal.bytes)
  bytes.fill(0, 1024, 2048)
  assert.is(await damagedWith(wal, bytes), true)
  truncateSync(wal.path, 2048)
  assert.is((await checkWal(wal.directory)).damaged, false)
  appendFileSync(wal.path, wal.bytes.subarray(2048))
  assert.is((await checkWal(wal.directory)).damaged, true)
})

test.run()
