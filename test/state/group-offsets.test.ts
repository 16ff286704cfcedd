import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import type { Offset } from '../../src/record/record.js'
import { GroupOffsets } from '../../src/state/group-offsets.js'
import { LevelStateStore } from '../../src/state/state-store.js'
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

test.run()
