// test-run: alone, limit 120 s
import { setTimeout as wait } from 'node:timers/promises'
import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { getJson } from '../helpers/http.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { readStream } from '../helpers/stream-reader.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const COMMANDS = 300
const MISFORTUNES = 4

const gatewayConfig = (type: string, port: number) => `
[[upstream]]
name = "cloud"
type = "${type}"
url = "mqtt://127.0.0.1:${port}"
${type === 'mqtt' ? 'topic = "up/{topic}"' : ''}
downlink = ["plant7/cmd/# -> cmd/#"]
reconnect_min_ms = 20
reconnect_max_ms = 200
`

interface Cloud {
  readonly mqttPort: number
  kill(): Promise<unknown>
}

/** Commands are published in the cloud while the gateway is killed and the link cut, over and over. */
function commandsArrive(type: 'mqtt' | 'sluice', start: () => Promise<Cloud>) {
  return () =>
    withSeed(async (random) => {
      const cloud = await start()
      const link = await TcpProxy.start(cloud.mqttPort)
      const gateway = await NodeProcess.start({ config: gatewayConfig(type, link.port) })
      const cloudUrl = `mqtt://127.0.0.1:${cloud.mqttPort}`
      const seen: string[] = []
      const watcher = await mqtt.connectAsync(cloudUrl, { reconnectPeriod: 0 })
      watcher.on('message', (topic) => seen.push(topic))
      await watcher.subscribeAsync('up/#', { qos: 1 })
      await until(
        'the gateway is connected',
        () => statusOf(gateway),
        ({ connected }) => connected,
      )
      const operator = new ReliablePublisher({ url: cloudUrl, clientId: 'operator', window: 20, reconnectMs: 50 })
      for (let n = 0; n < COMMANDS; n++) operator.publish({ mqttTopic: `plant7/cmd/valve${n % 3}`, payload: String(n) })
      for (let i = 0; i < MISFORTUNES; i++) {
        await wait(random.below(150))
        if (random.chance(0.5)) link.cutAfter(random.below(2000), 'down')
        else {
          await gateway.kill('SIGKILL')
          await gateway.startAgain()
        }
      }
      await operator.allAcked()
      operator.close()
      const arrived = () => readStream(gateway, 'mqtt')
      const messages = await until(
        'every command has arrived',
        arrived,
        (all) => new Set(all.map(({ payload }) => payload)).size >= COMMANDS,
        100_000,
      )
      const topics = new Set(messages.map(({ mqttTopic }) => mqttTopic))
      assert.equal([...topics].sort(), ['cmd/valve0', 'cmd/valve1', 'cmd/valve2'])
      const firsts = [...new Set(messages.map(({ payload }) => Number(payload)))]
      assert.equal(
        firsts,
        Array.from({ length: COMMANDS }, (_, n) => n),
        'each, and the first copies in order',
      )
      await until(
        'nothing waits to go up',
        () => statusOf(gateway),
        ({ backlog_records: backlog }) => backlog === 0,
      )
      assert.equal(seen, [], 'nothing that came down goes up again')
      await watcher.endAsync(true)
      await gateway.kill()
      await link.stop()
      await cloud.kill()
    })
}

const statusOf = (gateway: NodeProcess) =>
  getJson<{ connected: boolean; backlog_records: number }>(`${gateway.httpUrl}/v1/upstreams/cloud`)

unlessSkipped(test, mosquittoMissing)(
  'commands published at a mosquitto all reach the devices, whatever happens to gateway and link, and none goes back up',
  commandsArrive('mqtt', async () => {
    const mosquitto = await Mosquitto.start({ persistenceDir: tempDir() })
    return { mqttPort: mosquitto.port, kill: () => mosquitto.kill() }
  }),
)

test(
  'commands published at another node reach the devices in the same way',
  commandsArrive('sluice', () => NodeProcess.start()),
)

test.run()
