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
