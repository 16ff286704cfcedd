import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings } from '../../scripts/readings.js'
import { numbered } from '../helpers/delivery-check.js'
import { assertSame, caughtUp } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'

const gatewayConfig = (nodeId: string, port: number, more = '') => `
node_id = "${nodeId}"

[[stream]]
name = "telemetry"
topics = ["#"]
partitions = 2

[[upstream]]
name = "cloud"
type = "sluice"
url = "mqtt://127.0.0.1:${port}"
streams = ["telemetry"]
reconnect_min_ms = 20
reconnect_max_ms = 200
${more}
`

async function publish(node: NodeProcess, count: number, from = 0): Promise<void> {
  const publisher = new ReliablePublisher({ url: node.mqttUrl, clientId: 'sensors', window: 500, reconnectMs: 50 })
  const source = readings()
  for (let n = from; n < from + count; n++) publisher.publish(numbered(source.next().value, n))
  await publisher.allAcked()
  publisher.close()
}

test('what a gateway stores is at its Sluice upstream under the same offsets', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', cloud.mqttPort) })
  await publish(gateway, 5000)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), 5000)
  await gateway.kill()
  await cloud.kill()
})

test.run()
