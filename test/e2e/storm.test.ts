// test-run: alone, limit 180 s
// Everything goes wrong at once, at random: the gateway is killed, the cloud is killed, the link is cut, in any order, while sensors publish.
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings } from '../../scripts/readings.js'
import { checkDelivery, numbered } from '../helpers/delivery-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { readStream, streamEnd } from '../helpers/stream-reader.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'

const MISFORTUNES = 24
const MAX_PAUSE_MS = 600
const MESSAGES_PER_TICK = 60
const TICK_MS = 20
const STALL_MS = 30_000

const gatewayConfig = (cloudPort: number) => `
[[stream]]
name = "telemetry"
topics = ["#"]

[storage]
segment_size = "1MB"

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${cloudPort}"
streams = ["telemetry"]
topic = "plant7/{topic}"
reconnect_min_ms = 20
reconnect_max_ms = 200
`

test('whatever is killed or cut, every acknowledged reading reaches the cloud, in order per topic', async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats its misfortunes)`)
  const cloud = await NodeProcess.start()
  const uplink = await TcpProxy.start(cloud.mqttPort)
  const gateway = await NodeProcess.start({ config: gatewayConfig(uplink.port) })
  const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 'sensors', window: 500, reconnectMs: 50 })
  const source = readings()
  let published = 0
  const sensors = setInterval(() => {
    for (let i = 0; i < MESSAGES_PER_TICK; i++) publisher.publish(numbered(source.next().value, published++))
  }, TICK_MS)

  const misfortunes: readonly (() => Promise<void> | void)[] = [
    async () => {
      await gateway.kill('SIGKILL')
      await gateway.startAgain()
    },
    async () => {
      await cloud.kill('SIGKILL')
      await cloud.startAgain()
    },
    () => uplink.refuse(true),
    () => uplink.refuse(false),
  ]
  for (let i = 0; i < MISFORTUNES; i++) {
    await wait(random.next() * MAX_PAUSE_MS)
    await misfortunes[random.below(misfortunes.length)]()
  }
  uplink.refuse(false)
  clearInterval(sensors)
  await publisher.allAcked()
  publisher.close()
  await settled(cloud, await streamEnd(gateway, 'telemetry'))

  const { lost, outOfOrder, delivered, duplicated } = checkDelivery(publisher.acked, await readStream(cloud, 'mqtt'))
  console.log(
    `${published} published, ${publisher.resent} sent again by the client, ${duplicated} duplicated at the cloud`,
  )
  assert.equal({ lost, outOfOrder, delivered }, { lost: 0, outOfOrder: 0, delivered: published })
  await uplink.stop()
  await gateway.kill()
  await cloud.kill()
})

/** Resolves when the cloud holds at least `atLeast` records and no more come; @throws Error when nothing comes before that. */
async function settled(cloud: NodeProcess, atLeast: number): Promise<void> {
  let last = -1
  for (let changedAt = performance.now(); ; await wait(300)) {
    const end = await streamEnd(cloud, 'mqtt')
    if (end === last && end >= atLeast) return
    if (end !== last) changedAt = performance.now()
    last = end
    if (performance.now() - changedAt > STALL_MS) throw new Error(`the cloud stays at ${end} records of ${atLeast}`)
  }
}

test.run()
