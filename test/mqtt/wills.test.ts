import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { LogLines } from '../helpers/log-lines.js'
import { NodeProcess } from '../helpers/node-process.js'
import { readStream } from '../helpers/stream-reader.js'
import { tempDir } from '../helpers/temp-dir.js'
import { connectPacket, RawClient, subscribePacket, text } from './raw-client.js'
import { startFront } from './start-front.js'

const WILL = 0x04
const QOS1 = 0x08
const CLEAN = 0x02
const USERNAME = 0x80

/** CONNECT with a QoS 1 will. */
function withWill(clientId: string, topic: string, payload: string, username?: string): Buffer {
  const fields = [text(topic), text(payload), ...(username === undefined ? [] : [text(username)])]
  const flags = WILL | QOS1 | CLEAN | (username === undefined ? 0 : USERNAME)
  return connectPacket({ clientId, flags, payload: Buffer.concat(fields) })
}

for (const topic of ['$SYS/broker/version', '$sluice/up'])
  test(`a will to ${topic} is never published, and not tried again and again`, async () => {
    const log = new LogLines()
    const { port, front, testLog, stop } = await startFront({ logger: log.logger })
    const watcher = await RawClient.connected(port, 'watcher')
    watcher.write(subscribePacket(1, [topic, 1]))
    assert.is((await watcher.next())?.first, 0x90)
    await watcher.untilPong()
    const client = await RawClient.open(port)
    client.write(withWill('liar', topic, 'false'))
    assert.equal([...(await client.next())!.body], [0, 0])
    client.socket.destroy()
    await eventually('the will is given up', () => log.having('will not published').length > 0)
    assert.equal(await watcher.untilPong(), [])
    await stop()
    assert.is(log.having('will not published').length, 1)
    assert.is(front.stats().connections, 0)
    assert.equal(
      [...testLog.log.streams.values()].map((stream) => stream.nextOffset(0 as never)),
      [0, 0],
    )
  })

test('a will is published by the rights of its client, also by the node that starts after a SIGKILL', async () => {
  const acl = join(tempDir(), 'acl')
  writeFileSync(acl, 'topic write free/#\ntopic read #\nuser ada\ntopic write ada/#\n')
  const node = await NodeProcess.start({ env: { SLUICE_MQTT_ACL_FILE: acl } })
  const wills = [
    withWill('a', 'free/a', 'allowed'),
    withWill('b', 'ada/b', 'forbidden'),
    withWill('c', 'ada/c', 'allowed', 'ada'),
    withWill('d', 'free/d', 'forbidden', 'ada'),
  ]
  for (const will of wills) {
    const client = await RawClient.open(node.mqttPort)
    client.write(will)
    assert.equal([...(await client.next())!.body], [0, 0])
  }
  await node.kill('SIGKILL')
  await node.startAgain()
  const stored = await readStream(node, 'mqtt')
  assert.equal(
    stored.map(({ mqttTopic, payload }) => `${mqttTopic} ${payload}`),
    ['free/a allowed', 'ada/c allowed'],
  )
  // Published once, and for all.
  await node.kill('SIGKILL')
  await node.startAgain()
  assert.is((await readStream(node, 'mqtt')).length, 2)
  await node.kill()
})

test.run()
