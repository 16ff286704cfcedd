// test-run: alone, limit 300 s
// A mosquitto whose bridge, as its manual has it and with every default left alone, leads to a node: what it carries both ways.
import mqtt from 'mqtt'
import { test } from 'uvu'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { NodeProcess } from '../helpers/node-process.js'
import { ReliablePublisher } from '../helpers/reliable-publisher.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'

const withMosquitto = unlessSkipped(test, mosquittoMissing)
const STATE = '$SYS/broker/connection/gateway.to-node/state'
const PER_PHASE = 100

/** `try_private` and `notifications` are on unless told otherwise. */
function bridgeTo(port: number, ...more: string[]): Promise<Mosquitto> {
  const config = [
    'connection to-node',
    `address 127.0.0.1:${port}`,
    'remote_clientid gateway.to-node',
    'local_clientid local.to-node',
    'topic up/# out 1',
    'topic down/# in 1',
    'cleansession false',
    'restart_timeout 1',
    ...more,
  ]
  return Mosquitto.start({ config, persistenceDir: tempDir() })
}

/** Payloads that reach a topic filter, in order, each counted once; and when a wanted number is there. */
class Watcher {
  readonly payloads: string[] = []
  private wake: () => void = () => {}

  private constructor(readonly client: mqtt.MqttClient) {
    client.on('message', (_topic, payload) => {
      this.payloads.push(payload.toString())
      this.wake()
    })
  }

  static async on(url: string, filter: string, clientId: string): Promise<Watcher> {
    const client = mqtt.connect(url, { clientId, clean: false, reconnectPeriod: 100 })
    const watcher = new Watcher(client)
    await client.subscribeAsync(filter, { qos: 1 })
    return watcher
  }

  async until(what: string, isSo: (payloads: readonly string[]) => boolean, timeoutMs = 80_000): Promise<void> {
    const until = performance.now() + timeoutMs
    while (!isSo(this.payloads)) {
      const leftMs = until - performance.now()
      if (leftMs <= 0) throw new Error(`not within ${timeoutMs} ms: ${what}; have ${this.payloads.length}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

const has = (from: number, to: number) => (payloads: readonly string[]) => {
  const there = new Set(payloads)
  for (let n = from; n < to; n++) if (!there.has(String(n))) return false
  return true
}
const last = (value: string) => (payloads: readonly string[]) => payloads.at(-1) === value

withMosquitto(
  'a mosquitto bridge with its defaults carries messages both ways, over a SIGKILL of either side',
  async () => {
    const node = await NodeProcess.start()
    const state = await Watcher.on(node.mqttUrl, STATE, 'state')
    const arrivedUp = await Watcher.on(node.mqttUrl, 'up/#', 'up')
    const gateway = await bridgeTo(node.mqttPort)
    await state.until('the bridge says it is connected', last('1'))
    const arrivedDown = await Watcher.on(gateway.url, 'down/#', 'down')
    // Written down now, its subscription is there again before the bridge brings what has waited; mosquitto does this each half hour.
    process.kill(gateway.pid, 'SIGUSR1')
    const up = new ReliablePublisher({ url: gateway.url, clientId: 'device', window: 20, reconnectMs: 50 })
    const down = new ReliablePublisher({ url: node.mqttUrl, clientId: 'operator', window: 20, reconnectMs: 50 })
    const publish = (from: number) => {
      for (let n = from; n < from + PER_PHASE; n++) {
        up.publish({ mqttTopic: `up/${n % 7}`, payload: String(n) })
        down.publish({ mqttTopic: `down/${n % 7}`, payload: String(n) })
      }
    }
    const arrive = async (from: number) => {
      await arrivedUp.until(`${from} and on, up`, has(from, from + PER_PHASE))
      await arrivedDown.until(`${from} and on, down`, has(from, from + PER_PHASE))
    }
    publish(0)
    await arrive(0)

    // The node dies while messages are on their way; the bridge keeps what it has not seen acknowledged.
    publish(PER_PHASE)
    await arrivedUp.until('the first of them are there', (payloads) => payloads.includes(String(PER_PHASE)))
    await node.kill('SIGKILL')
    await node.startAgain()
    await arrive(PER_PHASE)
    await state.until('the bridge says again that it is connected', last('1'))

    // The bridge dies: its will tells, and what is meant for it waits. (What it had taken and not passed on, mosquitto held in memory.)
    await gateway.kill('SIGKILL')
    await state.until('the will of the bridge says that it is gone', last('0'))
    publish(2 * PER_PHASE)
    await gateway.startAgain()
    await arrive(2 * PER_PHASE)
    await state.until('the bridge says once more that it is connected', last('1'))

    const late = await Watcher.on(node.mqttUrl, '$SYS/broker/connection/#', 'late')
    await late.until('its state is retained', (payloads) => payloads.includes('1'))
    for (const { client } of [state, arrivedUp, arrivedDown, late]) client.end(true)
    up.close()
    down.close()
    await gateway.kill()
    await node.kill()
  },
)

test.run()
