// What a node offers to the bridge besides publishing: a connection without a login, and tables.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MqttClient } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger, loadValidConfig, type RunningNode, startNode } from '../../src/index.js'
import { tempDir } from '../helpers/temp-dir.js'

const quiet = new Logger('test', 'error', () => {})

/** A node that lets nobody in and allows nothing. */
async function startClosedNode(dataDir: string): Promise<RunningNode> {
  const folder = tempDir()
  for (const name of ['passwd', 'acl']) writeFileSync(join(folder, name), '')
  const files = `password_file = ${JSON.stringify(join(folder, 'passwd'))}\nacl_file = ${JSON.stringify(join(folder, 'acl'))}`
  const text = `[mqtt]\nlisten = ["127.0.0.1:0"]\n${files}\n[http]\nlisten = ["127.0.0.1:0"]\n`
  return startNode(loadValidConfig({ text, dataDir, environment: {} }), { logger: quiet })
}

async function connect(node: RunningNode, clientId: string): Promise<MqttClient> {
  const client = new MqttClient(() => node.connect(), { clientId, clean: false, reconnectPeriod: 0 })
  await new Promise<void>((resolve, reject) => client.once('connect', () => resolve()).once('error', reject))
  return client
}

test('a connection from within needs no login and is held to no ACL, also after a reload', async () => {
  const dataDir = tempDir()
  let node = await startClosedNode(dataDir)
  let client = await connect(node, 'bridge')
  await client.subscribeAsync('down/#', { qos: 1 })
  await node.reload()
  await node.publish({ mqttTopic: 'down/1', payload: Buffer.from('one') }).durable
  const [, payload] = await new Promise<[string, Buffer]>((resolve) => {
    client.once('message', (topic, bytes) => resolve([topic, bytes]))
  })
  assert.is(String(payload), 'one')
  await client.publishAsync('down/2', 'two', { qos: 1 })
  await client.endAsync(true)
  await node.publish({ mqttTopic: 'down/3', payload: Buffer.from('three') }).durable
  await node.stop()

  node = await startClosedNode(dataDir)
  const later = new Promise<string>((resolve) => {
    const again = new MqttClient(() => node.connect(), { clientId: 'bridge', clean: false, reconnectPeriod: 0 })
    again.on('message', (topic) => topic === 'down/3' && resolve(topic))
    client = again
  })
  assert.is(await later, 'down/3', 'the session outlives the node')
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  await node.stop()
  await closed
})

test('a table keeps what a program puts there', async () => {
  const dataDir = tempDir()
  let node = await startClosedNode(dataDir)
  await node.table<number>('devices').put('pump', 7)
  await node.stop()
  node = await startClosedNode(dataDir)
  assert.is(await node.table<number>('devices').get('pump'), 7)
  await node.stop()
})

test.run()
