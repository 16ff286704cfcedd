// What an MQTT-SN client is owed when things go wrong around it: crashes in the middle of a handshake, a full disk, sleep that nobody wakes from,
// retention that overtakes it.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson, requestJson } from '../helpers/http.js'
import { NodeProcess } from '../helpers/node-process.js'
import { SmallDisk } from '../helpers/small-disk.js'
import { readStream } from '../helpers/stream-reader.js'
import { freeUdpPort } from '../helpers/udp-proxy.js'
import { until } from '../helpers/until.js'
import { withBench } from './mqttsn-bench.js'
import { RawSnClient, w } from './raw-sn-client.js'

const WAIT_MS = 60_000
const stops: (() => unknown)[] = []
test.after.each(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

/** A node in a process of its own, and a client of its gateway. */
async function nodeAndClient(config = '', dataDir?: string) {
  const udpPort = await freeUdpPort()
  const limits =
    'max_packet_rate = 100000\nmax_packet_rate_per_address = 100000\nmax_byte_rate_per_address = "1GB/s"\nmax_frame_size = "4KB"\n'
  const entry = `[[firmware]]\nname = "air"\ntype = "mqtt-sn"\nlisten = ["127.0.0.1:${udpPort}"]\ntopic_prefix = ""\nretry_interval = "200ms"\n${limits}`
  const node = await NodeProcess.start({ config: `${config}\n${entry}`, ...(dataDir !== undefined && { dataDir }) })
  stops.push(() => node.kill('SIGKILL'))
  const client = await RawSnClient.open(udpPort)
  stops.push(() => client.close())
  return { node, client }
}

/** CONNECT with a will, clean. */
async function connectWithWill(client: RawSnClient, keepalive: number): Promise<void> {
  client.send(0x04, 0x0c, 1, w(keepalive), 'pump')
  assert.is(await client.next(), '0206')
  client.send(0x07, 0x20, 'down/pump')
  assert.is(await client.next(), '0208')
  client.send(0x09, 'gone')
  assert.is(await client.next(), '030500')
}

test('the will of a client that was lost with its node is published by the next start', async () => {
  const { node, client } = await nodeAndClient()
  await connectWithWill(client, 2)
  await node.kill('SIGKILL')
  await node.startAgain()
  const stored = await until(
    'the will is stored',
    () => readStream(node, 'mqtt'),
    (messages) => messages.length > 0,
  )
  assert.equal(stored, [{ mqttTopic: 'down/pump', payload: 'gone' }])
})

test('a client that does not wake in time is lost, and its will published', () =>
  withBench('', async (bench) => {
    const client = await bench.client()
    await connectWithWill(client, 60)
    client.send(0x18, w(1))
    assert.is(await client.next(), '0218')
    assert.equal(await bench.values(), [])
    const began = performance.now()
    const stored = await until(
      'the will is stored',
      () => bench.records(),
      (records) => records.length > 0,
    )
    assert.equal(stored, [{ topic: 'down/pump', value: 'gone' }])
    assert.ok(performance.now() - began > 500, 'it slept for a second, and half of one is granted')
    client.send(0x16, 'pump')
    assert.is(await client.next(), '0218', 'it is told to connect again')
  }))

test('a QoS 2 message to a client whose PUBREC came before a SIGKILL of the node is released after it, and not sent twice', async () => {
  const { node, client } = await nodeAndClient()
  await client.connect('pump', { flags: 0 })
  client.send(0x12, 0x42, w(2), 'ab')
  assert.match(await client.next(), /^0813/)
  const body = { topic: 'ab', value: 'once', qos: 2 }
  assert.is((await requestJson(`${node.httpUrl}/v1/streams/mqtt/records`, { method: 'POST', body })).status, 200)
  const publish = await client.next()
  assert.match(publish, /6f6e6365$/)
  const id = publish.slice(10, 14)
  client.sendBytes(Buffer.from(`040f${id}`, 'hex'))
  assert.is(await client.next(), `0410${id}`)
  await node.kill('SIGKILL')
  await node.startAgain()
  // Nothing of it is sent but PUBREL, until PUBCOMP has come.
  assert.is(await client.next(WAIT_MS), `0410${id}`)
  client.sendBytes(Buffer.from(`040e${id}`, 'hex'))
  client.send(0x16)
  let answer = await client.next()
  while (answer === `0410${id}`) answer = await client.next() // sent again before PUBCOMP came
  assert.is(answer, '0217')
})

test('on a full disk a message is answered once, with congestion, and taken once when there is room again', async () => {
  const disk = SmallDisk.make(64)
  if (disk === null) {
    console.log('  skipped: a file system cannot be mounted here')
    return
  }
  stops.push(() => disk.remove())
  const storage =
    '[storage]\nballast_size = "1MB"\n[[stream]]\nname = "mqtt"\ntopics = ["#"]\nretention = { max_bytes = "16MB" }\n'
  const { node, client } = await nodeAndClient(storage, join(disk.path, 'data'))
  await client.connect('pump', { flags: 0 })
  const contentOf = (messageId: number) => `m${messageId}`.padEnd(4000, '.')
  const answerTo = (messageId: number, returnCode: string) =>
    `070d6162${Buffer.from(w(messageId)).toString('hex')}${returnCode}`
  const send = async (messageId: number, dup: boolean): Promise<string> => {
    client.send(0x0c, dup ? 0xa2 : 0x22, 'ab', w(messageId), contentOf(messageId))
    return client.next()
  }
  assert.is(await send(1, false), answerTo(1, '00'))
  await disk.fillUp()
  // Small writes fit into what is there for a while.
  let messageId = 1
  let answer: string
  do answer = await send(++messageId, false)
  while (answer === answerTo(messageId, '00') && messageId < 20_000)
  for (let resend = 0; resend < 5; resend++) {
    assert.is(answer, answerTo(messageId, '01'))
    // Nothing more was said of it.
    client.send(0x16)
    assert.is(await client.next(), '0217')
    answer = await send(messageId, true)
  }
  disk.free()
  answer = await until(
    'there is room again',
    () => send(messageId, true),
    (again) => again !== answerTo(messageId, '01'),
  )
  assert.is(answer, answerTo(messageId, '00'))
  assert.is(await send(messageId, true), answerTo(messageId, '00'), 'a resend of it is known')
  assert.equal(client.received, [])
  const stored = (await readStream(node, 'mqtt')).map(({ payload }) => payload)
  assert.equal(
    stored,
    Array.from({ length: messageId }, (_, i) => contentOf(i + 1)),
  )
})

test('what retention takes from a client that sleeps is in the ledger by its name', async () => {
  const { node, client } = await nodeAndClient(
    '[[stream]]\nname = "mqtt"\ntopics = ["#"]\nretention = { max_bytes = "1MB" }\n',
  )
  await client.connect('pump', { flags: 0 })
  client.send(0x12, 0x20, w(2), 'ab')
  assert.match(await client.next(), /^0813/)
  client.send(0x18, w(600))
  assert.is(await client.next(), '0218')
  const value = 'x'.repeat(50_000)
  const records = Array.from({ length: 40 }, () => ({ topic: 'other', value }))
  const post = (body: object) => requestJson(`${node.httpUrl}/v1/streams/mqtt/records`, { method: 'POST', body })
  assert.is((await post({ topic: 'ab', value: 'lost' })).status, 200)
  for (let i = 0; i < 4; i++) assert.is((await post({ records })).status, 200)
  assert.is((await post({ topic: 'ab', value: 'kept' })).status, 200)
  await until(
    'retention has taken something',
    () => getJson<{ partitions: { log_start_offset: number }[] }>(`${node.httpUrl}/v1/streams/mqtt`),
    ({ partitions }) => partitions[0].log_start_offset > 0,
  )
  client.send(0x16, 'pump')
  assert.match(await client.next(), /6b657074$/)
  type Entry = { readonly destination: string; readonly reason: string; readonly first_offset: number }
  const own = await until(
    'the ledger names the session',
    async () => {
      const { entries } = await getJson<{ entries: Entry[] }>(`${node.httpUrl}/v1/ledger`)
      return entries.filter(({ destination }) => destination === 'session:mqttsn/air/pump')
    },
    (rows) => rows.length > 0, // written while the session goes on
  )
  assert.is(own[0].first_offset, 0)
  assert.ok(own.every(({ reason }) => reason === 'session_overtaken'))
})

test.run()
