// The clients people have: mosquitto_pub and mosquitto_sub, paho for Python, mqtt.js (test/mqtt uses it throughout).

import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { findProgram } from '../helpers/mosquitto.js'
import { readAll } from '../helpers/open-log.js'
import { Program } from '../helpers/program.js'
import { unlessSkipped } from '../helpers/skip.js'
import { nextMessage, startFront } from '../mqtt/start-front.js'

const run = promisify(execFile)
const missing = (name: string) => (findProgram(name) === null ? `${name} is not installed` : null)
const withMosquittoPub = unlessSkipped(test, missing('mosquitto_pub'))
const withMosquittoSub = unlessSkipped(test, missing('mosquitto_sub') ?? missing('mosquitto_pub'))
// Debian's package belongs to Debian's Python, which need not be the first on the PATH.
const python = ['python3', '/usr/bin/python3'].find((path) => {
  try {
    execFileSync(path, ['-c', 'import paho.mqtt.client'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})
const withPaho = unlessSkipped(test, python === undefined ? 'python3-paho-mqtt is not installed' : null)

for (const qos of ['0', '1', '2'])
  withMosquittoPub(`10-0${qos} mosquitto_pub publishes at QoS ${qos}`, async () => {
    const { port, connect, testLog, stop } = await startFront()
    const subscriber = await connect()
    await subscriber.subscribeAsync('sensors/#', { qos: 2 })
    const message = nextMessage(subscriber)
    await run('mosquitto_pub', ['-p', String(port), '-t', 'sensors/1/temp', '-m', '21.5', '-q', qos])
    assert.is((await message).payload, '21.5')
    assert.is((await message).qos, Number(qos))
    assert.is(testLog.log.stream('mqtt').nextOffset(0 as never), 1)
    await stop()
  })

withMosquittoSub('10-10 mosquitto_sub receives wildcards, retained messages and QoS 2', async () => {
  const { port, connect, stop } = await startFront()
  const publisher = await connect()
  await publisher.publishAsync('state/1', 'retained', { qos: 2, retain: true })
  const subscriber = new Program('mosquitto_sub', ['-p', String(port), '-t', 'state/+', '-q', '2', '-v', '-C', '2'])
  await subscriber.waitFor(/state\/1 retained/)
  await run('mosquitto_pub', ['-p', String(port), '-t', 'state/2', '-m', 'live', '-q', '2'])
  await subscriber.waitFor(/state\/2 live/)
  assert.is((await subscriber.ended).code, 0)
  await stop()
})

withMosquittoSub('10-11 mosquitto_sub with a session of its own gets what it missed', async () => {
  const { port, connect, stop } = await startFront()
  const session = ['-p', String(port), '-i', 'keeper', '-c', '-q', '1', '-t', 'a/#']
  await run('mosquitto_sub', [...session, '-E'])
  const publisher = await connect()
  for (const payload of ['1', '2', '3']) await publisher.publishAsync('a/b', payload, { qos: 1 })
  const { stdout } = await run('mosquitto_sub', [...session, '-C', '3', '-W', '10'])
  assert.equal(stdout.trim().split('\n'), ['1', '2', '3'])
  await stop()
})

withMosquittoPub('10-12 mosquitto_pub speaks MQTT 3.1, and is told that MQTT 5 is not spoken here', async () => {
  const { port, testLog, stop } = await startFront()
  const args = ['-p', String(port), '-t', 'a', '-m', 'x', '-q', '1']
  await run('mosquitto_pub', [...args, '-V', 'mqttv31'])
  assert.is((await readAll(testLog.log, 'mqtt')).length, 1)
  const failure = await run('mosquitto_pub', [...args, '-V', 'mqttv5']).catch((error) => error)
  assert.instance(failure, Error)
  await stop()
})

withMosquittoSub('10-13 the will of a mosquitto_sub that is killed is delivered', async () => {
  const { port, connect, stop } = await startFront()
  const watcher = await connect()
  await watcher.subscribeAsync('wills/#', { qos: 1 })
  const message = nextMessage(watcher)
  const will = ['--will-topic', 'wills/sub', '--will-payload', 'gone', '--will-qos', '1']
  // It prints this once it has subscribed.
  await watcher.publishAsync('x', 'ready', { qos: 1, retain: true })
  const subscriber = new Program('mosquitto_sub', ['-p', String(port), '-t', 'x', ...will])
  await subscriber.waitFor(/ready/)
  await subscriber.stop('SIGKILL')
  assert.equal([(await message).topic, (await message).payload, (await message).qos], ['wills/sub', 'gone', 1])
  await stop()
})

withPaho('10-20 paho publishes 300 messages at each QoS and receives them', async () => {
  const { port, testLog, stop } = await startFront()
  const script = `
import paho.mqtt.client as paho
import sys, threading
kwargs = {}
if hasattr(paho, 'CallbackAPIVersion'): kwargs['callback_api_version'] = paho.CallbackAPIVersion.VERSION1
client = paho.Client(client_id='py', **kwargs)
received, done, ready = [], threading.Event(), threading.Event()
def on_message(c, u, m):
    received.append((m.qos, m.payload.decode()))
    if len(received) == 900: done.set()
client.on_message = on_message
client.on_subscribe = lambda *a: ready.set()
client.max_inflight_messages_set(50)
client.connect('127.0.0.1', ${port})
client.loop_start()
client.subscribe('py/#', 2)
ready.wait(10)
for i in range(300):
    for qos in (0, 1, 2): client.publish('py/%d' % qos, str(i), qos)
if not done.wait(20): sys.exit('received %d' % len(received))
for qos in (0, 1, 2):
    assert [p for q, p in received if q == qos] == [str(i) for i in range(300)], qos
client.disconnect()
`
  await run(python ?? '', ['-c', script], { timeout: 40_000 })
  assert.is((await readAll(testLog.log, 'mqtt')).length, 900)
  await stop()
})

test.run()
