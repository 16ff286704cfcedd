// test-run: alone, limit 300 s
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings } from '../../scripts/readings.js'
import { checkDelivery, numbered } from '../helpers/delivery-check.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { type Message, ReliablePublisher } from '../helpers/reliable-publisher.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'

const COUNT = 20_000
/** The gateway is killed each time so many have been acknowledged. */
const KILL_AT = [6_000, 13_000]
const STALL_MS = 30_000

const gatewayConfig = (cloudPort: number) => `
[[stream]]
name = "telemetry"
topics = ["#"]

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${cloudPort}"
streams = ["telemetry"]
topic = "plant7/{topic}"
reconnect_min_ms = 100
reconnect_max_ms = 1000
`

/** A session at the cloud that keeps what it is owed while it is away, so that nothing depends on who connects first. */
async function subscriber(cloud: Mosquitto, arrived: Message[]): Promise<mqtt.MqttClient> {
  const client = await mqtt.connectAsync(cloud.url, { clientId: 'archive', clean: false, reconnectPeriod: 0 })
  client.on('message', (mqttTopic, payload) => arrived.push({ mqttTopic, payload: payload.toString() }))
  await client.subscribeAsync('plant7/#', { qos: 1 })
  return client
}

/** Resolves when the publisher has so many acknowledgements. */
async function ackedCount(publisher: ReliablePublisher, count: number): Promise<void> {
  while (publisher.acked.length < count) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Resolves when every acked message has arrived, or nothing has come for a while. */
async function delivered(acked: readonly Message[], arrived: readonly Message[]): Promise<void> {
  let last = 0
  for (let changedAt = performance.now(); performance.now() - changedAt < STALL_MS; ) {
    if (arrived.length >= acked.length && checkDelivery(acked, arrived).lost === 0) return
    if (arrived.length !== last) changedAt = performance.now()
    last = arrived.length
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

unlessSkipped(test, mosquittoMissing)(
  `${COUNT} readings acknowledged while the cloud is down and the gateway is killed twice all reach the cloud, in order per topic`,
  async () => {
    const cloud = await Mosquitto.start({ persistenceDir: tempDir() })
    await (await subscriber(cloud, [])).endAsync()
    await cloud.kill()

    const gateway = await NodeProcess.start({ config: gatewayConfig(cloud.port) })
    const publisher = new ReliablePublisher({
      url: gateway.mqttUrl,
      clientId: 'sensors',
      window: 500,
      reconnectMs: 100,
    })
    const source = readings()
    for (let n = 0; n < COUNT; n++) publisher.publish(numbered(source.next().value, n))
    for (const count of KILL_AT) {
      await ackedCount(publisher, count)
      await gateway.kill('SIGKILL')
      await gateway.startAgain()
    }
    await publisher.allAcked()
    publisher.close()
    assert.is(publisher.acked.length, COUNT)
    assert.ok(publisher.resent > 0, 'the gateway was killed while messages were on their way')

    await cloud.startAgain()
    const arrived: Message[] = []
    const archive = await subscriber(cloud, arrived)
    await delivered(publisher.acked, arrived)
    const { lost, outOfOrder, delivered: different } = checkDelivery(publisher.acked, arrived)
    assert.equal({ lost, outOfOrder, different }, { lost: 0, outOfOrder: 0, different: COUNT })

    await archive.endAsync(true)
    await gateway.kill()
    await cloud.kill()
  },
)

test.run()
