// test-run: alone
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'

const STATUS = '/proc/self/status'
const measured = unlessSkipped(test, existsSync(STATUS) ? null : 'there is no /proc here to measure memory by')

const anonymousMb = (): number => Number(/RssAnon:\s+(\d+)/.exec(readFileSync(STATUS, 'utf8'))?.[1]) / 1024

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
    const beforeMb = anonymousMb()
    let next = 0 as Offset
    while (next < RECORDS) next = (await stream.fetch(0 as PartitionId, next, { maxBytes: 64 * 1024 })).nextOffset
    const growthMb = anonymousMb() - beforeMb
    assert.ok(growthMb < MAX_GROWTH_MB, `grew by ${growthMb.toFixed(0)} MB`)
  } finally {
    await close()
  }
})

test.run()
