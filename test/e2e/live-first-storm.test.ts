// test-run: limit 240 s
// What is new goes first, and gateway and broker are killed with SIGKILL in turn. Counted is what passes between them, since what a broker has
// acknowledged and lost is the broker's affair: every record is acknowledged in the end, and what is sent again after its acknowledgement had passed
// is at most one window for each time that either was killed.

import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { PacketTap, type TappedPacket } from '../helpers/packet-tap.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { until } from '../helpers/until.js'

const KILLS = Number(process.env['SLUICE_STORM'] ?? 5)
const WINDOW = 40
const PER_ROUND = 300
const MAX_PAUSE_MS = 300
const [PUBLISH, PUBACK] = [3, 4]

const config = (port: number): string => `
[[stream]]
name = "telemetry"
topics = ["#"]
[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${port}"
topic = "up/{offset}"
order = "live_first"
live_share = 50
backlog_after_ms = 100
max_in_flight = ${WINDOW}
reconnect_min_ms = 20
reconnect_max_ms = 100
`

class Said {
  readonly acked = new Set<number>()
  /** Sent although their acknowledgement had passed. */
  again = 0
  private readonly waiting = new WeakMap<object, Map<number, number>>()

  take({ direction, type, body, connection }: TappedPacket): void {
    const waiting = this.waiting.get(connection) ?? new Map<number, number>()
    this.waiting.set(connection, waiting)
    if (direction === 'up' && type === PUBLISH) {
      const end = 2 + body.readUInt16BE(0)
      const offset = Number(body.toString('utf8', 2 + 'up/'.length, end))
      waiting.set(body.readUInt16BE(end), offset)
      if (this.acked.has(offset)) this.again += 1
    } else if (direction === 'down' && type === PUBACK) {
      const offset = waiting.get(body.readUInt16BE(0))
      if (offset !== undefined) this.acked.add(offset)
    }
  }
}

interface Upstream {
  readonly backlog_records: number
}

unlessSkipped(test, mosquittoMissing)(
  'live first over kills of gateway and broker: every record is acknowledged, at most one window a kill is sent again',
  () =>
    withSeed(async (random) => {
      const broker = await Mosquitto.start()
      const said = new Said()
      const tap = await PacketTap.start(broker.port, (packet) => said.take(packet))
      const gateway = await NodeProcess.start({ config: config(tap.port) })
      let kills = 0
      let n = 0
      const publish = async (): Promise<void> => {
        const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 's', window: 100, reconnectMs: 50 })
        for (const end = n + PER_ROUND; n < end; n++) publisher.publish({ mqttTopic: 'a', payload: `${n}` })
        await publisher.allAcked()
        publisher.close()
      }
      try {
        for (; kills < KILLS; kills++) {
          const isBroker = random.chance(0.5)
          if (isBroker) await broker.kill('SIGKILL')
          else await gateway.kill('SIGKILL')
          if (!isBroker) await gateway.startAgain()
          await publish()
          // Long enough, now and then, for what waits to become backlog.
          await wait(random.below(MAX_PAUSE_MS))
          if (isBroker) await broker.startAgain()
          await publish()
          await wait(random.below(MAX_PAUSE_MS))
        }
        const status = () => getJson<Upstream>(`${gateway.httpUrl}/v1/upstreams/cloud`)
        await until('all is acknowledged', status, ({ backlog_records: backlog }) => backlog === 0)
        assert.is(said.acked.size, n)
        assert.ok(said.again <= kills * WINDOW, `${said.again} sent again, ${kills} kills`)
      } finally {
        await gateway.kill()
        await tap.stop()
        await broker.kill()
      }
    }),
)

test.run()
