// The load of the `firmware` workload: one simulated device that publishes as much as a serial line of some baud rate carries. Prints its result as
// JSON, after "at start" and "at end" around what is measured.

import { openTtyPort } from '../../firmware-bridge/serial/tty-port.js'
import { Fleet } from '../../firmware-bridge/sim/fleet.js'
import { seededRandom } from '../../firmware-bridge/sim/random.js'
import { SerialStation } from '../../firmware-bridge/sim/serial-station.js'
import { checkpoint, finish, wait } from './load-connection.js'
import { quantile } from './statistics.js'

export interface FirmwareShape {
  readonly payloadBytes: number
  readonly warmUpMs: number
  readonly measureMs: number
  readonly serial: { readonly path: string; readonly baudRate: number; readonly window: number }
}

export interface FirmwareResult {
  readonly seconds: number
  readonly acked: number
  readonly frames: number
  readonly lineBytes: number
  readonly p50Ms: number
  readonly p99Ms: number
}

async function main({ payloadBytes, warmUpMs, measureMs, serial }: FirmwareShape): Promise<FirmwareResult> {
  const random = seededRandom(1)
  const { path, baudRate, window } = serial
  const port = await openTtyPort(path, baudRate)
  const station = new SerialStation(port, { id: 'b', baudRate, damage: 0, random, rate: 0, payloadBytes, window })
  const fleet = new Fleet([station], { random, resetEveryMs: 0, remembers: true })
  const count = () => ({
    atMs: performance.now(),
    acked: station.traffic.counters.acked,
    frames: station.sentFrames,
    lineBytes: station.up.carriedBytes,
  })
  await wait(warmUpMs)
  await checkpoint('start')
  const before = count()
  await wait(measureMs)
  const after = count()
  await checkpoint('end')
  const { latenciesMs } = station.traffic
  fleet.close()
  return {
    seconds: (after.atMs - before.atMs) / 1000,
    acked: after.acked - before.acked,
    frames: after.frames - before.frames,
    lineBytes: after.lineBytes - before.lineBytes,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
  }
}

finish(await main(JSON.parse(process.argv[2]) as FirmwareShape))
