// QoS 1 at a fixed rate, whatever the broker does (open loop): each message has a time at which it ought to leave, and its latency counts from then to
// its PUBACK, so that a broker that stalls pays for every message that had to wait. Then, where asked, many idle connections are opened, and
// it is measured again. Takes its shape as JSON in the first argument; speaks with the program that started it over stdin and stdout, a line each.

import { constants, setPriority } from 'node:os'
import { encodePublish, PUBACK } from '../../src/cli/bench/mqtt-packets.js'
import { checkpoint, fail, finish, LoadConnection, wait } from './load-connection.js'
import { paced } from './pacer.js'
import { quantile } from './statistics.js'

export interface LatencyShape {
  readonly port: number
  readonly connections: number
  readonly messagesPerSecond: number
  readonly payloadBytes: number
  readonly warmUpMs: number
  readonly measureMs: number
  /** Opened after the first measurement; 0: there is no second. */
  readonly idleConnections: number
  readonly idleConnectionsPerSecond: number
}

export interface Latencies {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly messages: number
  /** How much later than it ought to a message left this program; part of the latencies. */
  readonly sentLateP50Ms: number
  readonly sentLateP99Ms: number
  /** From when it really left: what is left of the latency without that. A broker that stalls is not to blame for less than this. */
  readonly fromSendingP99Ms: number
}

export interface LatencyResult {
  readonly alone: Latencies
  readonly besideIdle: Latencies | null
}

const shape = JSON.parse(process.argv[2]) as LatencyShape
const RING = 4096
const IDLE_READ_BYTES = 256
const packets: Buffer[][] = []
/** When the message with this packet identifier ought to have left, per connection. */
const intended: Float64Array[] = []
/** When it did. */
const left: Float64Array[] = []
let latencies: number[] = []
let fromSending: number[] = []
let lateness: number[] = []
const connections: LoadConnection[] = []

// Whoever else wants this core must not make it late. Only root may: without, the lateness that is measured is larger.
try {
  setPriority(constants.priority.PRIORITY_HIGH)
} catch {}

for (let i = 0; i < shape.connections; i++) {
  const connection = await LoadConnection.open(shape.port, `active-${i}`, 4096)
  const payload = Buffer.alloc(shape.payloadBytes, 0x2e)
  packets.push(Array.from({ length: RING }, (_, id) => encodePublish(`bench/${i}/load`, payload, 1, id + 1)))
  intended.push(new Float64Array(RING))
  left.push(new Float64Array(RING))
  let rest = Buffer.alloc(0)
  connection.onBytes = (received) => {
    const now = performance.now()
    const bytes = rest.length === 0 ? received : Buffer.concat([rest, received])
    let at = 0
    for (; at + 4 <= bytes.length; at += 4) {
      if (bytes[at] !== PUBACK) fail('expected PUBACK')
      const id = bytes.readUInt16BE(at + 2) - 1
      latencies.push(now - intended[i][id])
      fromSending.push(now - left[i][id])
    }
    rest = Buffer.from(bytes.subarray(at))
  }
  connections.push(connection)
}

let sent = 0
function publishFor(milliseconds: number): Promise<void> {
  const total = (milliseconds / 1000) * shape.messagesPerSecond
  return paced(total, shape.messagesPerSecond, (_, dueMs) => {
    const connection = sent % shape.connections
    const id = Math.floor(sent / shape.connections) % RING
    intended[connection][id] = dueMs
    left[connection][id] = performance.now()
    lateness.push(left[connection][id] - dueMs)
    connections[connection].socket.write(packets[connection][id])
    sent += 1
  })
}

async function measure(): Promise<Latencies> {
  await publishFor(shape.warmUpMs)
  await wait(200)
  latencies = []
  fromSending = []
  lateness = []
  await publishFor(shape.measureMs)
  await wait(1000)
  const expected = Math.floor((shape.measureMs / 1000) * shape.messagesPerSecond)
  if (latencies.length < expected)
    fail(`${expected - latencies.length} messages have no acknowledgement after a second`)
  return {
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    maxMs: quantile(latencies, 1),
    messages: latencies.length,
    sentLateP50Ms: quantile(lateness, 0.5),
    sentLateP99Ms: quantile(lateness, 0.99),
    fromSendingP99Ms: quantile(fromSending, 0.99),
  }
}

const alone = await measure()
let besideIdle: Latencies | null = null
if (shape.idleConnections > 0) {
  await checkpoint('alone')
  const startMs = performance.now()
  const opening: Promise<unknown>[] = []
  for (let i = 0; i < shape.idleConnections; i++) {
    const due = startMs + (i * 1000) / shape.idleConnectionsPerSecond
    if (performance.now() < due) await wait(5)
    opening.push(LoadConnection.open(shape.port, `idle-${i}`, IDLE_READ_BYTES))
  }
  await Promise.all(opening)
  besideIdle = await measure()
  await checkpoint('idle')
}
const result: LatencyResult = { alone, besideIdle }
finish(result)
