// test-run: limit 240 s
// A site whose subscribers are given what gateways forward to it.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import mqtt, { type IClientOptions } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readings } from '../../scripts/readings.js'
import { checkDelivery, numbered } from '../helpers/delivery-check.js'
import { eventually } from '../helpers/eventually.js'
import { assertSame, caughtUp, gatewayConfig, siteConfig, storedMessages, streamAt } from '../helpers/mirror-check.js'
import { freePort } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { publishReadings } from '../helpers/publish-readings.js'
import { type Message, ReliablePublisher } from '../helpers/reliable-publisher.js'
import { withSeed } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const REPUBLISH = '[mirrors]\nrepublish = ["*.telemetry"]\nrepublish_topic = "{origin}/{topic}"\n'
const KILLS = 4
const WAIT_MS = 30_000

interface Got extends Message {
  readonly qos: number
  readonly retain: boolean
}

interface Subscriber {
  readonly got: Got[]
  end(): Promise<void>
}

/** Connects again by itself, to a session that is kept. */
async function subscribe(port: number, filter: string, options: IClientOptions = {}): Promise<Subscriber> {
  const got: Got[] = []
  const kept = { clientId: `reader-${filter}`, clean: false, reconnectPeriod: 50, ...options }
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, kept)
  client.on('error', () => {})
  client.on('message', (mqttTopic, payload, { qos, retain }) =>
    got.push({ mqttTopic, payload: payload.toString(), qos, retain }),
  )
  await client.subscribeAsync(filter, { qos: 1 })
  return { got, end: () => client.endAsync(true) }
}

async function publish(node: NodeProcess, topic: string, payload: string, options: mqtt.IClientPublishOptions) {
  const client = await mqtt.connectAsync(node.mqttUrl)
  await client.publishAsync(topic, payload, options)
  await client.endAsync()
}

test('subscribers at a site get what gateways forward, with its QoS and retain flag, and only there', async () => {
  const cloud = await NodeProcess.start({ config: 'node_id = "cloud"\n' })
  const own = '[[stream]]\nname = "own"\ntopics = ["#"]\n'
  const site = await NodeProcess.start({
    config: siteConfig(cloud.mqttPort, own + REPUBLISH).replace('"*.telemetry"]\nrec', '"own", "*.telemetry"]\nrec'),
  })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', site.mqttPort) })
  const { got, end } = await subscribe(site.mqttPort, 'gw-17/#')
  await publish(gateway, 'a/0', 'zero', { qos: 0 })
  await publish(gateway, 'a/1', 'one', { qos: 1, retain: true })
  await publish(gateway, 'a/2', 'two', { qos: 2 })
  await eventually('all have come', () => got.length === 3, WAIT_MS)
  const rows = got.map(({ mqttTopic, payload, qos }) => `${mqttTopic} ${payload} ${qos}`).sort()
  assert.equal(rows, ['gw-17/a/0 zero 0', 'gw-17/a/1 one 1', 'gw-17/a/2 two 1'])
  const late = await subscribe(site.mqttPort, 'gw-17/a/+')
  await eventually('what is retained is retained here', () => late.got.length > 0, WAIT_MS)
  assert.equal(late.got, [{ mqttTopic: 'gw-17/a/1', payload: 'one', qos: 1, retain: true }])

  await caughtUp([gateway, 'telemetry'], [cloud, 'gw-17.telemetry'])
  assert.is((await streamAt(site, 'own'))?.partitions[0].high_watermark, 0, 'no stream of its own takes it')
  const names = async () => ((await streamAt(cloud, 'site.republished')) === undefined ? 'not there' : 'there')
  assert.is(await names(), 'not there', 'nor does the next node')
  for (const one of [{ end }, late]) await one.end()
  for (const node of [gateway, site, cloud]) await node.kill()
})

