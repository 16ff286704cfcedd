// A member of a consumer group that says what it does, a line each, until it is killed. Started by group-killed.test.ts:
//   node group-member.js URL NAME
// `assigned P POSITION`, `got P FIRST LAST`, `committed P OFFSET`, each with the machine's monotonic time first: lines of many members can be
// put in order. Written synchronously: what a reader of the pipe has seen had happened before the kill.

import { writeSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { SluiceClient, SluiceError } from '../../src/client/index.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const [url, name, seed] = process.argv.slice(2)
const random = new SeededRandom(Number(seed))
const say = (line: string) => writeSync(1, `${process.hrtime.bigint()} ${line}\n`)

const consumer = new SluiceClient({ url }).consumer({
  group: 'g',
  streams: ['mqtt'],
  memberName: name,
  autoCommit: false,
  sessionTimeoutMs: 1_000,
  maxRecords: 40,
  waitMs: 500,
  onAssigned: (partitions) => {
    for (const { partition, position } of partitions) say(`assigned ${partition} ${position}`)
  },
})
for await (const { records } of consumer.batches()) {
  const last = new Map<number, number>()
  for (const { partition, offset } of records) {
    if (!last.has(partition)) say(`got ${partition} ${offset}`)
    last.set(partition, offset)
  }
  for (const [partition, offset] of last) say(`until ${partition} ${offset}`)
  await wait(random.below(30))
  // One that stalls beyond its session is put out, and its commit refused.
  if (random.chance(0.01)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
  try {
    await consumer.commit([...last].map(([partition, offset]) => ({ stream: 'mqtt', partition, offset: offset + 1 })))
    for (const [partition, offset] of last) say(`committed ${partition} ${offset + 1}`)
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
  }
}
