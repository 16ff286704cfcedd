// Appends to a real log until it is stopped, and says what has been promised. Started by the tests beside it:
//   node writer.js DATA_DIRECTORY SEED [RECORDS]
// Small segments roll all the time, retention drops them, an upstream's cursor follows at a distance. Lines, written synchronously, each
// before the next thing is done: `open P START END` per partition, `acked P OFFSET` per commit, `cursor P NEXT`, `dropped P START`,
// `fatal CODE`, `refused CODE`. Ends with 1 when the log says that it cannot go on, with 0 after RECORDS.

import { writeSync } from 'node:fs'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { openLog, recordOf } from '../../helpers/open-log.js'
import { SeededRandom } from '../../helpers/seeded-random.js'
import { FAULT_DESTINATION, FAULT_OPTIONS, FAULT_STREAM, faultPayload } from './written.js'

const MAX_BURST = 120
const MAX_WAITING = 3

const [dataDirectory, seed, records = 'Infinity'] = process.argv.slice(2)
const random = new SeededRandom(Number(seed))
const say = (line: string): void => void writeSync(1, `${line}\n`)

const node = await openLog(dataDirectory, [FAULT_STREAM], {
  ...FAULT_OPTIONS,
  onFatal: (error) => {
    say(`fatal ${error.code} ${error.message}`)
    process.exit(1)
  },
})
const stream = node.log.stream(FAULT_STREAM.name)
const partitions = Array.from({ length: FAULT_STREAM.partitions }, (_, partition) => partition as PartitionId)
for (const partition of partitions) {
  say(`open ${partition} ${stream.logStartOffset(partition)} ${stream.nextOffset(partition)}`)
}

const starts = partitions.map((partition) => stream.logStartOffset(partition))
stream.onChange(() => {
  for (const partition of partitions) {
    const start = stream.logStartOffset(partition)
    if (start !== starts[partition]) say(`dropped ${partition} ${(starts[partition] = start)}`)
  }
})

const cursors: number[] = partitions.map(
  (partition) => node.cursors.get(FAULT_DESTINATION, stream.name, partition) ?? 0,
)
let waiting = 0
let wake = (): void => {}

function settled(error: Error | null, partition: PartitionId, offset: Offset): void {
  waiting -= 1
  wake()
  if (error !== null) return
  say(`acked ${partition} ${offset}`)
  if (random.next() > 0.1) return
  const next = Math.floor(offset - random.next() * 400) as Offset
  if (next <= cursors[partition]) return
  cursors[partition] = next
  node.cursors.set(FAULT_DESTINATION, stream.name, partition, next).then(
    () => say(`cursor ${partition} ${next}`),
    () => {},
  )
}

for (let left = Number(records); left > 0; ) {
  const partition = partitions[Math.floor(random.next() * random.next() * partitions.length)]
  try {
    for (let burst = Math.ceil(random.next() * MAX_BURST); burst > 0; burst--, left--) {
      const offset = stream.nextOffset(partition)
      const commit = stream.append(partition, recordOf(faultPayload(partition, offset)))
      if (burst > 1) continue
      waiting += 1
      commit.onSettled((error) => settled(error, partition, offset))
    }
  } catch (error) {
    say(`refused ${(error as { code?: string }).code}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  if (waiting >= MAX_WAITING) await new Promise<void>((resolve) => (wake = resolve))
  if (!stream.hasRoom) await stream.whenRoom()
}
await node.close()
say('closed')
