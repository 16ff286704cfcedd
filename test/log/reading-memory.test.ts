// test-run: alone
import { existsSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { rssAnonOf } from '../helpers/process-usage.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'

const MB = 1024 * 1024
const measured = unlessSkipped(
  test,
  existsSync('/proc/self/status') ? null : 'there is no /proc here to measure memory by',
)

measured('reading a log from end to end in small fetches leaves no native memory behind', async () => {
  const RECORDS = 400_000
  const MAX_GROWTH_MB = 64
  const { log, close } = await openLog(tempDir(), [{ name: 'telemetry' }])
  try {
    const stream = log.stream('telemetry')
    const record = recordOf(Buffer.alloc(100, 'x'))
    for (let i = 1; i <= RECORDS; i++) {
      const commit = stream.append(0 as PartitionId, record)
      if (!stream.hasRoom) await stream.whenRoom()
      if (i === RECORDS) await commit.durable()
    }
    const beforeMb = rssAnonOf() / MB
    let next = 0 as Offset
    while (next < RECORDS) next = (await stream.fetch(0 as PartitionId, next, { maxBytes: 64 * 1024 })).nextOffset
    const growthMb = rssAnonOf() / MB - beforeMb
    assert.ok(growthMb < MAX_GROWTH_MB, `grew by ${growthMb.toFixed(0)} MB`)
  } finally {
    await close()
  }
})

test.run()
