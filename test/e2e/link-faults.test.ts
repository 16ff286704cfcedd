// test-run: limit 180 s
// One fault of a link at a time, with a gateway in a process of its own: what each does by itself, where the storms mix them.

import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { checkDelivery } from '../helpers/delivery-check.js'
import { getJson } from '../helpers/http.js'
import { assertSame, caughtUp, gatewayConfig, storedMessages } from '../helpers/mirror-check.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import type { Message } from '../helpers/reliable-publisher.js'
import { unlessSkipped } from '../helpers/skip.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { until } from '../helpers/until.js'

/** Half of them before each fault, half while it lasts. */
const COUNT = 400
const WINDOW = 50
const ACK_TIMEOUT = 'ack_timeout_ms = 700\n'

const toBroker = (port: number) => `
[[stream]]
name = "telemetry"
topics = ["#"]

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${port}"
streams = ["telemetry"]
topic = "up/{topic}"
max_in_flight = ${WINDOW}
reconnect_min_ms = 20
reconnect_max_ms = 200
${ACK_TIMEOUT}`

interface Fault {
  readonly name: string
  /** What befalls the link while records are on their way. */
  readonly strike: (link: TcpProxy) => void
  /** What the gateway says of it afterwards. */
  readonly said: RegExp
}

const FAULTS: readonly Fault[] = [
  { name: 'a black hole', strike: (link) => link.blackHole(true), said: /nothing was acknowledged/ },
  { name: 'a half-closed connection', strike: (link) => link.halfClose(), said: /closed/ },
  { name: 'a cut in the midst of a packet', strike: (link) => link.cutAfter(701, 'up'), said: /ECONNRESET|closed/ },
  {
    name: 'a cut in the midst of an acknowledgement',
    strike: (link) => link.cutAfter(3, 'down'),
    said: /ECONNRESET|closed/,
  },
]

/** Half of the readings, the fault on the connection they went over, the other half; resolves once another connection was made. */
async function throughFault(gateway: NodeProcess, link: TcpProxy, { strike, name, said }: Fault, from: number) {
  await publishReadings(gateway, COUNT / 2, from)
  await until(
    'it is connected and has brought the first half',
    () => getJson<{ connected: boolean; backlog_records: number }>(`${gateway.httpUrl}/v1/upstreams/cloud`),
    ({ connected, backlog_records }) => connected && backlog_records === 0,
  )
  const before = link.accepted
  const saidBefore = gateway.output.length
  strike(link)
  await publishReadings(gateway, COUNT / 2, from + COUNT / 2)
  await link.until(() => link.accepted > before)
  link.blackHole(false)
  await until(
    `the gateway says what ${name} did`,
    async () => gateway.output.slice(saidBefore),
    (output) => said.test(output),
  )
}

test('black hole, half-close and cuts on the way to a node: another connection goes on, and nothing is lost or twice', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const link = await TcpProxy.start(cloud.mqttPort)
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', link.port, { upstream: ACK_TIMEOUT }) })
  for (const [i, fault] of FAULTS.entries()) await throughFault(gateway, link, fault, i * COUNT)
  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  assert.is(await assertSame([gateway, 'telemetry'], [cloud, 'gw-17.telemetry']), FAULTS.length * COUNT)
  const { entries } = await getJson<{ entries: unknown[] }>(`${gateway.httpUrl}/v1/ledger`)
  assert.equal(entries, [])
  await gateway.kill()
  await link.stop()
  await cloud.kill()
})

unlessSkipped(test, mosquittoMissing)(
  'black hole, half-close and cuts on the way to a mosquitto: another connection goes on, nothing is lost and at most a window comes twice',
  async () => {
    const cloud = await Mosquitto.start()
    const arrived: Message[] = []
    const archive = await mqtt.connectAsync(cloud.url, { clientId: 'archive', reconnectPeriod: 0 })
    archive.on('message', (mqttTopic, payload) => arrived.push({ mqttTopic, payload: payload.toString() }))
    await archive.subscribeAsync('up/#', { qos: 1 })
    const link = await TcpProxy.start(cloud.port)
    const gateway = await NodeProcess.start({ config: toBroker(link.port) })
    for (const [i, fault] of FAULTS.entries()) await throughFault(gateway, link, fault, i * COUNT)
    const all = FAULTS.length * COUNT
    const acked = await storedMessages(gateway, 'telemetry')
    assert.is(acked.length, all)
    await until(
      'everything has arrived',
      async () => new Set(arrived.map(({ payload }) => payload)).size,
      (count) => count === all,
    )
    const { lost, outOfOrder, duplicated } = checkDelivery(acked, arrived)
    assert.equal({ lost, outOfOrder }, { lost: 0, outOfOrder: 0 })
    assert.ok(duplicated <= (link.accepted - 1) * WINDOW, `${duplicated} came twice over ${link.accepted} connections`)
    await archive.endAsync(true)
    await gateway.kill()
    await link.stop()
    await cloud.kill()
  },
)

test.run()
