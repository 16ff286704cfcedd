// A disk that hangs, as SD cards do for seconds, and one that the kernel has made read-only. SLUICE_TEST_STALL_S=30 for a long stall.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PartitionId } from '../../../src/record/record.js'
import { LoopDisk } from '../../helpers/loop-disk.js'
import { openLog, readAll, recordOf, type TestLog } from '../../helpers/open-log.js'
import { codeOf } from '../../helpers/rejection.js'
import { unlessSkipped } from '../../helpers/skip.js'

const STALL_MS = Number(process.env['SLUICE_TEST_STALL_S'] ?? 3) * 1000
const MAX_PENDING_BYTES = 1024 * 1024
const P0 = 0 as PartitionId
const VALUE = 'x'.repeat(1000)
const OPTIONS = { segmentBytes: 4 * 1024 * 1024, maxPendingBytes: MAX_PENDING_BYTES }

const made = LoopDisk.make(96)
const whereDisksCanBeMade = unlessSkipped(test, typeof made === 'string' ? made : null)
const disk = made as LoopDisk
const directory = typeof made === 'string' ? '' : join(disk.path, 'data')

function emptyDirectory(): string {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory)
  return directory
}

async function assertAll(node: TestLog, atLeast: number): Promise<void> {
  const records = await readAll(node.log, 's')
  assert.ok(records.length >= atLeast, `${records.length} of ${atLeast}`)
  records.forEach(({ offset, value }, i) => {
    assert.is(offset, i)
    assert.ok(value?.toString().startsWith(`${i}:`))
  })
}

whereDisksCanBeMade(
  `a disk that hangs ${STALL_MS / 1000} s holds acknowledgements back, not memory, and all goes on after it`,
  async () => {
    const node = await openLog(emptyDirectory(), [{ name: 's' }], OPTIONS)
    const stream = node.log.stream('s')
    let appended = 0
    let acked = 0
    let ackedAtMs = 0
    let stalledAtMs = 0
    const append = () => {
      const end = appended + 1
      const commit = stream.append(P0, recordOf(`${appended}:${VALUE}`))
      appended = end
      commit.onSettled((error) => {
        assert.is(error, null)
        acked = end
        ackedAtMs = performance.now()
      })
    }
    while (appended < 200) append()
    await stream.append(P0, recordOf(`${appended++}:${VALUE}`)).durable()
    assert.is(acked, 200)

    disk.freeze(STALL_MS / 1000 + 10)
    stalledAtMs = performance.now()
    while (performance.now() - stalledAtMs < STALL_MS) {
      while (stream.hasRoom) append()
      await Promise.race([stream.whenRoom(), wait(100)])
    }
    const { pendingBytes } = stream.stats()
    const ackedBefore = acked
    assert.ok(
      pendingBytes >= MAX_PENDING_BYTES && pendingBytes < MAX_PENDING_BYTES * 2.1,
      `${pendingBytes} bytes waiting`,
    )
    // One commit may have been past its sync when the disk stopped.
    assert.ok(acked < 200 || ackedAtMs - stalledAtMs < 200, 'nothing is acknowledged while the disk hangs')
    await assertAll(node, ackedBefore)
    disk.thaw()
    await stream.append(P0, recordOf(`${appended++}:${VALUE}`)).durable()
    assert.is(acked, appended - 1)
    await assertAll(node, appended)
    assert.equal(node.fatal, [])
    await node.close()
  },
)

whereDisksCanBeMade(
  'on a disk turned read-only nothing is acknowledged, what is open stays readable, and nothing is lost',
  async () => {
    const node = await openLog(emptyDirectory(), [{ name: 's' }], OPTIONS)
    const stream = node.log.stream('s')
    let acked = 0
    const appendBurst = async () => {
      const offset = stream.nextOffset(P0)
      const commits = Array.from({ length: 50 }, (_, i) => stream.append(P0, recordOf(`${offset + i}:${VALUE}`)))
      await commits[49].durable()
      acked = offset + 50
    }
    while (acked < 5500) await appendBurst()
    await assertAll(node, acked)
    disk.makeReadOnly()
    assert.is(await codeOf(appendBurst), 'STORAGE_READ_ONLY')
    // Past the moment at which it tries to write again.
    await wait(1500)
    assert.is(await codeOf(() => stream.append(P0, recordOf('x'))), 'STORAGE_READ_ONLY')
    await assertAll(node, acked)
    assert.equal(node.fatal, [])
    await node.close()
    disk.powerOn()
    const again = await openLog(directory, [{ name: 's' }], OPTIONS)
    await assertAll(again, acked)
    assert.equal(again.ledger.list(), [])
    await again.log.stream('s').append(P0, recordOf('x')).durable()
    await again.close()
  },
)

test.after(() => {
  if (typeof made !== 'string') disk.remove()
})
test.run()
