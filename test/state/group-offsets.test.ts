import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import type { Offset } from '../../src/record/record.js'
import { GroupOffsets } from '../../src/state/group-offsets.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { RefusingState } from '../helpers/refusing-state.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

const MIRROR = 'gw-17.telemetry'
const FORMER = `${MIRROR}.1`

test('what a group has committed of a stream goes with it to its new name, and so does a commit that is on its way to the disk', async () => {
  const directory = join(tempDir(), 'state')
  const open = () => LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  let state = await open()
  let offsets = await GroupOffsets.open(state, () => 0)
  const commit = (group: string, offset: number) =>
    offsets.commit(group, [{ stream: MIRROR, partition: 0, offset: offset as Offset }])
  await commit('settled', 5)
  const commits = [commit('first', 7), commit('settled', 9)]
  const renamed = offsets.renameStream(MIRROR, FORMER)
  await Promise.all([...commits, renamed])
  const places = () =>
    ['settled', 'first'].map((group) => [
      offsets.get(group, MIRROR, 0)?.offset,
      offsets.get(group, FORMER, 0)?.offset as number | undefined,
    ])
  const expected = [
    [undefined, 9],
    [undefined, 7],
  ]
  assert.equal(places(), expected)
  await state.close()
  state = await open()
  offsets = await GroupOffsets.open(state, () => 0)
  assert.equal(places(), expected, 'also on disk')
  await state.close()
})

for (const takesAllTheSame of [false, true]) {
  const what = takesAllTheSame ? 'that is on the disk all the same' : 'that is not on the disk'
  test(`a new name ${what} and was refused is given again when it is asked for again`, async () => {
    const state = await LevelStateStore.open({
      directory: join(tempDir(), 'state'),
      logger: silentLogger,
      onFatal: () => {},
    })
    const disk = new RefusingState(state)
    disk.takesAllTheSame = takesAllTheSame
    const offsets = await GroupOffsets.open(disk, () => 0)
    const commit = (stream: string, partition: number, offset: number) =>
      offsets.commit('g', [{ stream, partition, offset: offset as Offset }])
    await commit(MIRROR, 0, 5)
    await commit(MIRROR, 1, 6)
    disk.refuses = true
    assert.is(await codeOf(offsets.renameStream(MIRROR, FORMER)), 'STORAGE_FULL')
    disk.refuses = false
    // A member of the old stream goes on under its new name.
    await commit(FORMER, 1, 8)
    await offsets.renameStream(MIRROR, FORMER)
    const rowsOf = (all: GroupOffsets) =>
      all
        .ofGroup('g')
        .map((row) => [row.stream, row.partition, row.offset])
        .sort()
    const rows = [
      [FORMER, 0, 5],
      [FORMER, 1, 8],
    ]
    assert.equal(rowsOf(offsets), rows)
    assert.equal(rowsOf(await GroupOffsets.open(state, () => 0)), rows, 'also on disk')
    await state.close()
  })
}

test.run()
