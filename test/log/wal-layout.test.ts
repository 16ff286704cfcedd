import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { crc32c } from '../../src/base/crc32c.js'
import { Segment } from '../../src/log/segment.js'
import { SEGMENT_FORMAT } from '../../src/log/segment-index.js'
import { prepareSegment } from '../../src/log/segment-writer.js'
import { LARGE_WRITE_BYTES, WalLayout, walBytesOf } from '../../src/log/wal-layout.js'
import { openLevel } from '../../src/state/level-database.js'
import { checkWal } from '../../src/state/wal-check.js'
import { withSeed } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'

const OPTIONS = { writeBufferBytes: 4 * 1024 * 1024, createIfMissing: true }
const walOf = async (directory: string): Promise<string> =>
  join(directory, (await readdir(directory)).find((name) => name.endsWith('.log')) as string)

test('records written over zeros are replayed after a crash, and what follows is no damage', async () => {
  const directory = join(tempDir(), 'db')
  const database = await openLevel(directory, OPTIONS)
  const laidOut = new WalLayout(directory, 1024 * 1024)
  while ((await stat(await walOf(directory))).size < 1024 * 1024) await new Promise((resolve) => setTimeout(resolve, 5))
  await laidOut.close()
  for (let i = 0; i < 100; i++) {
    const key = Buffer.from(String(i).padStart(4, '0'))
    await database.batch([{ type: 'put', key, value: Buffer.alloc(1000, i) }], { sync: true })
  }
  assert.is((await stat(await walOf(directory))).size, 1024 * 1024, 'nothing was appended')
  // Closing does not flush the memtable: what comes back was replayed from the log.
  await database.close()
  assert.is((await checkWal(directory)).damaged, false)
  const again = await openLevel(directory, OPTIONS)
  const keys = await again.keys().all()
  assert.equal(
    keys.map(Number),
    Array.from({ length: 100 }, (_, i) => i),
  )
  await again.close()
})

test('a segment that is born while its log is being laid out holds what is written to it', async () => {
  for (let round = 0; round < 10; round++) {
    const directory = join(tempDir(), '000000000001')
    const prepared = await prepareSegment(directory, {
      writeBufferBytes: OPTIONS.writeBufferBytes,
      laidOutBytes: 2 * 1024 * 1024,
    })
    const header = {
      format: SEGMENT_FORMAT,
      stream: 's',
      sequence: 1,
      createdAtMs: 0,
      poweredOnMs: 0,
      bases: [0],
      epochs: [0],
    } as const
    await new Promise((resolve) => setTimeout(resolve, round))
    const segment = await Segment.birth(prepared, header, new Map([['fact', Buffer.from('kept')]]))
    await segment.close()
    assert.equal((await checkWal(directory)).damaged, false)
    assert.is(String((await segment.facts()).facts.get('fact')), 'kept')
    await segment.close()
  }
})

test('writes of any size, laid out ahead of in steps, are all replayed after a crash', () =>
  withSeed(async (random) => {
    for (const largest of [3_000, 400_000]) {
      const directory = join(tempDir(), 'db')
      const database = await openLevel(directory, { ...OPTIONS, writeBufferBytes: 64 * 1024 * 1024 })
      const layout = new WalLayout(directory, 0)
      await layout.begin()
      const written: [string, number][] = []
      for (let bytes = 0; bytes < 1_500_000; ) {
        const operations = Array.from({ length: random.below(4) + 1 }, (_, i) => ({
          type: 'put' as const,
          key: Buffer.from(`${String(written.length + i).padStart(6, '0')}`),
          value: Buffer.alloc(random.below(random.chance(0.9) ? 3_000 : largest), 1 + random.below(255)),
        }))
        await layout.beforeWrite(walBytesOf(operations))
        await database.batch(operations, { sync: true })
        for (const { key, value } of operations) {
          written.push([String(key), crc32c(value, 0, value.length)])
          bytes += value.length
        }
      }
      await layout.close()
      await database.close()
      const check = await checkWal(directory)
      assert.equal([check.damaged, check.lastSequence], [false, written.length])
      const again = await openLevel(directory, OPTIONS)
      const found = (await again.iterator().all()).map(([key, value]) => [String(key), crc32c(value, 0, value.length)])
      assert.equal(found, written)
      await again.close()
    }
  }))

test('small writes into a log that nobody laid out before their first do not make it longer, but for a step of 256 KB', async () => {
  const directory = join(tempDir(), 'db')
  const database = await openLevel(directory, OPTIONS)
  const layout = new WalLayout(directory, 0)
  await layout.begin()
  const lengths = new Set<number>()
  for (let i = 0; i < 300; i++) {
    const operations = [{ type: 'put' as const, key: Buffer.from(String(i)), value: Buffer.alloc(1000, i) }]
    await layout.beforeWrite(walBytesOf(operations))
    await database.batch(operations, { sync: true })
    lengths.add((await stat(await walOf(directory))).size)
  }
  assert.equal(
    [...lengths],
    [1, 2].map((steps) => steps * 256 * 1024),
  )
  await layout.close()
  await database.close()
})

test('large writes into a log that nobody laid out are appended', async () => {
  const directory = join(tempDir(), 'db')
  const database = await openLevel(directory, OPTIONS)
  const layout = new WalLayout(directory, 0)
  await layout.begin()
  const operations = [{ type: 'put' as const, key: Buffer.from('key'), value: Buffer.alloc(LARGE_WRITE_BYTES) }]
  await layout.beforeWrite(walBytesOf(operations))
  await database.batch(operations, { sync: true })
  const { size } = await stat(await walOf(directory))
  assert.ok(size < LARGE_WRITE_BYTES + 100, `${size}`)
  await layout.close()
  await database.close()
})

test.run()
