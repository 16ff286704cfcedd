// test-run: limit 120 s
// A broker that is no Sluice loses all it had, and comes back empty at the same address: what it had acknowledged is not sent again by itself, since nothing
// tells us that it is gone; an operator can have it sent again.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson, requestJson } from '../helpers/http.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const gatewayConfig = (port: number) => `
node_id = "gw-17"

[[stream]]
name = "telemetry"
topics = ["#"]

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${port}"
streams = ["telemetry"]
topic = "up/{offset}"
downlink = ["cmd/#"]
ledger_topic = "ledger/{node}"
reconnect_min_ms = 20
reconnect_max_ms = 200
`

interface Status {
  readonly connected: boolean
  readonly backlog_records: number
}

const status = (gateway: NodeProcess) => getJson<Status>(`${gateway.httpUrl}/v1/upstreams/cloud`)
const drained = (gateway: NodeProcess) =>
  until(
    'everything is acknowledged',
    () => status(gateway),
    ({ connected, backlog_records }) => connected && backlog_records === 0,
  )

/** What arrives there, by offset, and the ledger as the broker was told it. */
async function archiveAt(cloud: Mosquitto) {
  const arrived: number[] = []
  const told: string[] = []
  const client = await mqtt.connectAsync(cloud.url, { clientId: 'archive', clean: false, reconnectPeriod: 0 })
  client.on('message', (topic, payload) => {
    if (topic.startsWith('up/')) arrived.push(Number(topic.slice('up/'.length)))
    else told.push(payload.toString())
  })
  await client.subscribeAsync(['up/#', 'ledger/#'], { qos: 1 })
  const end = () => client.endAsync(true)
  const command = (payload: string) => client.publishAsync('cmd/pump', payload, { qos: 1 })
  return { arrived, told, end, command }
}

const upTo = (from: number, end: number) => Array.from({ length: end - from }, (_, i) => from + i)

unlessSkipped(test, mosquittoMissing)(
  'a broker that comes back empty gets what it had not acknowledged, is told the ledger and subscribed to anew; the rest can be sent again',
  async () => {
    const persistenceDir = tempDir()
    const cloud = await Mosquitto.start({ persistenceDir })
    const gateway = await NodeProcess.start({ config: gatewayConfig(cloud.port) })
    await publishReadings(gateway, 1000)
    await drained(gateway)
    const device = await mqtt.connectAsync(gateway.mqttUrl, { clientId: 'pump' })
    const commands: string[] = []
    device.on('message', (_topic, payload) => commands.push(payload.toString()))
    await device.subscribeAsync('cmd/#', { qos: 1 })

    await cloud.kill('SIGKILL')
    await publishReadings(gateway, 500, 1000)
    // It connects by itself; the archive has to be there before it.
    await requestJson(`${gateway.httpUrl}/v1/upstreams/cloud/pause`, { method: 'POST', body: {} })
    rmSync(join(persistenceDir, 'mosquitto.db'), { force: true })
    await cloud.startAgain()
    const archive = await archiveAt(cloud)
    await requestJson(`${gateway.httpUrl}/v1/upstreams/cloud/resume`, { method: 'POST', body: {} })
    await drained(gateway)
    await until(
      'what waited has arrived',
      async () => archive.arrived.length,
      (count) => count >= 500,
    )
    assert.equal(archive.arrived, upTo(1000, 1500))
    await until(
      'the ledger is told',
      async () => archive.told.length,
      (count) => count > 0,
    )
    assert.is(JSON.parse(archive.told[0]).records, 0, 'nothing that it had acknowledged is claimed to be undelivered')
    const { entries } = await getJson<{ entries: unknown[] }>(`${gateway.httpUrl}/v1/ledger`)
    assert.equal(entries, [])
    await archive.command('on')
    await until(
      'the command comes down',
      async () => commands,
      (all) => all.length > 0,
    )
    assert.equal(commands, ['on'])
    assert.match(gateway.output, /the upstream has lost the session of this node/)

    const body = { stream: 'telemetry', offset: 0 }
    const rewound = await requestJson(`${gateway.httpUrl}/v1/upstreams/cloud/rewind`, { method: 'POST', body })
    assert.is(rewound.status, 200)
    await until(
      'all of it has arrived',
      async () => archive.arrived.length,
      (count) => count >= 2000,
    )
    assert.equal(archive.arrived, [...upTo(1000, 1500), ...upTo(0, 1500)])

    await device.endAsync(true)
    await archive.end()
    await gateway.kill()
    await cloud.kill()
  },
)

test.run()
