// Appends to a real log until it is killed, and says what has been acknowledged. Started by writer-killed.test.ts:
//   node writer.js DATA_DIRECTORY ROUND SEED
// Prints `open P OFFSET` for each partition once the log is open (where writing goes on), then `acked P OFFSET` after the commit that holds the
// record is durable. Lines are written synchronously: what the reader of the pipe has seen was acknowledged before the kill.
import { writeSync } from 'node:fs'
import type { PartitionId } from '../../src/record/record.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { CRASH_STREAM, crashPayload } from './crash-payload.js'

const MAX_BURST = 200
/** Bursts that may wait for their commit at once. */
const MAX_WAITING = 4

const [dataDirectory, round, seed] = process.argv.slice(2)
const random = new SeededRandom(Number(seed))
const say = (line: string) => writeSync(1, `${line}\n`)

const { log } = await openLog(dataDirectory, [{ name: CRASH_STREAM, partitions: 2 }], { segmentBytes: 256 * 1024 })
const stream = log.stream(CRASH_STREAM)
const partitions = [0, 1] as PartitionId[]
for (const partition of partitions) say(`open ${partition} ${stream.nextOffset(partition)}`)

let waiting = 0
let wake = () => {}
for (;;) {
  const partition = partitions[random.chance(0.7) ? 0 : 1]
  for (let left = 1 + random.below(MAX_BURST); left > 0; left--) {
    const offset = stream.nextOffset(partition)
    const commit = stream.append(partition, recordOf(crashPayload(Number(round), partition, offset)))
    if (left > 1) continue
    waiting += 1
    commit.onSettled((error) => {
      if (error !== null) throw error
      say(`acked ${partition} ${offset}`)
      waiting -= 1
      wake()
    })
  }
  if (waiting >= MAX_WAITING) await new Promise<void>((resolve) => (wake = resolve))
  if (!stream.hasRoom) await stream.whenRoom()
}
