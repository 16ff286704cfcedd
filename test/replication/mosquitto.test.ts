import mqtt from 'mqtt'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { eventually } from '../helpers/eventually.js'
import { Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { TcpProxy } from '../helpers/tcp-proxy.js'
import { checkArrived, UpstreamBench, upstreamTo } from './upstream-bench.js'

const WAIT_MS = 60_000

const withMosquitto = unlessSkipped(test, mosquittoMissing)

/** Collects everything that is published there, in order. */
async function collect(port: number, into: string[]): Promise<() => Promise<void>> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 })
  client.on('message', (_topic, payload) => into.push(payload.toString()))
  await new Promise<void>((resolve, reject) => {
    client.on('error', reject)
    client.on('connect', () => client.subscribe('#', { qos: 1 }, (error) => (error ? reject(error) : resolve())))
  })
  return () => client.endAsync(true)
}

withMosquitto('a real mosquitto gets everything in order through a link that is cut, black-holed and slow', () =>
  withSeed(async (random) => {
    const bench = await UpstreamBench.open([{ name: 'telemetry', partitions: 2 }])
    const mosquitto = await Mosquitto.start()
    const proxy = await TcpProxy.start(mosquitto.port)
    const arrived: string[] = []
    const stopCollecting = await collect(mosquitto.port, arrived)
    try {
      bench.start(upstreamTo(proxy.port, { maxInFlight: 100, ackTimeoutMs: 200 }))
      const faults = [
        () => proxy.cutAll(),
        () => proxy.cutAfter(1 + random.below(5000), 'up'),
        () => proxy.cutAfter(1 + random.below(200), 'down'),
        () => proxy.blackHole(random.chance(0.3)),
        () => proxy.delay(random.below(20)),
        () => proxy.throttle(random.chance(0.5) ? null : 200_000),
      ]
      for (let written = 0; written < 20_000; written += 500) {
        await bench.write(500)
        faults[random.below(faults.length)]()
        await new Promise((resolve) => setTimeout(resolve, random.below(20)))
      }
      proxy.blackHole(false)
      proxy.delay(0)
      proxy.throttle(null)
      await bench.drained()
      await eventually('every record has arrived', () => new Set(arrived).size === 20_000, WAIT_MS)
      checkArrived(arrived, 20_000, 100)
      assert.ok(proxy.accepted > 3, `${proxy.accepted} connections`)
    } finally {
      await bench.close()
      await stopCollecting()
      await proxy.stop()
      await mosquitto.kill()
    }
  }),
)

withMosquitto(
  'a mosquitto that is not there yet, and one that is restarted, get what was stored meanwhile',
  async () => {
    const bench = await UpstreamBench.open()
    const mosquitto = await Mosquitto.notYetStarted()
    const arrived: string[] = []
    let stopCollecting = async (): Promise<void> => {}
    try {
      bench.start(upstreamTo(mosquitto.port))
      await bench.write(1000)
      assert.is(bench.status().connected, false)
      // The upstream connects by itself; the collector has to be there before it.
      await bench.upstreams?.pause('cloud')
      await mosquitto.startAgain()
      stopCollecting = await collect(mosquitto.port, arrived)
      await bench.upstreams?.resume('cloud')
      await bench.drained()
      await eventually('what was stored before', () => arrived.length >= 1000, WAIT_MS)
      await bench.upstreams?.pause('cloud')
      await mosquitto.kill('SIGKILL')
      await bench.write(1000)
      await mosquitto.startAgain()
      stopCollecting = await collect(mosquitto.port, arrived)
      await bench.upstreams?.resume('cloud')
      await bench.drained()
      await eventually('what was stored meanwhile', () => arrived.length >= 2000, WAIT_MS)
      assert.is(checkArrived(arrived, 2000, 0), 0)
    } finally {
      await bench.close()
      await stopCollecting()
      await mosquitto.kill()
    }
  },
)

test.run()
