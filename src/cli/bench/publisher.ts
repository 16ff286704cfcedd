// One MQTT connection that publishes as fast as a broker acknowledges. Packets are encoded before the start, and each answer to a chunk of
// PUBACKs is one write, so that as little as can be is between the measured broker and its figure. Used by `sluice bench` and by the load
// generator of the benchmarks.
//
// QoS 1: `inFlight` packets are kept unacknowledged; a PUBACK out of order or any other packet is a failure. QoS 0: `inFlight` packets a
// write, as long as the socket takes them, then one QoS 1 message, whose PUBACK proves that the broker has taken all before it.

import { connect, type Socket } from 'node:net'
import { CONNACK, encodeConnect, encodePublish, PUBACK } from './mqtt-packets.js'

export interface PublisherOptions {
  readonly port: number
  readonly clientId: string
  readonly mqttTopic: string
  readonly qos: 0 | 1
  readonly inFlight: number
  readonly payloadBytes: number
  /** The connection cannot go on; called once at most, never after `close`. */
  readonly onFailure: (reason: string) => void
  /** Told how long each QoS 1 message took from its write to its PUBACK, milliseconds. */
  readonly onLatency?: (milliseconds: number) => void
}

const SMALLEST_RING = 256
const READ_BUFFER_BYTES = 64 * 1024

export class Publisher {
  /** Messages acknowledged; with QoS 0 handed to the socket. */
  acked = 0
  private readonly socket: Socket
  private readonly ring: Buffer
  private readonly packetBytes: number
  private readonly packets: number
  private readonly sentAtMs: Float64Array
  private next = 0
  private expectedId = 1
  /** Bytes of a PUBACK whose end has not come yet. */
  private rest: Buffer = Buffer.alloc(0)
  private stopped = false
  private failed = false
  /** Takes what the socket has read; the bytes are overwritten by the next read. */
  private onBytes: (bytes: Buffer) => void = () => this.fail('the broker spoke before it was asked')

  constructor(private readonly options: PublisherOptions) {
    const { inFlight, payloadBytes, mqttTopic, qos, port } = options
    this.packets = Math.max(2 * inFlight, SMALLEST_RING)
    this.sentAtMs = new Float64Array(this.packets)
    const payload = Buffer.alloc(payloadBytes, 0x2e)
    const encoded = Array.from({ length: this.packets }, (_, i) => encodePublish(mqttTopic, payload, qos, i + 1))
    this.packetBytes = encoded[0].length
    // Twice over, so that any run of up to `packets` is one slice.
    this.ring = Buffer.concat([...encoded, ...encoded])
    const callback = (length: number, buffer: Uint8Array) => {
      this.onBytes(buffer.subarray(0, length) as Buffer)
      return true
    }
    const onread = { buffer: Buffer.alloc(READ_BUFFER_BYTES), callback }
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    this.socket.on('error', (error) => this.fail(error.message))
    this.socket.on('close', () => this.fail('the broker closed a connection'))
  }

  /** Resolves when the broker has let it in. */
  connected(): Promise<void> {
    this.socket.write(encodeConnect(this.options.clientId))
    return new Promise((resolve) => {
      this.onBytes = (bytes) => {
        if (bytes[0] === CONNACK && bytes[3] === 0) resolve()
        else this.fail(`the broker refused a connection: ${bytes.toString('hex')}`)
      }
    })
  }

  start(): void {
    const { qos, inFlight } = this.options
    if (qos === 1) {
      this.onBytes = (bytes) => this.takeAcks(bytes)
      this.send(inFlight)
      return
    }
    // One write a turn of the event loop: a broker that keeps up would otherwise never let the timers run.
    const fill = () => {
      if (this.stopped) return
      this.acked += inFlight
      if (this.send(inFlight)) setImmediate(fill)
    }
    this.socket.on('drain', fill)
    fill()
  }

  /** Stops sending; resolves when everything sent with QoS 0 so far is known to have been taken by the broker. */
  finish(): Promise<void> {
    this.stopped = true
    if (this.options.qos === 1) return Promise.resolve()
    this.socket.write(encodePublish(this.options.mqttTopic, Buffer.from('end'), 1, 1))
    return new Promise((resolve) => {
      this.onBytes = () => resolve()
    })
  }

  close(): void {
    this.stopped = true
    this.failed = true
    this.socket.destroy()
  }

  private send(count: number): boolean {
    const first = this.next
    this.next = (first + count) % this.packets
    if (this.options.onLatency) {
      const nowMs = performance.now()
      for (let i = 0; i < count; i++) this.sentAtMs[(first + i) % this.packets] = nowMs
    }
    return this.socket.write(this.ring.subarray(first * this.packetBytes, (first + count) * this.packetBytes))
  }

  private takeAcks(received: Buffer): void {
    const bytes = this.rest.length === 0 ? received : Buffer.concat([this.rest, received])
    const end = bytes.length & ~3
    const nowMs = this.options.onLatency ? performance.now() : 0
    for (let at = 0; at < end; at += 4) {
      const id = (bytes[at + 2] << 8) | bytes[at + 3]
      if (bytes[at] !== PUBACK || id !== this.expectedId) {
        this.fail(`expected PUBACK ${this.expectedId}, got packet type ${bytes[at] >> 4} with id ${id}`)
        return
      }
      this.options.onLatency?.(nowMs - this.sentAtMs[id - 1])
      this.expectedId = id === this.packets ? 1 : id + 1
    }
    if (this.rest.length > 0 || end < bytes.length) this.rest = Buffer.from(bytes.subarray(end))
    const acks = end >> 2
    this.acked += acks
    if (!this.stopped && acks > 0) this.send(acks)
  }

  private fail(reason: string): void {
    if (this.failed) return
    this.close()
    this.options.onFailure(reason)
  }
}
