// Publishes as fast as a broker acknowledges, and counts. A process of its own, so that it can be given a core of its own; takes its shape as JSON in
// the first argument and prints its result as JSON. Packets are encoded before the start, and each answer to a chunk of PUBACKs is one write:
// compare with the figure of the sink (ack-sink.ts) to see that the generator is not what is measured.
//
// QoS 1: `inFlight` packets are kept unacknowledged on each connection; acknowledgements inside the measured window are counted. A PUBACK out of
// order or any other packet ends the run. QoS 0: writes as long as the sockets take it, then a QoS 1 message on each connection; its PUBACK
// proves that the broker has taken all before it.

import { connect, type Socket } from 'node:net'
import { CONNACK, encodeConnect, encodePublish, PUBACK } from './mqtt-packets.js'

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

const SMALLEST_RING = 256
const READ_BUFFER_BYTES = 64 * 1024
const STALL_MS = 30_000

class Publisher {
  acked = 0
  private readonly socket: Socket
  private readonly ring: Buffer
  private readonly packetBytes: number
  private readonly packets: number
  private next = 0
  private expectedId = 1
  /** Bytes of a PUBACK whose end has not come yet. */
  private rest: Buffer = Buffer.alloc(0)
  private stopped = false
  /** Takes what the socket has read; the bytes are overwritten by the next read. */
  private onBytes: (bytes: Buffer) => void = () => fail('the broker spoke before it was asked')

  constructor(
    private readonly mqttTopic: string,
    private readonly shape: LoadShape,
  ) {
    this.packets = Math.max(2 * shape.inFlight, SMALLEST_RING)
    const payload = Buffer.alloc(shape.payloadBytes, 0x2e)
    const encoded = Array.from({ length: this.packets }, (_, i) => encodePublish(mqttTopic, payload, shape.qos, i + 1))
    this.packetBytes = encoded[0].length
    // Twice over, so that any run of up to `packets` is one slice.
    this.ring = Buffer.concat([...encoded, ...encoded])
    const callback = (length: number, buffer: Uint8Array) => {
      this.onBytes(buffer.subarray(0, length) as Buffer)
      return true
    }
    const onread = { buffer: Buffer.alloc(READ_BUFFER_BYTES), callback }
    this.socket = connect({ port: shape.port, host: '127.0.0.1', noDelay: true, onread })
    this.socket.on('error', (error) => fail(error.message))
    this.socket.on('close', () => fail('the broker closed a connection'))
  }

  /** Resolves when the broker has let it in. */
  connected(clientId: string): Promise<void> {
    this.socket.write(encodeConnect(clientId))
    return new Promise((resolve) => {
      this.onBytes = (bytes) => {
        if (bytes[0] !== CONNACK || bytes[3] !== 0) fail(`the broker refused a connection: ${bytes.toString('hex')}`)
        resolve()
      }
    })
  }

  start(): void {
    if (this.shape.qos === 1) {
      this.onBytes = (bytes) => this.takeAcks(bytes)
      this.send(this.shape.inFlight)
      return
    }
    // One write a turn of the event loop: a broker that keeps up would otherwise never let the timers run.
    const fill = () => {
      if (this.stopped) return
      this.acked += this.shape.inFlight
      if (this.send(this.shape.inFlight)) setImmediate(fill)
    }
    this.socket.on('drain', fill)
    fill()
  }

  /** Stops sending; resolves when everything sent so far is known to have been taken by the broker. */
  finish(): Promise<void> {
    this.stopped = true
    if (this.shape.qos === 1) return Promise.resolve()
    this.socket.write(encodePublish(this.mqttTopic, Buffer.from('end'), 1, 1))
    return new Promise((resolve) => {
      this.onBytes = () => resolve()
    })
  }

  private send(count: number): boolean {
    const from = this.next * this.packetBytes
    this.next = (this.next + count) % this.packets
    return this.socket.write(this.ring.subarray(from, from + count * this.packetBytes))
  }

  private takeAcks(received: Buffer): void {
    const bytes = this.rest.length === 0 ? received : Buffer.concat([this.rest, received])
    const end = bytes.length & ~3
    for (let at = 0; at < end; at += 4) {
      const id = (bytes[at + 2] << 8) | bytes[at + 3]
      if (bytes[at] !== PUBACK || id !== this.expectedId) {
        fail(`expected PUBACK ${this.expectedId}, got packet type ${bytes[at] >> 4} with id ${id}`)
      }
      this.expectedId = this.expectedId === this.packets ? 1 : this.expectedId + 1
    }
    if (this.rest.length > 0 || end < bytes.length) this.rest = Buffer.from(bytes.subarray(end))
    const acks = end >> 2
    this.acked += acks
    if (!this.stopped && acks > 0) this.send(acks)
  }
}

function fail(reason: string): never {
  process.stderr.write(`load generator: ${reason}\n`)
  process.exit(1)
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

async function run(shape: LoadShape): Promise<LoadResult> {
  const publishers: Publisher[] = []
  for (let i = 0; i < shape.connections; i++) {
    const publisher = new Publisher(`bench/${i}/load`, shape)
    await publisher.connected(`load-${process.pid}-${i}`)
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
