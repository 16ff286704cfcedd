// A node elsewhere as the bridge sees it, on links that break.

import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MqttLink } from '../../firmware-bridge/devices/mqtt-link.js'
import { PublishQueue } from '../../firmware-bridge/remote/publish-queue.js'
import { RemoteNode } from '../../firmware-bridge/remote/remote-node.js'
import { startRemoteBridge } from '../../firmware-bridge/start-remote-bridge.js'
import { Logger, loadValidConfig, type RunningNode, SluiceError, startNode } from '../../src/index.js'
import { Authority, opensslMissing } from '../helpers/certificates.js'
import { codeOf } from '../helpers/rejection.js'
import { unlessSkipped } from '../helpers/skip.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { tempDir } from '../helpers/temp-dir.js'
import { freeUdpPort } from '../helpers/udp-proxy.js'
import { RawSnClient, w } from './raw-sn-client.js'

const quiet = new Logger('test', 'error', () => {})
const stops: (() => Promise<unknown>)[] = []
test.after.each(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

async function startPlainNode(http = 'listen = ["127.0.0.1:0"]\n'): Promise<RunningNode> {
  const text = `[mqtt]\nlisten = ["127.0.0.1:0"]\nmax_packet_size = "64KB"\n[http]\n${http}`
  const config = loadValidConfig({ text, dataDir: tempDir(), environment: {} })
  const node = await startNode(config, { logger: quiet })
  stops.push(() => node.stop())
  return node
}

function remote(url: string, more: Partial<ConstructorParameters<typeof RemoteNode>[0]> = {}): RemoteNode {
  const node = new RemoteNode({ url, name: 'shed', logger: quiet, ...more })
  stops.push(() => node.stop())
  return node
}

async function bench() {
  const node = await startPlainNode()
  const proxy = await TcpProxy.start(Number(node.httpAddresses[0].split(':').at(-1)))
  stops.push(() => proxy.stop())
  const bridge = remote(`http://127.0.0.1:${proxy.port}`, { answerTimeoutMs: 1000 })
  return { node, proxy, bridge, records: () => recordsOf(node) }
}

async function recordsOf(node: RunningNode): Promise<string[]> {
  const url = `http://${node.httpAddresses[0]}/v1/streams/mqtt/partitions/0/records?offset=0&max_records=10000`
  const { records } = (await (await fetch(url)).json()) as { records: { value: string }[] }
  return records.map(({ value }) => value)
}

const numberedMessage = (sequence: number, id = 'serial/pump', epoch = 1) => ({
  mqttTopic: 'devices/pump/m',
  payload: Buffer.from(`${id}-${sequence}`),
  numberedBy: { id, epoch, sequence },
})

test('messages whose answer was lost are sent again and stored once, with a number of their own or without', async () => {
  const { proxy, bridge, records } = await bench()
  await bridge.publish(numberedMessage(1)).durable
  // The request arrives whole; of its answer nothing does.
  proxy.cutAfter(1, 'down')
  const published = [2, 3].map((sequence) => bridge.publish(numberedMessage(sequence)))
  const will = bridge.publish({ mqttTopic: 'devices/pump/will', payload: Buffer.from('gone') })
  await Promise.all([...published, will].map(({ durable }) => durable))
  assert.equal(await records(), ['serial/pump-1', 'serial/pump-2', 'serial/pump-3', 'gone'])
  assert.equal(
    [...published, will].map(({ duplicate }) => duplicate),
    [true, true, true],
    'the node had them',
  )
})

test('a request that the node does not answer in time is given up and sent again', async () => {
  const { proxy, bridge, records } = await bench()
  await bridge.publish(numberedMessage(1)).durable
  proxy.blackHole(true)
  const { durable } = bridge.publish(numberedMessage(2))
  await proxy.until(() => proxy.accepted >= 2)
  proxy.blackHole(false)
  await durable
  assert.equal(await records(), ['serial/pump-1', 'serial/pump-2'])
})

test('a request that comes after a later one is refused: it was given up', async () => {
  const { node } = await bench()
  const post = async (number: number) => {
    const message = { topic: 'a', value_base64: 'YQ==', qos: 1, numbered: { by: 'd', epoch: number, sequence: 0 } }
    const answer = await fetch(`http://${node.httpAddresses[0]}/v1/bridges/shed/messages?run=r`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ number, messages: [message] }),
    })
    return answer.status
  }
  assert.equal([await post(1), await post(2), await post(2), await post(1)], [200, 200, 200, 409])
  assert.equal(await recordsOf(node), ['a', 'a'])
})

