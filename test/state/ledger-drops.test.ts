import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { toOffset } from '../../src/record/record.js'
import { Ledger } from '../../src/state/ledger.js'
import { LevelStateStore } from '../../src/state/state-store.js'
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

test.run()
