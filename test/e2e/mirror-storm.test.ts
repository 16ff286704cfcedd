// test-run: alone, limit 180 s
// A gateway forwards to a Sluice node while either is killed and the link is cut, also within a frame, at random.
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings } from '../../scripts/readings.js'
import { checkDelivery, numbered } from '../helpers/delivery-check.js'
import { assertSame, caughtUp, gatewayConfig, storedMessages } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { withSeed } from '../helpers/seeded-random.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'

const MISFORTUNES = Number(process.env['SLUICE_TEST_MISFORTUNES'] ?? 40)
const MAX_PAUSE_MS = 400
const MESSAGES_PER_TICK = 60
const TICK_MS = 20

test('whatever is killed or cut, the mirror at a Sluice upstream is the stream: nothing lost, twice, or in another order', () =>
  withSeed(async (random) => {
    const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n[storage]\nsegment_size = "1MB"\n' })
    const uplink = await TcpProxy.start(cloud.mqttPort)
    const config = gatewayConfig('gw-17', uplink.port, { top: '[storage]\nsegment_size = "1MB"\n' })
    const gateway = await NodeProcess.start({ config })
    const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 'sensors', window: 500, reconnectMs: 50 })
    const source = readings()
    let published = 0
    const sensors = setInterval(() => {
      for (let i = 0; i < MESSAGES_PER_TICK; i++) publisher.publish(numbered(source.next().value, published++))
    }, TICK_MS)
    const restart = async (node: NodeProcess): Promise<void> => {
      await node.kill('SIGKILL')
      await node.startAgain()
    }
    const misfortunes: readonly (() => Promise<unknown>)[] = [
      () => restart(gateway),
      () => restart(cloud),
      () => Promise.all([restart(gateway), restart(cloud)]),
      async () => uplink.cutAll(),
      async () => uplink.cutAfter(1 + random.below(20_000), 'up'),
      async () => uplink.cutAfter(1 + random.below(500), 'down'),
      async () => uplink.refuse(true),
      async () => uplink.refuse(false),
    ]
    for (let i = 0; i < MISFORTUNES; i++) {
      await wait(random.next() * MAX_PAUSE_MS)
      await misfortunes[random.below(misfortunes.length)]()
    }
    uplink.refuse(false)
    clearInterval(sensors)
    await publisher.allAcked()
    publisher.close()
    await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
    const count = await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
    const { lost, outOfOrder } = checkDelivery(publisher.acked, await storedMessages(cloud, 'gw-17.telemetry'))
    console.log(`${published} published, ${count} stored, ${uplink.accepted} connections`)
    assert.equal({ lost, outOfOrder }, { lost: 0, outOfOrder: 0 })
    await uplink.stop()
    await gateway.kill()
    await cloud.kill()
  }))

test.run()
