// test-run: alone, limit 180 s
// Everything goes wrong at once, at random, between a gateway and a broker that is no Sluice: the link is cut in the midst of packets, throttled,
// delayed, black-holed, half closed and refused, the gateway is killed with SIGKILL, and retention overtakes the link. The topic over there
// tells the offset, so that every single one can be accounted for: it arrived, or it is in the ledger.
//
//   SLUICE_STORM=500 node dist/test/e2e/broker-storm.test.js        so many misfortunes instead of a few; no limit of time

import { setTimeout as wait } from 'node:timers/promises'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NatsServer, natsServerMissing } from '../helpers/nats-server.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'

const MISFORTUNES = Number(process.env['SLUICE_STORM'] ?? 14)
const WINDOW = 50
/** Besides one window, what was acknowledged while a write of the cursors ran is sent again after a SIGKILL. */
const MAX_BACK = 20 * WINDOW
const PAYLOAD_BYTES = 400
const MAX_PAUSE_MS = 250
const TICK_MS = 20
const MESSAGES_PER_TICK = 25

const gatewayConfig = (port: number) => `
[[stream]]
name = "telemetry"
topics = ["#"]
retention = { max_bytes = "2MB" }

[storage]
segment_size = "256KB"

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${port}"
topic = "up/{offset}"
max_in_flight = ${WINDOW}
ack_timeout_ms = 1500
reconnect_min_ms = 20
reconnect_max_ms = 200
`

interface LedgerRow {
  readonly destination: string
  readonly stream: string
  readonly first_offset: number
  readonly last_offset: number
  readonly reason: string
}

interface Cloud {
  readonly port: number
  kill(): Promise<unknown>
}

function misfortunesOf(
  link: TcpProxy,
  gateway: NodeProcess,
  random: SeededRandom,
): readonly (() => Promise<void> | void)[] {
  return [
    () => link.cutAll(),
    () => link.cutAfter(1 + random.below(20_000), 'up'),
    () => link.cutAfter(1 + random.below(100), 'down'),
    () => link.halfClose(),
    () => link.delay(random.below(30)),
    () => link.throttle(random.chance(0.4) ? null : 20_000 + random.below(300_000)),
    async () => {
      link.blackHole(true)
      await wait(random.below(600))
      link.blackHole(false)
    },
    async () => {
      link.refuse(true)
      await wait(500 + random.below(4000))
      link.refuse(false)
    },
    async () => {
      await gateway.kill('SIGKILL')
      await gateway.startAgain()
    },
  ]
}

function everythingAccountedFor(start: () => Promise<Cloud>) {
  return () =>
    withSeed(async (random) => {
      const cloud = await start()
      const arrived: number[] = []
      const archive = await mqtt.connectAsync(`mqtt://127.0.0.1:${cloud.port}`, { clientId: 'archive' })
      archive.on('message', (topic) => arrived.push(Number(topic.slice('up/'.length))))
      await archive.subscribeAsync('up/#', { qos: 1 })
      const link = await TcpProxy.start(cloud.port)
      const gateway = await NodeProcess.start({ config: gatewayConfig(link.port) })
      const publisher = new ReliablePublisher({
        url: gateway.mqttUrl,
        clientId: 'sensors',
        window: 500,
        reconnectMs: 50,
      })
      let published = 0
      const sensors = setInterval(() => {
        for (let i = 0; i < MESSAGES_PER_TICK; i++)
          publisher.publish({ mqttTopic: `s/${i % 5}`, payload: String(published++).padEnd(PAYLOAD_BYTES, '.') })
      }, TICK_MS)
      const misfortunes = misfortunesOf(link, gateway, random)
      let kills = 0
      for (let i = 0; i < MISFORTUNES; i++) {
        await wait(random.below(MAX_PAUSE_MS))
        // Each of them once, the rest as it comes.
        const which = i < misfortunes.length ? i : random.below(misfortunes.length)
        if (which === misfortunes.length - 1) kills += 1
        await misfortunes[which]()
      }
      clearInterval(sensors)
      link.delay(0)
      link.throttle(null)
      await publisher.allAcked()
      publisher.close()
      const status = () => getJson<{ backlog_records: number }>(`${gateway.httpUrl}/v1/upstreams/cloud`)
      while ((await status()).backlog_records > 0) await wait(50)
      const { partitions } = await getJson<{ partitions: { high_watermark: number }[] }>(
        `${gateway.httpUrl}/v1/streams/telemetry`,
      )
      const end = partitions[0].high_watermark
      const { entries: rows } = await getJson<{ entries: LedgerRow[] }>(`${gateway.httpUrl}/v1/ledger`)
      const lost = new Set<number>()
      for (const { first_offset: first, last_offset: last } of rows.filter(({ stream }) => stream === 'telemetry'))
        for (let offset = first; offset <= last; offset++) lost.add(offset)
      for (let quiet = 0; quiet < 5; quiet++) {
        const before = arrived.length
        await wait(100)
        if (arrived.length > before) quiet = 0
      }

      let next = 0
      let furthestBack = 0
      for (const offset of arrived) {
        furthestBack = Math.max(furthestBack, next - offset)
        next = Math.max(next, offset + 1)
      }
      const delivered = new Set(arrived)
      const nowhere = Array.from({ length: end }, (_, offset) => offset).filter(
        (o) => !delivered.has(o) && !lost.has(o),
      )
      const both = [...delivered].filter((offset) => lost.has(offset)).length
      console.log(
        `${end} records: ${delivered.size} arrived (${arrived.length - delivered.size} of them again, at most ${furthestBack} back), ` +
          `${lost.size} in the ledger, ${both} in both; ${MISFORTUNES} misfortunes, ${kills} kills`,
      )
      assert.equal(nowhere, [], 'in the ledger or delivered, never neither')
      assert.is(new Set(publisher.acked.map(({ payload }) => payload)).size, published)
      assert.ok(end >= published, `${end} records of ${published} messages`)
      assert.ok(furthestBack <= MAX_BACK, `went back by ${furthestBack}`)
      assert.ok(both <= (kills + 1) * MAX_BACK, `${both} are in the ledger although they arrived`)
      const firsts = [...delivered]
      assert.ok(
        firsts.every((offset, i) => i === 0 || offset > firsts[i - 1]),
        'the first copies ascend',
      )
      await archive.endAsync(true)
      await gateway.kill()
      await link.stop()
      await cloud.kill()
    })
}

unlessSkipped(test, mosquittoMissing)(
  'whatever happens on the way to a mosquitto, every record is delivered there in order, or in the ledger',
  everythingAccountedFor(() => Mosquitto.start()),
)

unlessSkipped(test, natsServerMissing)(
  'whatever happens on the way to a nats-server, every record is delivered there in order, or in the ledger',
  everythingAccountedFor(() => NatsServer.start()),
)

test.run()
