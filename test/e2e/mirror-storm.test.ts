// test-run: alone, limit 240 s
// A gateway forwards to a site, and the site to a cloud, while any of the three is killed and both links are bad, at random. The long run:
//
//   npm run build && SLUICE_TEST_MISFORTUNES=500 node dist/test/e2e/mirror-storm.test.js
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings } from '../../scripts/readings.js'
import { checkDelivery, numbered } from '../helpers/delivery-check.js'
import { assertSame, caughtUp, gatewayConfig, siteConfig, storedMessages } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'

const MISFORTUNES = Number(process.env['SLUICE_TEST_MISFORTUNES'] ?? 12)
const MAX_PAUSE_MS = 400
const MESSAGES_PER_TICK = 30
const TICK_MS = 20
const SMALL_SEGMENTS = '[storage]\nsegment_size = "1MB"\n'

/** What may befall a link. Each leaves it such that it works again by itself, or by `heal`. */
const LINK_FAULTS: readonly ((link: TcpProxy, random: SeededRandom) => void)[] = [
  (link) => link.cutAll(),
  (link, random) => link.cutAfter(1 + random.below(20_000), 'up'),
  (link, random) => link.cutAfter(1 + random.below(500), 'down'),
  (link) => link.refuse(true),
  (link) => link.halfClose(),
  (link) => link.blackHole(true),
  (link, random) => link.throttle(20_000 + random.below(200_000)),
  (link, random) => link.delay(random.below(150)),
]

function heal(link: TcpProxy): void {
  link.refuse(false)
  link.blackHole(false)
  link.throttle(null)
  link.delay(0)
}

test('whatever is killed or cut, the mirrors of a chain are the stream: nothing lost, twice, or in another order', () =>
  withSeed(async (random) => {
    const cloud = await NodeProcess.start({ config: `node_id = "cloud"\n${SMALL_SEGMENTS}` })
    const upper = await TcpProxy.start(cloud.mqttPort)
    const site = await NodeProcess.start({ config: siteConfig(upper.port, SMALL_SEGMENTS) })
    const lower = await TcpProxy.start(site.mqttPort)
    const config = gatewayConfig('gw-17', lower.port, { top: SMALL_SEGMENTS })
    const gateway = await NodeProcess.start({ config })
    const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 'sensors', window: 500, reconnectMs: 50 })
    const source = readings()
    let published = 0
    const sensors = setInterval(() => {
      for (let i = 0; i < MESSAGES_PER_TICK; i++) publisher.publish(numbered(source.next().value, published++))
    }, TICK_MS)
    const nodes = [gateway, site, cloud]
    const links = [lower, upper]
    let kills = 0
    for (let i = 0; i < MISFORTUNES; i++) {
      await wait(random.next() * MAX_PAUSE_MS)
      const link = links[random.below(links.length)]
      if (random.chance(0.4)) heal(link)
      else LINK_FAULTS[random.below(LINK_FAULTS.length)](link, random)
      if (!random.chance(0.4)) continue
      // One, or two neighbours at once.
      const first = random.below(nodes.length)
      const killed = nodes.slice(first, first + 1 + random.below(2))
      kills += killed.length
      await Promise.all(killed.map((node) => node.kill('SIGKILL')))
      await Promise.all(killed.map((node) => node.startAgain()))
    }
    for (const link of links) heal(link)
    clearInterval(sensors)
    await publisher.allAcked()
    publisher.close()
    await caughtUp([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
    await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
    const count = await assertSame([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
    assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), count)
    const { lost, outOfOrder } = checkDelivery(publisher.acked, await storedMessages(cloud, 'gw-17.telemetry'))
    const connections = links.map(({ accepted }) => accepted).join(' + ')
    console.log(`seed ${random.seed}: ${MISFORTUNES} misfortunes, ${kills} kills, ${connections} connections`)
    console.log(`${published} published, ${count} stored at each node`)
    assert.equal({ lost, outOfOrder }, { lost: 0, outOfOrder: 0 })
    for (const link of links) await link.stop()
    for (const node of nodes) await node.kill()
  }))

test.run()
