// test-run: limit 120 s
// The example, killed again and again, and the node under it as well.

import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceClient } from '../../src/client/index.js'
import { NodeProcess } from '../helpers/node-process.js'
import { Program } from '../helpers/program.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'
import { openTotals, type Row } from './effectively-once.js'

const RECORDS = 4_000
const KILLS = 8

test('each record counts once, whatever is killed: program, node, or both', async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  const node = await NodeProcess.start()
  const directory = join(tempDir(), 'totals')
  const client = new SluiceClient({ url: node.httpUrl })
  const expected = new Map<string, number>()
  const producer = client.producer({ stream: 'mqtt' })
  const produce = async (from: number, to: number): Promise<void> => {
    const records = Array.from({ length: to - from }, (_, i) => ({
      topic: `s/${(from + i) % 5}`,
      value: String(from + i),
    }))
    for (const { topic, value } of records) expected.set(topic, (expected.get(topic) ?? 0) + Number(value))
    await producer.sendAllOf(records)
  }
  const start = (): Program =>
    new Program(process.execPath, [join(import.meta.dirname, 'effectively-once.js'), node.httpUrl, 'mqtt', directory])
  let program = start()
  for (let kill = 0; kill < KILLS; kill++) {
    const share = RECORDS / KILLS
    await produce(kill * share, (kill + 1) * share)
    await wait(random.below(250))
    if (kill % 3 === 1) {
      await node.kill('SIGKILL')
      await node.startAgain()
    }
    if (kill % 3 === 2) continue
    await program.stop('SIGKILL')
    program = start()
  }
  await program.waitFor(new RegExp(`^counted up to ${RECORDS}$`, 'm'), 'stdout', 30_000)
  await program.stop('SIGKILL')
  const database = await openTotals(directory)
  const totals = new Map<string, number>()
  for await (const [key, row] of database.table<Row>('totals').entries('topic/'))
    if ('sum' in row) totals.set(key.slice('topic/'.length), row.sum)
  assert.equal(totals, expected)
  await database.close()
  await producer.close()
  client.close()
  await node.kill()
})

test('a consumer goes on over kills of its node, and gets every record at least once', async () => {
  const node = await NodeProcess.start()
  const client = new SluiceClient({ url: node.httpUrl })
  const producer = client.producer({ stream: 'mqtt' })
  const seen = new Set<string>()
  const troubles: string[] = []
  const consumer = client.consumer({
    group: 'g',
    streams: ['mqtt'],
    autoCommitIntervalMs: 20,
    onTrouble: ({ code }) => troubles.push(code),
  })
  let isAll: () => void = () => {}
  const all = new Promise<void>((resolve) => (isAll = resolve))
  const loop = (async () => {
    for await (const record of consumer) {
      seen.add(record.text())
      if (seen.size === 900) isAll()
    }
  })()
  for (let round = 0; round < 3; round++) {
    await producer.sendAllOf(Array.from({ length: 300 }, (_, i) => ({ topic: 't', value: `${round}:${i}` })))
    await node.kill('SIGKILL')
    await node.startAgain()
  }
  await all
  await consumer.close()
  await loop
  assert.ok(troubles.includes('NOT_REACHABLE'))
  await producer.close()
  client.close()
  await node.kill()
})

test.run()
