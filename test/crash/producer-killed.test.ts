// test-run: limit 180 s
// A producer over HTTP whose answers are lost and whose node is killed, again and again: what it sends is stored once, and in order.

import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceClient } from '../../src/client/index.js'
import { NodeProcess } from '../helpers/node-process.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'

const WAVES = 60
const PER_WAVE = 20
const KILLS = 4
/** An answer to a wave is longer: the request has arrived, what says so has not. */
const CUT_WITHIN_BYTES = 300

test('records whose answers are lost, over kills of the node too, are stored once and in order', async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  const node = await NodeProcess.start()
  const proxy = await TcpProxy.start(node.httpPort)
  const client = new SluiceClient({ url: `http://127.0.0.1:${proxy.port}` })
  const producer = client.producer({ stream: 'mqtt' })
  const sent: string[] = []
  let isOver = false
  const killing = (async () => {
    for (let kill = 0; kill < KILLS && !isOver; kill++) {
      await wait(100 + random.below(400))
      await node.kill('SIGKILL')
      await node.startAgain()
    }
  })()
  for (let wave = 0; wave < WAVES; wave++) {
    const values = Array.from({ length: PER_WAVE }, (_, i) => `${wave}/${i}`)
    if (random.chance(0.6)) proxy.cutAfter(1 + random.below(CUT_WITHIN_BYTES), 'down')
    await producer.sendAllOf(values.map((value) => ({ topic: 't', value })))
    sent.push(...values)
  }
  isOver = true
  await killing
  const stored: string[] = []
  const direct = new SluiceClient({ url: node.httpUrl })
  for await (const records of direct.readPartition({ stream: 'mqtt', partition: 0, untilEnd: true }))
    for (const record of records) stored.push(record.text())
  assert.equal(stored, sent)
  console.log(`${proxy.accepted} connections for ${WAVES} requests`)
  assert.ok(proxy.accepted > WAVES / 4, 'answers were lost, often')
  await producer.close()
  client.close()
  direct.close()
  await proxy.stop()
  await node.kill()
})

test.run()
