// A program that pulls is told over MQTT when there is something to pull.

import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson, requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'

test('a subscriber hears how far a stream has come, and the hints themselves are stored nowhere', async () => {
  const node = await NodeProcess.start()
  const client = await mqtt.connectAsync(node.mqttUrl, { reconnectPeriod: 0 })
  await client.subscribeAsync('$SYS/sluice/streams/+/end')
  const heard = new Promise<[string, Buffer]>((resolve) =>
    client.once('message', (topic, payload) => resolve([topic, payload])),
  )
  const record = { topic: 'a', value: '1' }
  await requestJson(`${node.httpUrl}/v1/streams/mqtt/records`, { method: 'POST', body: record })
  const [topic, payload] = await heard
  assert.is(topic, '$SYS/sluice/streams/mqtt/end')
  assert.equal(JSON.parse(String(payload)), { stream: 'mqtt', partitions: [{ partition: 0, high_watermark: 1 }] })
  for (const stream of ['mqtt', 'unrouted']) {
    const { partitions } = await getJson<{ partitions: { high_watermark: number }[] }>(
      `${node.httpUrl}/v1/streams/${stream}`,
    )
    assert.is(partitions[0].high_watermark, stream === 'mqtt' ? 1 : 0)
  }
  await client.endAsync()
  await node.kill()
})

test.run()
