// One device on one line: hello, messages in order, acks once they are durable. Takes any bytes; holds at most one frame and `window` messages.
// Created by WatchedPort for each time a port is opened; everything that must outlive it is in the log.

import type { Duplex } from 'node:stream'
import { type Logger, type NodeMessage, type NodePublish, SluiceError } from '../../src/index.js'
import { countRejection, type Device, type LineStatus, type Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { CobsReader } from './cobs.js'
import { openFrame, sealFrame } from './frame.js'
import { type BridgeMessage, type DeviceMessage, deviceMessageOf, PROTOCOL_VERSION, REFUSED } from './messages.js'
import { Uplink } from './uplink.js'

/** Answers that wait for a line that does not take them, bytes; more are dropped, and the device asks again. */
const MAX_WAITING_BYTES = 64 * 1024
const MIN_REFUSAL_INTERVAL_MS = 1000
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
const REFUSALS: { readonly [reason: number]: Rejection } = {
  [REFUSED.sayHello]: 'no_session',
  [REFUSED.version]: 'wrong_version',
  [REFUSED.device]: 'unknown_device',
}

export interface SerialSessionOptions {
  /** The publish of a node. */
  readonly publish: (message: NodeMessage) => NodePublish
  /** Null for one that may not speak here. */
  readonly findDevice: (id: string) => KnownDevice | null
  /** The device has said hello, and may. */
  readonly joined: (id: string) => Device
  readonly heard: (device: Device) => void
  readonly status: LineStatus
  /** Unacknowledged messages, at most, inclusive. */
  readonly window: number
  /** Longest content of a frame, bytes, inclusive. */
  readonly maxFrameBytes: number
  /** A new epoch, from 1 to 2^32 - 1, never the same again. */
  readonly newEpoch: () => number
  readonly wallMs: () => number
  readonly monotonicMs: () => number
  readonly logger: Logger
}

/** A device that has said hello. */
interface Joined {
  readonly known: KnownDevice
  readonly device: Device
  readonly epoch: number
  readonly uplink: Uplink
}

export class SerialSession {
  private readonly reader: CobsReader
  private joined: Joined | null = null
  private refusedAtMs = -MIN_REFUSAL_INTERVAL_MS

  constructor(
    private readonly port: Duplex,
    private readonly options: SerialSessionOptions,
  ) {
    this.reader = new CobsReader(options.maxFrameBytes)
    port.on('data', (chunk: Buffer) => this.receive(chunk))
  }

  /** The port is gone. */
  end(): void {
    this.leave()
  }

  /** Who may not speak any more is cut off. */
  devicesChanged(): void {
    if (this.joined !== null && this.options.findDevice(this.joined.known.id) === null) this.leave()
  }

  private leave(): void {
    if (this.joined === null) return
    this.joined.uplink.end()
    this.joined.device.connected = false
    this.joined = null
  }

  private receive(chunk: Buffer): void {
    const { reader } = this
    const { status } = this.options
    status.receivedBytes += chunk.length
    const before = reader.malformed + reader.tooLong
    reader.push(chunk, (content) => this.take(content))
    const damaged = reader.malformed + reader.tooLong - before
    for (let i = 0; i < damaged; i++) this.damaged()
  }

  private damaged(): void {
    this.options.status.damagedFrames += 1
    this.joined?.device.count('crcErrors')
  }

  private take(content: Buffer): void {
    const opened = openFrame(content, this.joined?.epoch ?? 0)
    const message = 'items' in opened ? deviceMessageOf(opened.items) : null
    if (message === null) {
      this.damaged()
      if (this.joined === null && 'problem' in opened) this.refuse(REFUSED.sayHello)
    } else if (message.type === 'hello') {
      this.hello(message)
    } else if (this.joined === null) {
      this.refuse(REFUSED.sayHello)
    } else {
      this.options.heard(this.joined.device)
      this.answer(message, this.joined)
    }
  }

  private hello({ version, device: id, epoch: asked, sequence }: DeviceMessage & { type: 'hello' }): void {
    if (version !== PROTOCOL_VERSION) {
      this.refuse(REFUSED.version)
      return
    }
    const known = this.options.findDevice(id)
    if (known === null) {
      this.refuse(REFUSED.device)
      return
    }
    const before = this.joined
    // A repeated hello without numbers is given the same epoch as long as nothing has come under it.
    const unused = before?.known.id === id && before.uplink.unused ? before.epoch : 0
    this.leave()
    if (before?.known.id !== id) this.options.logger.info('a device has said hello', { device: id })
    const device = this.options.joined(id)
    device.connected = true
    const epoch = asked || unused || this.options.newEpoch()
    const { window, maxFrameBytes } = this.options
    const uplink = new Uplink(
      {
        device,
        window,
        store: (message) => this.store(message, known, epoch),
        ack: (acked) => this.send({ type: 'ack', sequence: acked }),
        nack: (nacked, reason) => this.send({ type: 'nack', sequence: nacked, reason }),
      },
      sequence,
    )
    this.joined = { known, device, epoch, uplink }
    this.send({ type: 'welcome', version: PROTOCOL_VERSION, epoch, window, maxFrameBytes })
  }

  private answer(message: Exclude<DeviceMessage, { type: 'hello' }>, { uplink, known }: Joined): void {
    if (message.type === 'publish' || message.type === 'void') uplink.take(message)
    else if (message.type === 'timeRequest') this.send({ type: 'time', id: message.id, wallMs: this.options.wallMs() })
    else if (message.type === 'ping') this.send({ type: 'pong' })
    else this.options.logger[LOG_LEVELS[message.level]](message.text, { device: known.id })
  }

  /** @throws SluiceError when the message is not taken. */
  private store(
    { sequence, mqttTopic, payload, retain }: DeviceMessage & { type: 'publish' },
    { id, topicPrefix }: KnownDevice,
    epoch: number,
  ): NodePublish {
    const whole = topicPrefix + mqttTopic
    // $SYS, $sluice: what the node says and does itself.
    if (whole.startsWith('$')) throw new SluiceError('FORBIDDEN', 'a device has no topics with $')
    const numberedBy = { id: `serial/${id}`, epoch, sequence }
    return this.options.publish({ mqttTopic: whole, payload, retain, clientId: id, numberedBy })
  }

  private refuse(reason: number): void {
    const nowMs = this.options.monotonicMs()
    countRejection(this.options.status.rejected, REFUSALS[reason])
    if (nowMs - this.refusedAtMs < MIN_REFUSAL_INTERVAL_MS) return
    this.refusedAtMs = nowMs
    this.send({ type: 'refused', reason })
  }

  private send(message: BridgeMessage): void {
    const { status } = this.options
    if (this.port.writableLength > MAX_WAITING_BYTES || !this.port.writable) {
      status.droppedAnswers += 1
      return
    }
    const wire = sealFrame(message, this.joined?.epoch ?? 0)
    status.sentBytes += wire.length
    this.port.write(wire)
  }
}
