// One line and the device on it: hello, and what a session is made of. Takes any bytes; holds at most one frame and what Uplink and Downlink do. Created by
// WatchedPort for each time a port is opened; everything that must outlive it is at the node.

import type { Duplex } from 'node:stream'
import { type Logger, SluiceError } from '../../src/index.js'
import type { BridgeNode, BridgePublish, DurableTable } from '../devices/bridge-node.js'
import { countRejection, type Device, type LineStatus, type Rejection } from '../devices/device-registry.js'
import type { KnownDevice } from '../devices/device-table.js'
import { mayUseTopic } from '../devices/topic-rules.js'
import { CobsReader } from './cobs.js'
import { Downlink } from './downlink.js'
import { FrameCodec, isProven, NO_SESSION, proveWelcome, sessionKey } from './frame.js'
import {
  type BridgeMessage,
  deviceMessageOf,
  type HelloMessage,
  PROTOCOL_VERSION,
  REFUSED,
  type SessionMessage,
  SUBSCRIBE_REFUSED,
  type WelcomeMessage,
} from './messages.js'
import { Uplink } from './uplink.js'

/** Answers that wait for a line that does not take them, bytes; more are dropped, and the device asks again. */
const MAX_WAITING_BYTES = 64 * 1024
const MIN_REFUSAL_INTERVAL_MS = 1000
/** Messages to a device that may be unacknowledged, whatever it says, inclusive. */
const MAX_RECEIVE_WINDOW = 64
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
const REFUSALS: { readonly [reason: number]: Rejection } = {
  [REFUSED.sayHello]: 'no_session',
  [REFUSED.version]: 'wrong_version',
  [REFUSED.device]: 'unknown_device',
  [REFUSED.key]: 'wrong_key',
}

export interface SerialSessionOptions {
  readonly node: Pick<BridgeNode, 'publish' | 'connect' | 'undeliverable'>
  /** Which devices have a session at the node. */
  readonly sessions: DurableTable<boolean>
  /** Null for one that may not speak here. */
  readonly findDevice: (id: string) => KnownDevice | null
  /** The device has said hello, and may. */
  readonly joined: (id: string) => Device
  readonly heard: (device: Device) => void
  readonly status: LineStatus
  /** Unacknowledged messages of the device, at most, inclusive. */
  readonly window: number
  /** Longest content of a frame, bytes, inclusive. */
  readonly maxFrameBytes: number
  /** A new epoch, from 1 to 2^32 - 1, never the same again. */
  readonly newEpoch: () => number
  /** 8 bytes, never the same again. */
  readonly newNonce: () => Uint8Array
  readonly wallMs: () => number
  readonly monotonicMs: () => number
  readonly logger: Logger
}

/** A device that has said hello. */
interface Joined {
  readonly known: KnownDevice
  readonly device: Device
  readonly epoch: number
  readonly codec: FrameCodec
  readonly uplink: Uplink
  readonly downlink: Downlink | null
}

export class SerialSession {
  private readonly reader: CobsReader
  private joined: Joined | null = null
  private refusedAtMs = -MIN_REFUSAL_INTERVAL_MS
  private readonly outside = new FrameCodec('bridge', NO_SESSION)

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

  /** The line has been opened: a device that only listens would not notice that this end was away. */
  askForHello(): void {
    this.send({ type: 'refused', reason: REFUSED.sayHello })
  }

  /** Who may not speak any more, or not as it did, is cut off. */
  devicesChanged(): void {
    if (this.joined === null) return
    const { known } = this.joined
    if (JSON.stringify(this.options.findDevice(known.id)) !== JSON.stringify(known)) this.leave()
  }

  private leave(): void {
    if (this.joined === null) return
    const { uplink, downlink, device } = this.joined
    uplink.end()
    downlink?.end()
    device.connected = false
    this.joined = null
  }

  private receive(chunk: Buffer): void {
    const { reader } = this
    this.options.status.receivedBytes += chunk.length
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
    const { joined } = this
    const opened = (joined?.codec ?? this.outside).open(content)
    if ('problem' in opened && opened.problem === 'replay') {
      joined?.device.reject('replay')
      return
    }
    const message = 'items' in opened ? deviceMessageOf(opened.items) : null
    if (message === null) {
      this.damaged()
      // A frame of a session that is not this one's looks the same.
      if (joined === null && 'problem' in opened && opened.problem === 'damaged') this.refuse(REFUSED.sayHello)
    } else if (message.type === 'hello') {
      this.hello(message)
    } else if (joined === null) {
      this.refuse(REFUSED.sayHello)
    } else {
      this.options.heard(joined.device)
      this.answer(message, joined)
    }
  }

