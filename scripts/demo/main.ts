// `npm run demo`: what Sluice is for, in half a minute. Real readings flow through a gateway to a cloud; the uplink is cut; the gateway is killed with SIGKILL
// in the middle of it and started again; the uplink comes back. Then every message the gateway had acknowledged is looked for in
// the cloud. Exit code 1 if one is missing.
//
// Three processes: this one (sensors, uplink, referee), the gateway, and the cloud, which is a Sluice node too, so that nothing else must be installed.

import { setTimeout as wait } from 'node:timers/promises'
import { checkDelivery, numbered } from '../../test/helpers/delivery-check.js'
import { NodeProcess } from '../../test/helpers/node-process.js'
import { type Message, ReliablePublisher } from '../../test/helpers/reliable-publisher.js'
import { readStream, streamEnd } from '../../test/helpers/stream-reader.js'
import { TcpProxy } from '../../test/helpers/tcp-proxy.js'
import { readings, readingsSource } from '../readings.js'

const MESSAGES_PER_SECOND = 2000
const TICK_MS = 20
/** Without progress for so long, draining is given up. */
const STALL_MS = 30_000

const gatewayConfig = (cloudPort: number) => `
[[stream]]
name = "telemetry"
topics = ["#"]

[[upstream]]
name = "cloud"
type = "mqtt"
url = "mqtt://127.0.0.1:${cloudPort}"
streams = ["telemetry"]
topic = "plant7/{topic}"
max_in_flight = 1000
reconnect_min_ms = 100
reconnect_max_ms = 1000
`

interface Scene {
  readonly cloud: NodeProcess
  readonly gateway: NodeProcess
  readonly uplink: TcpProxy
  readonly publisher: ReliablePublisher
  /** What is happening, for the progress line. */
  phase: string
  published: number
}

async function main(): Promise<number> {
  console.log(
    `Starting a cloud broker and a gateway; sensors: ${readingsSource()}, ${MESSAGES_PER_SECOND} a second, QoS 1`,
  )
  const cloud = await NodeProcess.start()
  const uplink = await TcpProxy.start(cloud.mqttPort)
  const gateway = await NodeProcess.start({ config: gatewayConfig(uplink.port) })
  const publisher = new ReliablePublisher({ url: gateway.mqttUrl, clientId: 'sensors', window: 500, reconnectMs: 200 })
  const scene: Scene = { cloud, gateway, uplink, publisher, phase: '', published: 0 }
  const progress = showProgress(scene)
  const sensors = startSensors(scene)

  await play(scene, 'all is well', 3000)
  uplink.refuse(true)
  await play(scene, 'uplink cut', 5000)
  await gateway.kill('SIGKILL')
  await play(scene, 'uplink cut, gateway killed (SIGKILL)', 1500)
  scene.phase = 'uplink cut, gateway starts again'
  await gateway.startAgain()
  await play(scene, 'uplink cut, gateway runs again', 4000)
  uplink.refuse(false)
  scene.phase = 'uplink restored'
  const drain = await watchDrain(scene)
  sensors.stop()
  scene.phase = 'sensors silent, draining'
  await publisher.allAcked()
  await everythingArrived(scene)
  progress.stop()
  const arrived = await readStream(cloud, 'mqtt')
  return report(scene, arrived, drain)
}

async function play(scene: Scene, phase: string, durationMs: number): Promise<void> {
  scene.phase = phase
  await wait(durationMs)
}

/** Publishes at a steady rate, whatever happens to the gateway. */
function startSensors(scene: Scene): { stop(): void } {
  const source = readings()
  const startedAt = performance.now()
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * MESSAGES_PER_SECOND
    while (scene.published < due) scene.publisher.publish(numbered(source.next().value, scene.published++))
  }, TICK_MS)
  return { stop: () => clearInterval(timer) }
}

interface Drain {
  /** Records in the gateway that the cloud did not have when the uplink came back. */
  readonly waiting: number
  /** Until the cloud had as many records as the gateway had then, while the sensors went on. */
  readonly seconds: number
}

async function watchDrain({ cloud, gateway }: Scene): Promise<Drain> {
  const restoredAt = performance.now()
  const target = await streamEnd(gateway, 'telemetry')
  const waiting = target - (await streamEnd(cloud, 'mqtt'))
  await growsTo(cloud, target)
  return { waiting, seconds: (performance.now() - restoredAt) / 1000 }
}

async function everythingArrived({ cloud, gateway }: Scene): Promise<void> {
  await growsTo(cloud, await streamEnd(gateway, 'telemetry'))
  // A repeated record makes the count right too early: wait until no more come.
  for (let before = -1, now = 0; before !== now; ) {
    before = now
    await wait(500)
    now = await streamEnd(cloud, 'mqtt')
  }
}

/** Resolves when the cloud holds `target` records, or nothing has come for too long: then the table shows what is missing. */
async function growsTo(cloud: NodeProcess, target: number): Promise<void> {
  let last = -1
  for (let lastChangeAt = performance.now(); performance.now() - lastChangeAt < STALL_MS; await wait(50)) {
    const end = await streamEnd(cloud, 'mqtt')
    if (end >= target) return
    if (end !== last) lastChangeAt = performance.now()
    last = end
  }
}

function showProgress(scene: Scene): { stop(): void } {
  const startedAt = performance.now()
  let lastPhase = ''
  const show = async () => {
    const delivered = await streamEnd(scene.cloud, 'mqtt').catch(() => 0)
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0).padStart(3)
    const counts = `acked ${scene.publisher.acked.length}  in the cloud ${delivered}`
    const line = `${seconds} s  ${counts}  ${scene.phase}`
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line}`)
    else if (scene.phase !== lastPhase) console.log(line)
    lastPhase = scene.phase
  }
  const timer = setInterval(show, 200)
  return {
    stop() {
      clearInterval(timer)
      if (process.stdout.isTTY) process.stdout.write('\r\x1b[K')
    },
  }
}

function report({ publisher, published }: Scene, arrived: readonly Message[], drain: Drain): number {
  const { delivered, lost, duplicated, outOfOrder } = checkDelivery(publisher.acked, arrived)
  const rows: [string, string | number, string][] = [
    ['published', published, 'readings handed to the MQTT client'],
    ['acknowledged', publisher.acked.length, 'PUBACK received: the gateway has it on disk'],
    ['sent again', publisher.resent, 'by the client: the ack was lost with the gateway'],
    ['delivered', delivered, 'different readings found in the cloud'],
    ['duplicated', duplicated, 'came a second time (QoS 1 allows it)'],
    ['out of order', outOfOrder, 'first copies that came after a later one of their topic'],
    ['lost', lost, 'acknowledged but not in the cloud'],
    [
      'time to drain',
      `${drain.seconds.toFixed(1)} s`,
      `${drain.waiting} records were waiting when the uplink came back`,
    ],
  ]
  console.log()
  for (const [name, figure, meaning] of rows)
    console.log(`${name.padEnd(14)} ${String(figure).padStart(8)}   ${meaning}`)
  console.log(
    lost === 0 ? '\nNothing that was acknowledged is missing.' : `\n${lost} acknowledged readings are MISSING.`,
  )
  return lost === 0 ? 0 : 1
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
process.exit(await main())
