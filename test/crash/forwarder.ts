// Writes to a real log and forwards it to a broker until it is killed. Started by forwarder-killed.test.ts:
//   node forwarder.js DATA_DIRECTORY BROKER_PORT RECORDS ORDER
// Writes at most RECORDS more, then only forwards; prints `drained END` once everything stored is acknowledged, and goes on.

import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.js'
import { silentLogger } from '../../src/base/logger.js'
import type { PartitionId } from '../../src/record/record.js'
import { Upstreams } from '../../src/replication/upstreams.js'
import { openLog, recordOf } from '../helpers/open-log.js'
import { upstreamTo } from '../replication/upstream-bench.js'
import { FORWARDER } from './forwarder-setup.js'

const [dataDirectory, port, records, order] = process.argv.slice(2)
const { log, cursors, ledger, facts } = await openLog(
  dataDirectory,
  [{ name: 'telemetry', partitions: FORWARDER.partitions }],
  {
    destinations: ['cloud'],
  },
)
const stream = log.stream('telemetry')
const upstreams = Upstreams.start({
  nodeId: 'gw-17',
  upstreams: [
    upstreamTo(Number(port), {
      maxInFlight: FORWARDER.maxInFlight,
      order: order as 'in_order' | 'live_first',
      backlogAfterMs: 20,
    }),
  ],
  catalog: log,
  mirrors: log.mirrors,
  groups: { groups: () => [], ofGroup: () => [] },
  epochDirectory: join(dataDirectory, 'origin-epochs'),
  cursors,
  ledger,
  facts,
  clock: systemClock,
  logger: silentLogger,
  random: Math.random,
})
writeSync(1, 'open\n')
for (let left = Number(records); left > 0; left--) {
  const partition = (left % FORWARDER.partitions) as PartitionId
  const offset = stream.nextOffset(partition)
  const commit = stream.append(partition, recordOf(`${partition} ${offset}`))
  if (left % 50 === 0) await commit.durable()
}
while (upstreams.status()[0].backlogRecords > 0) await new Promise((resolve) => setTimeout(resolve, 5))
await upstreams.stop()
for (let p = 0; p < FORWARDER.partitions; p++) writeSync(1, `end ${p} ${stream.highWatermark(p as PartitionId)}\n`)
writeSync(1, 'drained\n')
setInterval(() => {}, 1000)
