// Subscribers that stop reading cost the node a bounded amount of memory and nobody else any time: not the publisher, not the subscriber that reads.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MemoryWatch } from '../helpers/memory-watch.js'
import { NodeProcess } from '../helpers/node-process.js'
import { puback, publishPacket, RawClient, subscribePacket } from './raw-client.js'

const FROZEN_PER_QOS = 10
const QUEUE_MB = 1
const MESSAGES = 2000
const PAYLOAD = 'x'.repeat(16 * 1024)
const IN_FLIGHT = 50
/** What a node at this work takes beside the queues: V8's young generation, the batches and memtables of the log. */
const WORKING_MB = 120

test('subscribers that read nothing delay neither the publisher nor a subscriber that reads, and hold no more memory than their queues', async () => {
  const node = await NodeProcess.start({ config: `[mqtt]\nmax_pending_bytes = "${QUEUE_MB}MB"\n` })
  const subscriber = async (name: string, qos: number, clean: boolean): Promise<RawClient> => {
    const client = clean
      ? await RawClient.connected(node.mqttPort, name)
      : (await RawClient.durable(node.mqttPort, name)).client
    client.write(subscribePacket(1, ['t', qos]))
    assert.is((await client.next())?.first, 0x90)
    return client
  }
  for (let i = 0; i < FROZEN_PER_QOS; i++) {
    for (const qos of [0, 1, 2]) (await subscriber(`frozen-${qos}-${i}`, qos, i % 2 === 0)).socket.pause()
  }
  const reader = await subscriber('reader', 1, true)
  const publisher = await RawClient.connected(node.mqttPort, 'publisher')
  const memory = new MemoryWatch(() => node.pid)
  const beforeMb = memory.look()

  let sent = 0
  const sendOne = (): void => {
    sent += 1
    publisher.write(publishPacket('t', `${sent} ${PAYLOAD}`, { qos: 1, id: sent }))
  }
  const publishing = (async () => {
    while (sent < IN_FLIGHT) sendOne()
    for (let acked = 0; acked < MESSAGES; acked++) {
      assert.is((await publisher.next())?.first, 0x40)
      if (sent < MESSAGES) sendOne()
    }
  })()
  for (let i = 1; i <= MESSAGES; i++) {
    const { id, payload } = await reader.nextPublish()
    assert.is(payload.slice(0, payload.indexOf(' ')), String(i))
    reader.write(puback(id))
  }
  await publishing
  memory.end()
  const boundMb = 3 * FROZEN_PER_QOS * QUEUE_MB + WORKING_MB
  const grownMb = memory.peakMb - beforeMb
  assert.ok(grownMb <= boundMb, `${grownMb.toFixed(0)} MB more, the bound is ${boundMb} MB`)
  await node.kill()
})

test.run()