test('a message that is refused holds back what its device sent behind it, and nobody else', async () => {
  const { bridge, records } = await bench()
  const invalid = { ...numberedMessage(2), mqttTopic: 'devices/+/m' }
  const published = [
    bridge.publish(numberedMessage(1)),
    bridge.publish(invalid),
    bridge.publish(numberedMessage(3)),
    bridge.publish(numberedMessage(1, 'serial/other')),
  ]
  const outcomes = await Promise.allSettled(published.map(({ durable }) => durable))
  assert.equal(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'stored' : (outcome.reason as SluiceError).code)),
    ['stored', 'INVALID_TOPIC', 'TOO_MANY_REQUESTS', 'stored'],
  )
  assert.equal(await records(), ['serial/pump-1', 'serial/other-1'])
})

test('of a device that numbers by epochs one message travels at a time, so that a request sent again stores none twice', async () => {
  const requests: { numbered: { epoch: number } }[][] = []
  const call = async (_method: string, _path: string, body: unknown) => {
    const { messages } = body as { messages: { numbered: { epoch: number } }[] }
    requests.push(messages)
    return { messages: messages.map(() => ({ duplicate: false })) }
  }
  const queue = new PublishQueue({ call } as never, 'shed')
  const published = [1, 2, 3].map((epoch) => queue.publish(numberedMessage(0, 'mqttsn/air/pump', epoch)))
  await Promise.all(published.map(({ durable }) => durable))
  assert.equal(
    requests.map((messages) => messages.map(({ numbered }) => numbered.epoch)),
    [[1], [2], [3]],
  )
})

test('while the node is away a bounded number of messages waits, and the rest is refused', async () => {
  let answered: () => void = () => {}
  const away = new Promise<void>((resolve) => {
    answered = resolve
  })
  let sent = 0
  const call = async (_method: string, _path: string, body: unknown) => {
    const { messages } = body as { messages: unknown[] }
    if (sent++ === 0) {
      await away
      throw new SluiceError('NOT_REACHABLE', 'no node')
    }
    return { messages: messages.map(() => ({ duplicate: false })) }
  }
  const queue = new PublishQueue({ call } as never, 'shed', 10_000)
  const taken: Promise<void>[] = []
  let refused = 0
  for (let sequence = 1; sequence <= 100; sequence++)
    try {
      taken.push(queue.publish(numberedMessage(sequence)).durable)
    } catch (error) {
      assert.is((error as SluiceError).code, 'TOO_MANY_REQUESTS')
      refused += 1
    }
  assert.ok(taken.length > 30 && taken.length < 50, `${taken.length} wait`)
  assert.is(refused, 100 - taken.length)
  const again = queue.publish(numberedMessage(1))
  assert.ok(again.duplicate, 'the same number waits once')
  answered()
  await Promise.all([...taken, again.durable])
  await queue.publish(numberedMessage(101)).durable
})

test('QoS 0 is not sent again when nobody knows whether it was stored', async () => {
  const { proxy, bridge, records } = await bench()
  await bridge.publish(numberedMessage(1)).durable
  proxy.cutAfter(1, 'down')
  const { durable } = bridge.publish({ mqttTopic: 'devices/pump/m', payload: Buffer.from('zero'), qos: 0 })
  const next = bridge.publish(numberedMessage(2))
  assert.is(await codeOf(durable), 'NOT_REACHABLE')
  await next.durable
  assert.equal(await records(), ['serial/pump-1', 'zero', 'serial/pump-2'])
})

test('small facts are kept at the node, each write durable, across bridges and broken links', async () => {
  const { proxy, bridge, node } = await bench()
  const table = bridge.table<{ n: number; bytes: Uint8Array }>('mqttsn')
  const rows = Array.from({ length: 1200 }, (_, i) => `air/${String(i).padStart(4, '0')}`)
  await Promise.all(rows.map((key, n) => table.put(key, { n, bytes: Buffer.of(n & 0xff) })))
  proxy.cutAll()
  await table.delete(rows[3])
  const later = remote(`http://${node.httpAddresses[0]}`).table<{ n: number; bytes: Uint8Array }>('mqttsn')
  assert.is(await later.get(rows[3]), undefined)
  const row = await later.get(rows[700])
  assert.equal([row?.n, row?.bytes.length, row?.bytes[0]], [700, 1, 700 & 0xff])
  const found: string[] = []
  for await (const [key] of later.entries('air/')) found.push(key)
  assert.equal(
    found,
    rows.filter((key) => key !== rows[3]),
  )
})

