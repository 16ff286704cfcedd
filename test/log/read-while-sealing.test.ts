import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger } from '../../src/base/logger.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { openLog, readAll, recordOf } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId

test('readers that never pause do not keep segments from being sealed, nor dropped', async () => {
  const warnings: string[] = []
  const logger = new Logger('log', 'warn', (line) => void warnings.push(line))
  const retention = { maxBytes: 4 * 1024 * 1024, maxAgeMs: null, onFull: 'drop_oldest' } as const
  const node = await openLog(tempDir(), [{ name: 's', retention }], { segmentBytes: 256 * 1024, logger })
  const stream = node.log.stream('s')
  const record = recordOf(Buffer.alloc(8000, 'x'))
  let writing = true
  let reads = 0
  const reader = async (): Promise<void> => {
    while (writing) {
      const [start, end] = [stream.logStartOffset(P0), stream.highWatermark(P0)]
      // Mostly what was written last: the segment that is being sealed.
      const from = Math.max(start, end - 1 - (reads % 40)) as Offset
      const fetched = await stream.fetch(P0, from, { maxBytes: 64 * 1024 })
      reads += fetched.batches.length
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const readers = [reader(), reader(), reader()]
  for (let i = 0; i < 2000; i++) {
    const commit = stream.append(P0, record)
    if (i % 16 === 15) await commit.durable()
  }
  writing = false
  await Promise.all(readers)
  assert.ok(reads > 100)
  assert.equal(warnings, [])
  assert.equal(node.fatal, [])
  assert.equal(node.ledger.list(), [])
  const first = stream.logStartOffset(P0)
  assert.ok(first > 0, 'retention has dropped segments meanwhile')
  assert.is((await readAll(node.log, 's')).length, 2000 - first)
  await node.close()
})

test.run()
