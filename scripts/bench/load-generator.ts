// Publishes as fast as a broker acknowledges, and counts. A process of its own, so that it can be given a core of its own; takes its shape as JSON in
// the first argument and prints its result as JSON. What is between it and the sockets is src/cli/bench/publisher.ts: compare with the figure of
// the sink (ack-sink.ts) to see that the generator is not what is measured. Acknowledgements inside the measured window are counted.

import { Publisher } from '../../src/cli/bench/publisher.js'

export interface LoadShape {
  readonly port: number
  readonly qos: 0 | 1
  readonly connections: number
  /** Per connection; for QoS 0 the packets of one write. */
  readonly inFlight: number
  readonly payloadBytes: number
  readonly warmUpMs: number
  readonly measureMs: number
}

export interface LoadResult {
  readonly messages: number
  readonly seconds: number
  readonly messagesPerSecond: number
}

const STALL_MS = 30_000

function fail(reason: string): never {
  process.stderr.write(`load generator: ${reason}\n`)
  process.exit(1)
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

async function run(shape: LoadShape): Promise<LoadResult> {
  const publishers: Publisher[] = []
  for (let i = 0; i < shape.connections; i++) {
    const { port, qos, inFlight, payloadBytes } = shape
    const clientId = `load-${process.pid}-${i}`
    const mqttTopic = `bench/${i}/load`
    const publisher = new Publisher({ port, clientId, mqttTopic, qos, inFlight, payloadBytes, onFailure: fail })
    await publisher.connected()
    publishers.push(publisher)
  }
  const acked = () => publishers.reduce((sum, publisher) => sum + publisher.acked, 0)
  for (const publisher of publishers) publisher.start()
  await wait(shape.warmUpMs)
  const startedAt = performance.now()
  const before = acked()
  await wait(shape.measureMs)
  if (shape.qos === 0) {
    setTimeout(() => fail('the broker did not take everything in time'), STALL_MS).unref()
    await Promise.all(publishers.map((publisher) => publisher.finish()))
  }
  const messages = acked() - before
  const seconds = (performance.now() - startedAt) / 1000
  if (messages === 0) fail('not one message was acknowledged in the measured window')
  return { messages, seconds, messagesPerSecond: messages / seconds }
}

process.stdout.write(`${JSON.stringify(await run(JSON.parse(process.argv[2]) as LoadShape))}\n`)
process.exit(0)