test('a connection to the node is a session like any other, and ends with the link', async () => {
  const { node, proxy, bridge } = await bench()
  const received: string[] = []
  let onMessage: () => void = () => {}
  let onLost: () => void = () => {}
  const lost = new Promise<void>((resolve) => {
    onLost = resolve
  })
  const owner = {
    onMessage({ payload }: { payload: Buffer }) {
      received.push(String(payload))
      onMessage()
    },
    onRelease() {},
    onPubrec() {},
    onPubcomp() {},
    onLinkLost: () => onLost(),
  }
  const link = new MqttLink(bridge.connect({ maxInFlight: 8 }), 'serial/pump', false, owner)
  assert.ok(await link.opened)
  const granted = await new Promise((resolve) => link.subscribe('cmd/#', 1, resolve))
  assert.is(granted, 1)
  const arrived = new Promise<void>((resolve) => {
    onMessage = resolve
  })
  await node.publish({ mqttTopic: 'cmd/1', payload: Buffer.from('open') }).durable
  await arrived
  assert.equal(received, ['open'])
  proxy.cutAll()
  await lost
})

test('a sleeping client behind a bridge elsewhere is given all that waits before it is told to sleep on, over a slow link', async () => {
  const { node, proxy } = await bench()
  const udpPort = await freeUdpPort()
  const text = `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${udpPort}"]\ntopic_prefix = ""\n`
  const { firmware } = loadValidConfig({ text, dataDir: tempDir(), environment: {} })
  const bridge = await startRemoteBridge(firmware, {
    ...{ url: `http://127.0.0.1:${proxy.port}`, name: 'shed', logger: quiet },
  })
  stops.push(() => bridge.stop())
  const client = await RawSnClient.open(udpPort)
  stops.push(async () => client.close())
  assert.is(await client.connect('pump'), '030500')
  client.send(0x12, 0x20, w(2), 'ab') // SUBSCRIBE to the short topic ab, QoS 1
  assert.match(await client.next(), /^0813/)
  client.send(0x18, w(60))
  assert.is(await client.next(), '0218')
  for (const value of ['one', 'two']) await node.publish({ mqttTopic: 'ab', payload: Buffer.from(value) }).durable
  proxy.delay(400)
  client.send(0x16, 'pump')
  for (const value of ['one', 'two']) {
    const message = await client.next()
    assert.ok(message.endsWith(Buffer.from(value).toString('hex')), message)
    client.sendBytes(Buffer.from(`070d6162${message.slice(10, 14)}00`, 'hex'))
  }
  assert.is(await client.next(), '0217')
  proxy.delay(0)
})

test('a node that asks for a token lets a bridge in with one of scope bridge only', async () => {
  const node = await startPlainNode()
  const url = `http://${node.httpAddresses[0]}`
  const create = async (name: string, scopes: string[], authorization = '') => {
    const headers = { 'content-type': 'application/json', ...(authorization && { authorization }) }
    const answer = await fetch(`${url}/v1/tokens`, { method: 'POST', headers, body: JSON.stringify({ name, scopes }) })
    return ((await answer.json()) as { token: string }).token
  }
  const admin = await create('ops', ['admin'])
  const [mayWrite, mayBridge] = [
    await create('writer', ['write', 'read'], `Bearer ${admin}`),
    await create('shed', ['bridge'], `Bearer ${admin}`),
  ]
  const refused = await fetch(`${url}/v1/bridges/shed/devices?run=r`, {
    method: 'POST',
    headers: { authorization: `Bearer ${mayWrite}`, 'content-type': 'application/json' },
    body: '{"devices":[],"lines":[]}',
  })
  assert.is(refused.status, 403)
  const without = new MqttLink(remote(url).connect(), 'serial/pump', false, NOBODY)
  assert.not(await without.opened)
  const bridge = remote(url, { token: mayBridge })
  await bridge.publish(numberedMessage(1)).durable
  assert.ok(await new MqttLink(bridge.connect(), 'serial/pump', false, NOBODY).opened)
})

const NOBODY = { onMessage() {}, onRelease() {}, onPubrec() {}, onPubcomp() {}, onLinkLost() {} }

unlessSkipped(test, opensslMissing)('over TLS too, to a node whose certificate it was told to trust', async () => {
  const authority = new Authority()
  const { certFile, keyFile } = authority.issue('localhost')
  const node = await startPlainNode(
    `listen = ["https://127.0.0.1:0"]\ncert_file = "${certFile}"\nkey_file = "${keyFile}"\n`,
  )
  const [url] = node.httpAddresses
  const bridge = remote(url, { ca: readFileSync(authority.caFile, 'utf8') })
  await bridge.publish(numberedMessage(1)).durable
  assert.ok(await new MqttLink(bridge.connect(), 'serial/pump', false, NOBODY).opened)
  const stranger = remote(url)
  assert.not(await new MqttLink(stranger.connect(), 'serial/pump', false, NOBODY).opened)
})

test.run()
