import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { prepareSegment, Segment } from '../../src/log/segment.js'
import { WalPreallocation } from '../../src/log/wal-preallocation.js'
import { openLevel } from '../../src/state/level-database.js'
import { checkWal } from '../../src/state/wal-check.js'
import { tempDir } from '../helpers/temp-dir.js'

const OPTIONS = { writeBufferBytes: 4 * 1024 * 1024, createIfMissing: true }
const walOf = async (directory: string): Promise<string> =>
  join(directory, (await readdir(directory)).find((name) => name.endsWith('.log')) as string)

test('records written over zeros are replayed after a crash, and what follows is no damage', async () => {
  const directory = join(tempDir(), 'db')
  const database = await openLevel(directory, OPTIONS)
  const laidOut = new WalPreallocation(directory, 1024 * 1024)
  while ((await stat(await walOf(directory))).size < 1024 * 1024) await new Promise((resolve) => setTimeout(resolve, 5))
  await laidOut.stop()
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
      preallocatedBytes: 2 * 1024 * 1024,
    })
    const header = {
      format: 1,
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
    assert.is(String((await segment.facts()).get('fact')), 'kept')
    await segment.close()
  }
})

test.run()
