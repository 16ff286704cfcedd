import { once } from 'node:events'
import { request } from 'node:http'
import type { Duplex } from 'node:stream'
import { connect } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger, loadValidConfig, type RunningNode, SluiceError, startNode } from '../../src/index.js'
import { tempDir } from '../helpers/temp-dir.js'

const quiet = new Logger('test', 'error')
const TEXT = '[mqtt]\nlisten = ["127.0.0.1:0"]\n[http]\nlisten = ["127.0.0.1:0"]\n'

function statusOf(address: string, path: string): Promise<number | undefined> {
  const [host, port] = address.split(':')
  return new Promise((resolve, reject) => {
    request({ host, port, path }, (answer) => resolve(answer.resume().statusCode))
      .on('error', reject)
      .end()
  })
}

test('a program can run a node in itself, stop it, and run it again on the same data', async () => {
  const dataDir = tempDir()
  const ids: string[] = []
  for (let round = 0; round < 2; round++) {
    const node = await startNode(loadValidConfig({ text: TEXT, dataDir, environment: {} }), { logger: quiet })
    ids.push(node.nodeId)
    assert.is(await statusOf(node.httpAddresses[0], '/healthz'), 200)
    await node.stop()
    await node.stop()
  }
  assert.is(ids[0], ids[1])
})

test('a node that cannot start says why and leaves nothing open', async () => {
  const dataDir = tempDir()
  const config = loadValidConfig({ text: TEXT, dataDir, environment: {} })
  const first = await startNode(config, { logger: quiet })
  try {
    await startNode(config, { logger: quiet })
    assert.unreachable()
  } catch (error) {
    assert.ok(error instanceof SluiceError && error.code === 'DATA_DIR_LOCKED', String(error))
  }
  await first.stop()
  await (await startNode(config, { logger: quiet })).stop()
})

test('a numbered message that is sent again, also after a restart, is stored once and said to be a duplicate', async () => {
  const dataDir = tempDir()
  const text = `${TEXT}[[stream]]\nname = "plant"\ntopics = ["plant/#"]\n`
  const config = loadValidConfig({ text, dataDir, environment: {} })
  const send = (node: RunningNode, epoch: number, sequence: number) =>
    node.publish({
      mqttTopic: 'plant/a',
      payload: Buffer.from(`${epoch}/${sequence}`),
      numberedBy: { id: 'sensor', epoch, sequence },
    })
  const first = await startNode(config, { logger: quiet })
  const inFlight = [1, 2, 5].map((sequence) => send(first, 7, sequence))
  assert.equal(
    [...inFlight, send(first, 7, 2)].map(({ duplicate }) => duplicate),
    [false, false, false, true],
  )
  await Promise.all(inFlight.map(({ durable }) => durable))
  await first.stop()
  assert.throws(
    () => send(first, 7, 6),
    (error: SluiceError) => error.code === 'SHUTTING_DOWN',
  )

  const second = await startNode(config, { logger: quiet })
  const again = [send(second, 7, 1), send(second, 7, 5), send(second, 7, 6), send(second, 8, 1)]
  assert.equal(
    again.map(({ duplicate }) => duplicate),
    [true, true, false, false],
  )
  await Promise.all(again.map(({ durable }) => durable))
  await second.stop()
  const stored = await startNode(config, { logger: quiet })
  const answer = await fetch(`http://${stored.httpAddresses[0]}/v1/streams/plant/partitions/0/records?offset=0`)
  const { records } = (await answer.json()) as { records: { value: string }[] }
  assert.equal(
    records.map(({ value }) => value),
    ['7/1', '7/2', '7/5', '7/6', '8/1'],
  )
  await stored.stop()
})

test('a retained message whose record survived a crash that it did not is retained when it is sent again', async () => {
  const node = await startNode(loadValidConfig({ text: TEXT, dataDir: tempDir(), environment: {} }), { logger: quiet })
  const message = {
    mqttTopic: 'pump/state',
    payload: Buffer.from('on'),
    numberedBy: { id: 'pump', epoch: 1, sequence: 1 },
  }
  await node.publish(message).durable // as a crash leaves it: the record alone
  const again = node.publish({ ...message, retain: true })
  assert.is(again.duplicate, true)
  await again.durable
  const client = connect(`mqtt://${node.mqttAddresses[0].replace(/^mqtt:\/\//, '')}`)
  try {
    const arrived = new Promise<[string, string, boolean]>((resolve) =>
      client.once('message', (topic, payload, { retain }) => resolve([topic, String(payload), retain])),
    )
    await client.subscribeAsync('pump/#')
    assert.equal(await arrived, ['pump/state', 'on', true])
  } finally {
    await client.endAsync(true)
    await node.stop()
  }
})

test('a connection of the program is held to its window, and says when it has got all there is', async () => {
  const node = await startNode(loadValidConfig({ text: TEXT, dataDir: tempDir(), environment: {} }), { logger: quiet })
  try {
    const connect = Buffer.from('100f00044d5154540400000000036f6e65', 'hex') // client id "one", session kept
    const subscribe = Buffer.from('8206000100012301', 'hex') // "#" at QoS 1
    let stream = node.connect()
    stream.write(Buffer.concat([connect, subscribe]))
    await until(stream, 9)
    stream.end(Buffer.from('e000', 'hex'))
    for (let i = 0; i < 5; i++) await node.publish({ mqttTopic: 't', payload: Buffer.of(48 + i) }).durable
    stream = node.connect({ maxInFlight: 2 })
    assert.is(stream.hasMore(), true)
    stream.write(connect)
    const bytes = await until(stream, 4 + 2 * 8)
    assert.match(bytes.toString('hex'), /^20020100320600017400(..)30320600017400(..)31$/, 'two of five')
    for (let id = 1; id <= 5; id++) {
      assert.is(stream.hasMore(), true)
      stream.write(Buffer.of(0x40, 2, 0, id))
      if (id <= 3) await until(stream, 8)
    }
    while (stream.hasMore()) await new Promise((resolve) => setImmediate(resolve))
    stream.destroy()
  } finally {
    await node.stop()
  }
})

async function until(stream: Duplex, bytes: number): Promise<Buffer> {
  let got = Buffer.alloc(0)
  while (got.length < bytes) {
    const [chunk] = (await once(stream, 'data')) as [Buffer]
    got = Buffer.concat([got, chunk])
  }
  assert.is(got.length, bytes, got.toString('hex'))
  return got
}

test.run()
