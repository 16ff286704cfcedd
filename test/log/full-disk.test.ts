import { existsSync } from 'node:fs'
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../src/base/errors.js'
import type { PartitionId } from '../../src/record/record.js'
import { openLog, readAll, recordOf, type TestLog } from '../helpers/open-log.js'
import { unlessSkipped } from '../helpers/skip.js'
import { SmallDisk } from '../helpers/small-disk.js'
import { tempDir } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const KEEPING = { name: 's', retention: { maxBytes: 1 << 30, maxAgeMs: null, onFull: 'reject' as const } }
const disk = SmallDisk.make(24)
const whereDisksCanBeMade = unlessSkipped(test, disk === null ? 'mounting a small tmpfs needs root' : null)

/** Appends until one is refused. @returns one past the last acknowledged offset, and why. */
async function appendUntilRefused(node: TestLog): Promise<{ acked: number; refusal: SluiceError }> {
  const stream = node.log.stream('s')
  let acked = stream.highWatermark(P0) as number
  for (;;) {
    try {
      const offset = stream.nextOffset(P0)
      const commits = Array.from({ length: 8 }, (_, i) =>
        stream.append(P0, recordOf(`${offset + i}:${'x'.repeat(4000)}`)),
      )
      await commits[7].durable()
      acked = offset + 8
    } catch (error) {
      return { acked, refusal: error as SluiceError }
    }
  }
}

async function assertAllThere(node: TestLog, acked: number): Promise<void> {
  const records = await readAll(node.log, 's')
  assert.ok(records.length >= acked, `${records.length} read, ${acked} acknowledged`)
  records.forEach((record, i) => {
    assert.is(record.offset, i)
    assert.ok(record.value?.toString().startsWith(`${i}:`))
  })
}

whereDisksCanBeMade(
  'a full disk acknowledges nothing it did not keep, stays readable, and is written again once there is room',
  async () => {
    if (disk === null) return
    const directory = join(disk.path, 'data')
    const node = await openLog(directory, [KEEPING], { segmentBytes: 1024 * 1024 })
    for (let round = 0; round < 3; round++) {
      await node.ballast.restore()
      await disk.fill((16 - round * 4) * 1024 * 1024)
      const { acked, refusal } = await appendUntilRefused(node)
      assert.is(refusal.code, 'STORAGE_FULL', refusal.message)
      assert.throws(
        () => node.log.stream('s').append(P0, recordOf('x')),
        (e: SluiceError) => e.code === 'STORAGE_FULL',
      )
      await assertAllThere(node, acked)
      disk.free()
      const before = node.log.stream('s').highWatermark(P0)
      let next: number | undefined
      while (next === undefined) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        try {
          next = node.log.stream('s').nextOffset(P0)
          await node.log
            .stream('s')
            .append(P0, recordOf(`${next}:after`))
            .durable()
        } catch {
          next = undefined
        }
      }
      assert.ok(next >= before)
      await assertAllThere(node, acked)
    }
    const end = node.log.stream('s').highWatermark(P0)
    await node.close()
    const again = await openLog(directory, [KEEPING], { segmentBytes: 1024 * 1024 })
    assert.is(again.log.stream('s').highWatermark(P0), end)
    await assertAllThere(again, end)
    assert.equal(again.ledger.list(), [])
    assert.equal([...node.fatal, ...again.fatal], [])
    await again.close()
  },
)