test('over kills of the site every record is republished once, in order, and a session misses none', () =>
  withSeed(async (random) => {
    const port = await freePort()
    const env = { SLUICE_MQTT_LISTEN: `127.0.0.1:${port}` }
    const site = await NodeProcess.start({ config: `node_id = "site"\n${REPUBLISH}`, env })
    const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', port) })
    const { got, end } = await subscribe(port, '#')
    const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 's', window: 200, reconnectMs: 50 })
    const source = readings()
    let n = 0
    const republished = async () => (await streamAt(site, 'republished'))?.partitions[0].high_watermark ?? 0
    for (let round = 0; round < KILLS; round++) {
      const before = await republished()
      for (const to = n + 500; n < to; n++) publisher.publish(numbered(source.next().value, n))
      await until('some are republished', republished, (end) => end > before, WAIT_MS)
      await wait(random.below(100))
      await site.kill('SIGKILL')
      await site.startAgain()
    }
    await publisher.allAcked()
    publisher.close()
    await caughtUp([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
    await assertSame([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
    const { acked } = publisher
    const stored = (await storedMessages(site, 'gw-17.telemetry')).length
    await until('all is republished', republished, (end) => end >= stored, WAIT_MS)
    const there = checkDelivery(acked, await storedMessages(site, 'republished'))
    // A device that sends again what was not acknowledged makes two records.
    assert.equal(there, { delivered: n, lost: 0, duplicated: stored - n, outOfOrder: 0 })
    await eventually('the session has been given all', () => checkDelivery(acked, got).lost === 0, WAIT_MS)
    assert.is(checkDelivery(acked, got).outOfOrder, 0)
    assert.ok(got.every(({ mqttTopic }) => mqttTopic.startsWith('gw-17/')))
    await end()
    await gateway.kill()
    await site.kill()
  }))

test('a site that begins to republish gives what comes from then on, also after a restart', async () => {
  const port = await freePort()
  const env = { SLUICE_MQTT_LISTEN: `127.0.0.1:${port}` }
  const dataDir = join(tempDir(), 'data')
  const before = await NodeProcess.start({ config: 'node_id = "site"\n', env, dataDir })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', port) })
  await publishReadings(gateway, 100)
  await caughtUp([gateway, 'telemetry'], [before, 'gw-17.telemetry'])
  await before.kill()
  const site = await NodeProcess.start({ config: `node_id = "site"\n${REPUBLISH}`, env, dataDir })
  await publishReadings(gateway, 50, 100)
  const republished = async () => (await streamAt(site, 'republished'))?.partitions[0].high_watermark ?? 0
  await until('the new ones', republished, (end) => end === 50, WAIT_MS)
  await site.kill()
  await publishReadings(gateway, 25, 150)
  await site.startAgain()
  await until('those of meanwhile', republished, (end) => end === 75, WAIT_MS)
  await caughtUp([gateway, 'telemetry'], [site, 'gw-17.telemetry'])
  assert.is(await republished(), 75)
  await gateway.kill()
  await site.kill()
})

test('what an ACL file keeps from a subscriber is not republished to it', async () => {
  const acl = join(tempDir(), 'acl')
  writeFileSync(acl, 'topic write $sluice/up\ntopic write $sluice/origin/+\ntopic read gw-17/open/#\n')
  const config = `node_id = "site"\n[mqtt]\nacl_file = "${acl}"\n${REPUBLISH}`
  const site = await NodeProcess.start({ config })
  const gateway = await NodeProcess.start({ config: gatewayConfig('gw-17', site.mqttPort) })
  const { got, end } = await subscribe(site.mqttPort, '#')
  for (const topic of ['secret/1', 'open/1', 'secret/2', 'open/2']) await publish(gateway, topic, 'x', { qos: 1 })
  await eventually('what is open', () => got.length === 2, WAIT_MS)
  assert.equal(got.map(({ mqttTopic }) => mqttTopic).sort(), ['gw-17/open/1', 'gw-17/open/2'])
  await end()
  await gateway.kill()
  await site.kill()
})

test.run()
