import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { toOffset } from '../../src/record/record.js'
import { Ledger } from '../../src/state/ledger.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { RefusingState } from '../helpers/refusing-state.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

test('drops at QoS 0 are one row per partition that counts what was dropped, not what lies between', async () => {
  const directory = join(tempDir(), 'state')
  const state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  const ledger = await Ledger.open(state)
  const range = { destination: 'subscribers', stream: 's', partition: 0, reason: 'qos0_dropped', atMs: 0 } as const
  for (let i = 0; i < 50; i++) {
    const entry = { ...range, firstOffset: toOffset(1000 * i), lastOffset: toOffset(1000 * i + 99), records: 3 }
    await ledger.add([entry])
  }
  const rows = ledger.list().map(({ firstOffset, lastOffset, records }) => [firstOffset, lastOffset, records])
  assert.equal(rows, [[0, 49_099, 150]])
  await state.close()
})

test('a row whose write was refused, and is on the disk all the same, is gone after the next write', async () => {
  const state = await LevelStateStore.open({
    directory: join(tempDir(), 'state'),
    logger: silentLogger,
    onFatal: () => {},
  })
  const disk = new RefusingState(state)
  disk.takesAllTheSame = true
  const range = { destination: 'cloud', stream: 's', partition: 0, atMs: 0 } as const
  const rowsOf = (ledger: Ledger) => ledger.list().map((row) => [row.firstOffset, row.lastOffset, row.reason])
  const ledger = await Ledger.open(disk)
  await ledger.add([{ ...range, reason: 'retention', firstOffset: toOffset(0), lastOffset: toOffset(9) }])
  disk.refuses = true
  const grown = { ...range, reason: 'retention', firstOffset: toOffset(5), lastOffset: toOffset(19) } as const
  const other = { ...range, reason: 'disk_full', firstOffset: toOffset(40), lastOffset: toOffset(49) } as const
  assert.is(await codeOf(ledger.add([grown, other])), 'STORAGE_FULL')
  assert.equal(rowsOf(ledger), [[0, 9, 'retention']])
  disk.refuses = false
  await ledger.add([{ ...range, reason: 'disk_full', firstOffset: toOffset(45), lastOffset: toOffset(54) }])
  const rows = [
    [0, 9, 'retention'],
    [45, 54, 'disk_full'],
  ]
  assert.equal(rowsOf(ledger), rows)
  assert.equal(rowsOf(await Ledger.open(disk)), rows, 'the disk has what memory has')
  await state.close()
})

test.run()