  private hello(hello: HelloMessage): void {
    const refusal = this.refusalOf(hello)
    if (refusal !== null) {
      this.refuse(refusal)
      return
    }
    const { device: id, proof, sequence, receiveWindow } = hello
    const { node, sessions, window, maxFrameBytes, logger } = this.options
    const known = this.options.findDevice(id) as KnownDevice
    const before = this.joined
    // A repeated hello without numbers is given the same epoch as long as nothing has come under it.
    const unused = before?.known.id === id && before.uplink.unused ? before.epoch : 0
    this.leave()
    if (before?.known.id !== id)
      logger.info('a device has said hello', { device: id, port: this.options.status.address })
    const device = this.options.joined(id)
    device.connected = true
    const epoch = hello.epoch || unused || this.options.newEpoch()
    let welcome: WelcomeMessage = { type: 'welcome', version: PROTOCOL_VERSION, epoch, window, maxFrameBytes }
    let key: Uint8Array | null = null
    if (known.key !== null && proof !== undefined) {
      const nonce = this.options.newNonce()
      key = sessionKey(known.key, proof.nonce, nonce, epoch)
      welcome = proveWelcome(welcome, nonce, proof.nonce, known.key)
    }
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
    this.joined = { known, device, epoch, codec: new FrameCodec('bridge', { epoch, key }), uplink, downlink: null }
    this.send(welcome)
    if (receiveWindow === 0) return
    const downlink = new Downlink({
      ...{ node, known, device, sessions, maxFrameBytes: hello.maxFrameBytes },
      receiveWindow: Math.min(receiveWindow, MAX_RECEIVE_WINDOW),
      send: (message) => this.send(message),
      onUndeliverable: (mqttTopic, bytes) =>
        logger.warn('a message is too large for its device', {
          device: id,
          mqttTopic,
          bytes,
          most: hello.maxFrameBytes,
        }),
    })
    this.joined = { ...this.joined, downlink }
  }

  /** @returns why the device may not join; null if it may. */
  private refusalOf(hello: HelloMessage): number | null {
    if (hello.version !== PROTOCOL_VERSION) return REFUSED.version
    const known = this.options.findDevice(hello.device)
    if (known === null) return REFUSED.device
    // A device that asks for a proof would believe no welcome without one.
    const proven = known.key === null ? hello.proof === undefined : isProven(hello, known.key)
    return proven ? null : REFUSED.key
  }

  private answer(message: SessionMessage, joined: Joined): void {
    const { uplink, downlink, known, device } = joined
    switch (message.type) {
      case 'publish':
      case 'void':
        uplink.take(message)
        break
      case 'subscribe':
        if (downlink === null) this.send({ type: 'subscribed', id: message.id, result: SUBSCRIBE_REFUSED.limit })
        else void downlink.subscribe(message)
        break
      case 'unsubscribe':
        void downlink?.unsubscribe(message)
        break
      case 'received':
        downlink?.received(message.number)
        break
      case 'report':
        device.report = { ...device.report, ...message.report }
        break
      case 'timeRequest':
        this.send({ type: 'time', id: message.id, wallMs: this.options.wallMs() })
        break
      case 'ping':
        this.send({ type: 'pong' })
        break
      case 'log':
        this.options.logger[LOG_LEVELS[message.level]](message.text, { device: known.id })
    }
  }

  /** @throws SluiceError when the message is not taken. */
  private store(
    { sequence, mqttTopic, payload, retain }: SessionMessage & { type: 'publish' },
    known: KnownDevice,
    epoch: number,
  ): BridgePublish {
    const { id, topicPrefix } = known
    // $SYS, $sluice: what the node says and does itself.
    if (`${topicPrefix}${mqttTopic}`.startsWith('$') || !mayUseTopic(known, mqttTopic))
      throw new SluiceError('FORBIDDEN', `device ${id} may not publish to ${mqttTopic}`)
    const numberedBy = { id: `serial/${id}`, epoch, sequence }
    return this.options.node.publish({ mqttTopic: topicPrefix + mqttTopic, payload, retain, clientId: id, numberedBy })
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
    const { codec } = this.joined ?? { codec: this.outside }
    // The numbers of the session are used up: the device is asked for a new one.
    if (codec.isUsedUp) this.leave()
    const wire = codec.isUsedUp ? this.outside.seal({ type: 'refused', reason: REFUSED.sayHello }) : codec.seal(message)
    status.sentBytes += wire.length
    this.port.write(wire)
  }
}
