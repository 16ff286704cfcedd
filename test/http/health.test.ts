import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { healthOf } from '../../src/http/health.js'
import type { PartitionId } from '../../src/record/record.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

test('a node is not ready while a stream takes no records, says why, and is ready again once it does', async () => {
  const retention = { maxBytes: 512 * 1024, maxAgeMs: null, onFull: 'reject' as const }
  const small = { segmentBytes: 256 * 1024, destinations: ['cloud'] }
  const node = await openLog(tempDir(), [{ name: 'fine' }, { name: 's', retention }], small)
  assert.equal(healthOf(node.log), { ready: true, reasons: [] })
  const stream = node.log.stream('s')
  const partition = 0 as PartitionId
  try {
    for (;;) await stream.append(partition, recordOf(randomBytes(8_000))).durable()
  } catch (error) {
    assert.ok(error instanceof SluiceError && error.code === 'STORAGE_FULL', String(error))
  }
  const { ready, reasons } = healthOf(node.log)
  assert.is(ready, false)
  assert.match(reasons.join(), /^stream s holds its max_bytes .* on_full is "reject"/)
  await node.cursors.set('cloud', 's', 0, stream.highWatermark(partition))
  await new Promise<void>((resolve) => void stream.onChange(resolve))
  assert.ok(healthOf(node.log).ready)
  await node.close()
})

test.run()