whereDisksCanBeMade(
  'on a full disk a stream that may drop its oldest goes on, and what an upstream was owed of them is in the ledger',
  async () => {
    const small = SmallDisk.make(12)
    if (small === null) return
    const node = await openLog(join(small.path, 'data'), [{ name: 's' }], {
      segmentBytes: 1024 * 1024,
      destinations: ['cloud'],
    })
    const stream = node.log.stream('s')
    let acked = 0
    while (acked < 8000) {
      const offset = stream.nextOffset(P0)
      try {
        const commits = Array.from({ length: 8 }, (_, i) =>
          stream.append(P0, recordOf(`${offset + i}:${'x'.repeat(4000)}`)),
        )
        await commits[7].durable()
        acked = offset + 8
      } catch (error) {
        assert.is((error as SluiceError).code, 'STORAGE_FULL')
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
    const start = stream.logStartOffset(P0)
    assert.ok(start > 0)
    assert.ok(existsSync(join(small.path, 'data', 'ballast')), 'the next refusal finds room for its ledger row as well')
    const records = await readAll(node.log, 's')
    assert.is(records[0].offset, start)
    assert.ok(records.length >= acked - start, 'what was acknowledged and is not in the ledger can be read')
    assert.equal(
      node.ledger.list().map((row) => [row.destination, row.firstOffset, row.lastOffset, row.records, row.reason]),
      [['cloud', 0, start - 1, start, 'disk_full']],
    )
    await node.close()
    small.remove()
  },
)

whereDisksCanBeMade(
  'a segment whose write was refused is not sealed by closing it: the next start reads it back',
  async () => {
    const small = SmallDisk.make(24)
    if (small === null) return
    const directory = join(small.path, 'data')
    const node = await openLog(directory, [KEEPING], { segmentBytes: 2 * 1024 * 1024 })
    await node.log.stream('s').append(P0, recordOf('0:')).durable()
    const spare = join(small.path, 'spare')
    await writeFile(spare, Buffer.alloc(1024 * 1024))
    await small.fillUp()
    const { acked, refusal } = await appendUntilRefused(node)
    assert.is(refusal.code, 'STORAGE_FULL', refusal.message)
    // Enough to seal it, not enough to begin anew and thereby read it back.
    await rm(spare)
    await node.close()
    const segments = (await readdir(join(directory, 'streams', 's'))).filter((name) => /^\d+$/.test(name))
    const newest = join(directory, 'streams', 's', segments.sort()[segments.length - 1])
    assert.not.ok((await readdir(newest)).includes('sealed'), 'it was sealed out of a memory that is not to be trusted')
    const again = await openLog(directory, [KEEPING], { segmentBytes: 2 * 1024 * 1024 })
    await assertAllThere(again, acked)
    assert.equal(again.ledger.list(), [])
    await again.close()
    small.remove()
  },
)

const KILLED_SEGMENT_BYTES = 256 * 1024

for (const [what, ballastBytes, isDamaged] of [
  ['', 2 * KILLED_SEGMENT_BYTES, false],
  [', also where its log is damaged, which takes twice the room', 4 * KILLED_SEGMENT_BYTES, true],
] as const)
  whereDisksCanBeMade(
    `a node that was killed on a full disk starts on it again, out of its ballast${what}`,
    async () => {
      const small = SmallDisk.make(4)
      if (small === null) return
      const options = { segmentBytes: KILLED_SEGMENT_BYTES, ballastBytes }
      const running = await openLog(tempDir(), [{ name: 's' }], options)
      for (let i = 0; i < 60; i++)
        await running.log
          .stream('s')
          .append(P0, recordOf(`${i}:${'x'.repeat(4000)}`))
          .durable()
      await running.ballast.settled()
      // What a kill would leave, on a disk without a byte to spare.
      const directory = join(small.path, 'data')
      await cp(running.directory, directory, { recursive: true, filter: (path) => !path.endsWith('LOCK') })
      await running.close()
      const log = join(directory, 'streams', 's', '000000000001', '000003.log')
      if (isDamaged) {
        const bytes = await readFile(log)
        bytes[bytes.indexOf('20:x') + 1000] ^= 1
        await writeFile(log, bytes)
      }
      await small.fillUp()
      const node = await openLog(directory, [{ name: 's' }], options)
      if (!isDamaged) await assertAllThere(node, 60)
      else assert.equal((await readAll(node.log, 's')).length, 59)
      assert.equal(
        node.ledger.list().map(({ firstOffset, lastOffset, reason }) => [firstOffset, lastOffset, reason]),
        isDamaged ? [[20, 20, 'corruption']] : [],
      )
      await node.close()
      small.remove()
    },
  )

test.after(() => disk?.remove())
test.run()
