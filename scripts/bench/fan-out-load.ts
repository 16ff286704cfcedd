// One publisher, many subscribers, QoS 0: how many messages a second arrive, over all subscribers. The publisher keeps no more messages ahead of the
// slowest subscriber than a window, so that no broker has reason to drop one. All packets have one size, so that counting bytes counts
// messages. Takes its shape as JSON in the first argument. `busy` is how much of a core it used itself: near 1, it is what is measured.

import { encodePublish, encodeSubscribe } from '../../src/cli/bench/mqtt-packets.js'
import { fail, finish, LoadConnection, wait } from './load-connection.js'

export interface FanOutShape {
  readonly port: number
  readonly subscribers: number
  readonly payloadBytes: number
  /** Messages ahead of the slowest subscriber. */
  readonly window: number
  /** Messages that the publisher sends in one write. */
  readonly burst: number
  readonly warmUpMs: number
  readonly measureMs: number
}

export interface FanOutResult {
  readonly deliveriesPerSecond: number
  readonly busy: number
}

const shape = JSON.parse(process.argv[2]) as FanOutShape
const TOPIC = 'bench/fan/out'
const packet = encodePublish(TOPIC, Buffer.alloc(shape.payloadBytes, 0x2e), 0, 0)
const received = new Array<number>(shape.subscribers).fill(0)
let started = false

for (let i = 0; i < shape.subscribers; i++) {
  const connection = await LoadConnection.open(shape.port, `subscriber-${i}`)
  await new Promise<void>((resolve) => {
    connection.onBytes = (bytes) => {
      if (bytes[0] !== 0x90) fail('no SUBACK')
      connection.onBytes = (more) => {
        received[i] += more.length
        if (started) publish()
      }
      resolve()
    }
    connection.socket.write(encodeSubscribe(TOPIC, 0))
  })
}
const publisher = await LoadConnection.open(shape.port, 'publisher')
const batch = Buffer.concat(new Array<Buffer>(shape.burst).fill(packet))
let published = 0

function publish(): void {
  let slowest = received[0]
  for (const bytes of received) if (bytes < slowest) slowest = bytes
  while (published + batch.length - slowest <= shape.window * packet.length) {
    publisher.socket.write(batch)
    published += batch.length
  }
}

started = true
publish()
await wait(shape.warmUpMs)
const total = () => received.reduce((sum, bytes) => sum + bytes, 0) / packet.length
const [startedAt, before, cpu] = [performance.now(), total(), process.cpuUsage()]
await wait(shape.measureMs)
const seconds = (performance.now() - startedAt) / 1000
const { user, system } = process.cpuUsage(cpu)
const result: FanOutResult = {
  deliveriesPerSecond: (total() - before) / seconds,
  busy: (user + system) / 1e6 / seconds,
}
finish(result)
