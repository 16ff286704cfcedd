import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { openLog, recordOf, type TestLog } from '../../helpers/open-log.js'
import { SeededRandom } from '../../helpers/seeded-random.js'
import { unlessSkipped } from '../../helpers/skip.js'
import { tempDir } from '../../helpers/temp-dir.js'

const VALUE_BYTES = 32 * 1024
const MEGABYTES = 48
const FETCHES = 3000
const SEGMENT_BYTES = 4 * 1024 * 1024
const RETENTION = { maxBytes: 32 * 1024 * 1024, maxAgeMs: null, onFull: 'drop_oldest' as const }
/** In LevelDB's own log: it rewrites tables. A flush of the memtable is told in other words. */
const COMPACTING = /^.*Compact(?:ing \d+@|ed \d+@).*$/gm

const whereBytesAreCounted = unlessSkipped(test, bytesWritten() === null ? '/proc/self/io cannot be read' : null)

/** By all write calls of this process. */
function bytesWritten(): number | null {
  try {
    return Number(/^wchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
  } catch {
    return null
  }
}

function compactions(directory: string): string[] {
  const logs = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\/LOG(\.old)?$/.test(name),
  )
  assert.ok(logs.length > 5)
  return logs.flatMap((name) => readFileSync(join(directory, name), 'utf8').match(COMPACTING) ?? [])
}

async function fill(node: TestLog, partitions: number, random: SeededRandom): Promise<number> {
  const stream = node.log.stream('s')
  const value = Buffer.from(Array.from({ length: VALUE_BYTES }, () => random.below(256)))
  let bytes = 0
  let last = null
  while (bytes < MEGABYTES * 1024 * 1024) {
    last = stream.append(random.below(partitions) as PartitionId, recordOf(value))
    bytes += value.length
    if (!stream.hasRoom) await stream.whenRoom()
  }
  await last?.durable()
  return bytes
}

async function readHeavily(node: TestLog, partitions: number, random: SeededRandom): Promise<void> {
  const stream = node.log.stream('s')
  for (let i = 0; i < FETCHES; i++) {
    const partition = random.below(partitions) as PartitionId
    const start = stream.logStartOffset(partition)
    const from = (start + random.below(stream.highWatermark(partition) - start)) as Offset
    try {
      await stream.fetch(partition, from, { maxBytes: random.chance(0.1) ? 1024 * 1024 : 1 })
    } catch (error) {
      // Retention, still at work, overtook this one.
      if (from >= stream.logStartOffset(partition)) throw error
    }
  }
}

for (const partitions of [1, 8]) {
  whereBytesAreCounted(
    `with ${partitions} partitions each byte is written twice, and LevelDB never compacts, whatever is read`,
    async () => {
      const random = new SeededRandom(partitions)
      const node = await openLog(tempDir(), [{ name: 's', partitions, retention: RETENTION }], {
        segmentBytes: SEGMENT_BYTES,
      })
      const before = bytesWritten() as number
      const bytes = await fill(node, partitions, random)
      await readHeavily(node, partitions, random)
      const compacted = compactions(node.directory)
      assert.ok(node.log.stream('s').logStartOffset(0 as PartitionId) > 0, 'retention was at work')
      await node.close()
      const perByte = ((bytesWritten() as number) - before) / bytes
      console.log(`${partitions} partitions: ${perByte.toFixed(3)} bytes written per byte stored`)
      assert.equal([...compacted, ...compactions(node.directory)], [])
      assert.ok(perByte < 2.15, `${perByte} bytes written per byte`)
    },
  )
}

test.run()
