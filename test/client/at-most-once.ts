// An example: commands that must rather be missed than carried out twice. The offset is committed first, then the command is carried out: a process
// that is killed in between leaves it out.
//
//   node at-most-once.js URL STREAM [STOP_AT]
//
// Says `committed N` and `done N` of each command. STOP_AT: goes no further once that command is committed, for whoever wants to kill it there.

import { writeSync } from 'node:fs'
import { SluiceClient } from '../../src/client/index.js'

const [url, stream, stopAt] = process.argv.slice(2)

// As a static member it is given its partitions at once when it comes back.
const consumer = new SluiceClient({ url }).consumer({
  group: 'valves',
  streams: [stream],
  instanceId: 'valves-1',
  autoCommit: false,
})
for await (const record of consumer) {
  // Durable when it resolves. When it throws nothing is carried out, whether or not it has got there.
  await consumer.commit(record)
  writeSync(1, `committed ${record.text()}\n`)
  if (record.text() === stopAt) await new Promise(() => setInterval(() => {}, 1_000))
  carryOut(record.text())
}

function carryOut(command: string): void {
  writeSync(1, `done ${command}\n`)
}
