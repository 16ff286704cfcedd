import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import type { Offset } from '../../src/record/record.js'
import { Cursors } from '../../src/state/cursors.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { RefusingState } from '../helpers/refusing-state.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

const MIRROR = 'gw-17.telemetry'
const FORMER = `${MIRROR}.1`

/** What `check` finds holds in memory, and on disk. */
async function onBoth(act: (cursors: Cursors) => Promise<void>, check: (cursors: Cursors) => void): Promise<void> {
  const directory = join(tempDir(), 'state')
  for (const isReopened of [false, true]) {
    const state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
    const cursors = await Cursors.open(state)
    if (!isReopened) await act(cursors)
    check(cursors)
    await state.close()
  }
}

const at = (cursors: Cursors, destination: string, stream: string) => cursors.get(destination, stream, 0) as number

test('a cursor that is on its way to the disk while its stream is forgotten does not come back', () =>
  onBoth(
    async (cursors) => {
      await cursors.set('cloud', MIRROR, 0, 5 as Offset)
      const sets = [cursors.set('cloud', MIRROR, 0, 7 as Offset), cursors.set('other', MIRROR, 0, 9 as Offset)]
      await Promise.all([...sets, cursors.removeStream(MIRROR)])
    },
    (cursors) => {
      assert.equal([at(cursors, 'cloud', MIRROR), at(cursors, 'other', MIRROR)], [undefined, undefined])
      assert.equal(cursors.streams(), [])
    },
  ))

test('what is known of a stream goes with it to its new name, and so does what is on its way to the disk', () => {
  const acked = [{ first: 12 as Offset, next: 20 as Offset }]
  return onBoth(
    async (cursors) => {
      await cursors.set('cloud', MIRROR, 0, 5 as Offset)
      await cursors.set('cloud', 'telemetry', 0, 3 as Offset)
      const sets = [cursors.set('cloud', MIRROR, 0, 7 as Offset), cursors.set('other', MIRROR, 0, 9 as Offset, acked)]
      await Promise.all([...sets, cursors.renameStream(MIRROR, FORMER)])
    },
    (cursors) => {
      assert.equal(cursors.ofStream(MIRROR), [])
      assert.equal([at(cursors, 'cloud', FORMER), at(cursors, 'other', FORMER)], [7, 9])
      assert.equal(cursors.acked('other', FORMER, 0), acked)
      assert.is(at(cursors, 'cloud', 'telemetry'), 3)
    },
  )
})

test('a stream whose cursors the disk refused to forget is forgotten when that is asked for again', async () => {
  const state = await LevelStateStore.open({
    directory: join(tempDir(), 'state'),
    logger: silentLogger,
    onFatal: () => {},
  })
  const disk = new RefusingState(state)
  const cursors = await Cursors.open(disk)
  await cursors.set('cloud', 'gw-17.telemetry', 0, 7 as Offset)
  await cursors.set('cloud', 'other', 0, 9 as Offset)
  disk.refuses = true
  assert.is(await codeOf(cursors.removeStream('gw-17.telemetry')), 'STORAGE_FULL')
  assert.is(cursors.get('cloud', 'gw-17.telemetry', 0), 7, 'memory has what the disk has')
  disk.refuses = false
  await cursors.removeStream('gw-17.telemetry')
  for (const all of [cursors, await Cursors.open(state)]) {
    assert.is(all.get('cloud', 'gw-17.telemetry', 0), undefined)
    assert.is(all.get('cloud', 'other', 0), 9)
  }
  await state.close()
})

test.run()
