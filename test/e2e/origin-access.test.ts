import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { caughtUp, gatewayConfig, lastError, streamAt } from '../helpers/mirror-check.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const ACL = `
pattern write $sluice/origin/%u
user gw-1
topic write $sluice/up
user gw-2
topic write $sluice/up
user site
topic write $sluice/up
topic write $sluice/origin/+
user app
topic readwrite #
`

/** A line of mosquitto's password file; the password is the name. */
function passwordLine(name: string): string {
  const salt = Buffer.from('0123456789ab')
  const digest = createHash('sha512').update(name).update(salt).digest('base64')
  return `${name}:$6$${salt.toString('base64')}$${digest}\n`
}

async function startCloud(): Promise<NodeProcess> {
  const folder = tempDir()
  writeFileSync(join(folder, 'passwd'), ['gw-1', 'gw-2', 'site', 'app'].map(passwordLine).join(''))
  writeFileSync(join(folder, 'acl'), ACL)
  const files = `password_file = "${join(folder, 'passwd')}"\nacl_file = "${join(folder, 'acl')}"`
  return NodeProcess.start({ config: `node_id = "cloud"\n[mqtt]\n${files}\n` })
}

/** A gateway with one record, which logs in at the cloud under a name. */
async function startGateway(nodeId: string, login: string, cloud: NodeProcess): Promise<NodeProcess> {
  const upstream = `username = "${login}"\npassword = "${login}"`
  const gateway = await NodeProcess.start({ config: gatewayConfig(nodeId, cloud.mqttPort, { upstream }) })
  const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 's', window: 10, reconnectMs: 50 })
  publisher.publish({ mqttTopic: 'a', payload: nodeId })
  await publisher.allAcked()
  publisher.close()
  return gateway
}

test('a login brings the records of the nodes it is allowed to, and no others', async () => {
  const cloud = await startCloud()
  const gateways = [await startGateway('gw-1', 'gw-1', cloud), await startGateway('gw-9', 'site', cloud)]
  try {
    for (const [i, nodeId] of ['gw-1', 'gw-9'].entries())
      await caughtUp([gateways[i], 'telemetry'], [cloud, `${nodeId}.telemetry`])
    // A gateway that says it is another one.
    const thief = await startGateway('gw-2', 'gw-1', cloud)
    gateways.push(thief)
    await until(
      'the thief is refused',
      () => lastError(thief),
      (error) => /may not bring records of gw-2.*\$sluice\/origin\/gw-2/.test(error),
    )
    assert.is(await streamAt(cloud, 'gw-2.telemetry'), undefined)
    assert.match(cloud.output, /what a node forwards was refused.*FORBIDDEN/)
  } finally {
    for (const gateway of gateways) await gateway.kill()
    await cloud.kill()
  }
})

test('a client that may read and write everything neither publishes nor hears anything below $sluice/', async () => {
  const cloud = await startCloud()
  const connect = () =>
    mqtt.connectAsync(cloud.mqttUrl, { username: 'app', password: 'app', reconnectPeriod: 0, clean: true })
  let gateway: NodeProcess | null = null
  try {
    const listener = await connect()
    const heard: string[] = []
    listener.on('message', (topic) => heard.push(topic))
    await listener.subscribeAsync(['$sluice/#', '#']).catch(() => {})
    gateway = await startGateway('gw-1', 'gw-1', cloud)
    await caughtUp([gateway, 'telemetry'], [cloud, 'gw-1.telemetry'])
    for (const topic of ['$sluice/up', '$sluice/down', '$sluice/origin/gw-1']) {
      const client = await connect()
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
      client.on('error', () => {})
      client.publish(topic, 'x', { qos: 1 }, () => {})
      await closed
    }
    await listener.publishAsync('plain', 'x', { qos: 1 })
    await eventually('the listener has heard', () => heard.includes('plain'), 60_000)
    assert.equal(heard, ['plain'])
    await listener.endAsync()
  } finally {
    await gateway?.kill()
    await cloud.kill()
  }
})

test.run()
