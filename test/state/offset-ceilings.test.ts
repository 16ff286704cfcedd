import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { CEILING_STEP, MAX_LOST_RAISES, OffsetCeilings } from '../../src/state/offset-ceilings.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { tempDir } from '../helpers/temp-dir.js'

/** By how much a ceiling is raised after so many writes are gone. */
async function raisedBy(lostWrites: number | null): Promise<number> {
  const state = await LevelStateStore.open({
    directory: join(tempDir(), 'state'),
    logger: silentLogger,
    onFatal: () => {},
  })
  const ceilings = await OffsetCeilings.open(state)
  await ceilings.cover('s', [[0, 1]])
  await ceilings.end('retired', [{ offset: 50, epoch: 0 }])
  await OffsetCeilings.recover(state, lostWrites)
  const recovered = await OffsetCeilings.open(state)
  assert.equal(recovered.endOf('retired', 0), { offset: 50, epoch: 0 }, 'an end that was the last word stays it')
  await state.close()
  return recovered.of('s', 0) - ceilings.of('s', 0)
}

test('a state database that has gone back raises ceilings by what each lost write can have, up to the most there can be', async () => {
  const perWrite = 2 * CEILING_STEP
  assert.is(await raisedBy(1), perWrite)
  const most = MAX_LOST_RAISES * perWrite
  assert.is(await raisedBy(MAX_LOST_RAISES - 1), most - perWrite)
  assert.is(await raisedBy(MAX_LOST_RAISES), most)
  assert.is(await raisedBy(MAX_LOST_RAISES + 1), most)
  assert.is(await raisedBy(null), most, 'where nobody knows how many')
})

test.run()
