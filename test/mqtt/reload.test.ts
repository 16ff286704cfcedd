import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { NodeProcess, runSluice } from '../helpers/node-process.js'
import { tempDir } from '../helpers/temp-dir.js'
import { connectPacket, PINGREQ, RawClient, text } from './raw-client.js'
import { nextMessage, startFront } from './start-front.js'

const folder = tempDir()
const passwordFile = join(folder, 'passwd')
const aclFile = join(folder, 'acl')

async function setPassword(user: string, password: string, create = false): Promise<void> {
  const { code, stderr } = await runSluice(['passwd', create ? '-cb' : '-b', passwordFile, user, password])
  assert.is(code, 0, stderr)
}

test('SIGHUP applies password and ACL files to live connections within a second', async () => {
  for (const user of ['stays', 'leaves', 'changes']) await setPassword(user, `${user}-password`, user === 'stays')
  writeFileSync(aclFile, 'pattern readwrite open/#\npattern readwrite later/revoked/#\n')
  const node = await NodeProcess.start({
    config: `[mqtt]\npassword_file = ${JSON.stringify(passwordFile)}\nacl_file = ${JSON.stringify(aclFile)}\n`,
  })
  const connect = (username: string, password = `${username}-password`): Promise<MqttClient> =>
    mqtt.connectAsync(node.mqttUrl, { username, password, reconnectPeriod: 0 })
  const closed = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', () => resolve()))
  const [stays, leaves, changes] = await Promise.all(['stays', 'leaves', 'changes'].map((user) => connect(user)))
  await stays.subscribeAsync('later/#', { qos: 1 })
  const ends = [closed(leaves), closed(changes)]

  const lines = readFileSync(passwordFile, 'utf8').split('\n')
  writeFileSync(passwordFile, lines.filter((line) => !line.startsWith('leaves:')).join('\n'))
  await setPassword('changes', 'another')
  writeFileSync(aclFile, 'pattern readwrite open/#\npattern read later/granted\npattern write later/#\n')
  const began = performance.now()
  process.kill(node.pid, 'SIGHUP')
  await Promise.all(ends)
  assert.ok(performance.now() - began < 1000)

  const again = await connect('changes', 'another')
  const message = nextMessage(stays)
  await again.publishAsync('later/revoked/x', 'not to be seen', { qos: 1 })
  await again.publishAsync('later/granted', 'x', { qos: 1 })
  assert.is((await message).topic, 'later/granted')
  for (const [user, password] of [
    ['leaves', 'leaves-password'],
    ['changes', 'changes-password'],
  ])
    assert.instance(await connect(user, password).catch((error) => error), Error)

  // A malformed file: nobody is in any more, and the log says why.
  const ended = [closed(stays), closed(again)]
  writeFileSync(passwordFile, 'stays:not a hash\n')
  process.kill(node.pid, 'SIGHUP')
  await Promise.all(ended)
  assert.instance(await connect('stays').catch((error) => error), Error)
  assert.match(node.output, /nobody can log in .*line 1/)
  await node.kill()
})

test('whose password is changed while it is being checked is not let in with the old one', async () => {
  let answer: (known: boolean) => void = () => {}
  const { port, front, stop } = await startFront({
    authenticate: () =>
      new Promise((resolve) => {
        answer = resolve
      }),
  })
  const client = await RawClient.open(port)
  client.write(connectPacket({ flags: 0xc2, payload: Buffer.concat([text('ada'), text('old')]) }), PINGREQ)
  while (front.stats().connections === 0) await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setTimeout(resolve, 50))
  front.accessChanged((username) => username === 'ada')
  answer(true)
  await client.whenClosed()
  assert.equal(client.packets, [])
  await stop()
})

test.run()
