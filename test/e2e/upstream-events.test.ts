import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MiniBroker } from '../helpers/mini-broker.js'
import { NodeProcess } from '../helpers/node-process.js'

test('a program that subscribes to $SYS/sluice/upstream/# is told how each upstream is, and at once when that changes', async () => {
  const broker = await MiniBroker.start()
  const gateway = await NodeProcess.start({
    config: `[[upstream]]\nname = "cloud"\ntype = "mqtt"\nurl = "${broker.url}"\nreconnect_min_ms = 60000`,
  })
  const watcher = await mqtt.connectAsync(gateway.mqttUrl, { reconnectPeriod: 0 })
  const values = new Map<string, string>()
  let wake = (): void => {}
  watcher.on('message', (topic, payload) => {
    values.set(topic.replace('$SYS/sluice/upstream/cloud/', ''), payload.toString())
    wake()
  })
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise<void>((resolve) => (wake = resolve))
  }
  await broker.until(() => broker.connects.length > 0)
  await watcher.subscribeAsync('$SYS/sluice/upstream/#')
  await until(() => values.get('state') === 'idle')
  assert.equal([values.get('backlog/records'), values.get('error')], ['0', ''])
  await broker.stop()
  const changedAt = performance.now()
  await until(() => values.get('state') === 'waiting')
  assert.ok(performance.now() - changedAt < 5000)
  await until(() => values.get('error') !== '')
  assert.match(values.get('error') ?? '', /closed the connection|ECONN/)
  await watcher.endAsync(true)
  await gateway.kill()
})

test.run()
