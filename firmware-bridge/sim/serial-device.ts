// A device of the serial protocol, as ../c/sluice_serial.c is one, for simulations: driven from outside by bytes, calls of `poll` and the clock it is
// given.

import type { Item } from '../serial/cbor-items.js'
import { CobsReader } from '../serial/cobs.js'
import { FrameCodec, NO_SESSION, proveHello, sessionKey } from '../serial/frame.js'
import { type DeviceMessage, type HelloMessage, NACK, PROTOCOL_VERSION } from '../serial/messages.js'

const HELLO_RETRY_MS = 1000
const MAX_ATTEMPTS = 4

export interface SerialDeviceOptions {
  readonly id: string
  readonly key?: Uint8Array
  /** Messages kept until they are acknowledged, inclusive. */
  readonly window: number
  readonly retryMs: number
  /** 0 for a device that takes no messages. */
  readonly receiveWindow: number
  readonly monotonicMs: () => number
  readonly newNonce: () => Uint8Array
  readonly write: (bytes: Buffer) => void
  /** On disk, all up to here. */
  readonly onAcked?: (sequence: number) => void
  /** Will never be stored. */
  readonly onRefused?: (sequence: number, reason: number) => void
  readonly onMessage?: (mqttTopic: string, payload: Uint8Array) => void
  readonly onSubscribed?: (id: number, result: number) => void
}

interface Slot {
  readonly sequence: number
  message: DeviceMessage
}

export class SerialDevice {
  connected = false
  /** Frames sent, those sent again included. */
  sentFrames = 0
  damagedFrames = 0
  private epoch = 0
  private slots: Slot[] = []
  private next = 1
  /** How many of the slots have been sent. */
  private sent = 0
  private window = 1
  private codec = new FrameCodec('device', NO_SESSION)
  private nonce: Uint8Array | null = null
  private reader = new CobsReader(1024)
  private helloMs = Number.NEGATIVE_INFINITY
  private progressMs = 0
  private attempts = 0
  private received = 0
  private lastRequestId = 0

  constructor(private readonly options: SerialDeviceOptions) {}

  get freeSlots(): number {
    return this.options.window - this.slots.length
  }

  /** @returns the sequence; null when the window is full. */
  publish(mqttTopic: string, payload: Uint8Array): number | null {
    if (this.freeSlots === 0) return null
    const sequence = this.next++
    this.slots.push({ sequence, message: { type: 'publish', sequence, mqttTopic, payload, retain: false } })
    return sequence
  }

  /** Sent once: call it again when it is not answered. @returns its id. */
  subscribe(filter: string): number {
    this.lastRequestId += 1
    if (this.connected) this.send({ type: 'subscribe', id: this.lastRequestId, filter, qos: 1 })
    return this.lastRequestId
  }

  report(batteryPercent: number, signalDbm: number): void {
    if (this.connected) this.send({ type: 'report', report: { batteryPercent, signalDbm } })
  }

  /**
   * Power is lost and comes back.
   * @param remembers Whether messages and numbers are in flash, as in sluice_resume.
   */
  reset(remembers: boolean): void {
    this.connected = false
    this.helloMs = Number.NEGATIVE_INFINITY
    this.reader = new CobsReader(1024)
    this.codec = new FrameCodec('device', NO_SESSION)
    this.sent = 0
    if (remembers) return
    this.epoch = 0
    this.slots = []
    this.next = 1
  }

  /** Sends what is due. */
  poll(): void {
    const nowMs = this.options.monotonicMs()
    if (this.connected && this.sent > 0 && nowMs - this.progressMs >= this.options.retryMs) {
      this.sent = 0
      this.progressMs = nowMs
      this.attempts += 1
      if (this.attempts >= MAX_ATTEMPTS) this.connected = false
    }
    if (!this.connected) {
      if (nowMs - this.helloMs >= Math.min(HELLO_RETRY_MS, this.options.retryMs)) this.hello(nowMs)
      return
    }
    while (this.sent < this.slots.length && this.sent < this.window) {
      if (this.sent === 0) this.progressMs = nowMs
      this.send(this.slots[this.sent].message)
      this.sent += 1
    }
  }

  receive(bytes: Uint8Array): void {
    this.reader.push(bytes, (content) => {
      const opened = this.codec.open(content)
      if ('items' in opened) this.take(opened.items)
      else this.damagedFrames += 1
    })
  }

  private hello(nowMs: number): void {
    const { id, key, receiveWindow, newNonce } = this.options
    this.helloMs = nowMs
    this.codec = new FrameCodec('device', NO_SESSION)
    const sequence = this.slots[0]?.sequence ?? this.next
    const plain: HelloMessage = {
      type: 'hello',
      version: PROTOCOL_VERSION,
      device: id,
      epoch: this.epoch,
      sequence,
      receiveWindow,
      maxFrameBytes: 1024,
    }
    this.nonce = key === undefined ? null : newNonce()
    this.options.write(Buffer.of(0))
    this.send(key === undefined || this.nonce === null ? plain : proveHello(plain, this.nonce, key))
  }

  private take(items: readonly Item[]): void {
    const [type, a, b, c] = items
    if (type === 16 && !this.connected) this.welcomed(items)
    else if (type === 22) this.connected = false
    else if (!this.connected) return
    else if (type === 17) this.acked(Number(a))
    else if (type === 18) this.nacked(Number(a), Number(b))
    else if (type === 19) this.message(Number(a), String(b), c as Uint8Array)
    else if (type === 23) this.options.onSubscribed?.(Number(a), Number(b))
  }

  private welcomed([, , epoch, window, , nonce]: readonly Item[]): void {
    const { key } = this.options
    if (this.epoch !== 0 && this.epoch !== epoch) return
    this.epoch = Number(epoch)
    this.window = Number(window)
    const session = key && this.nonce ? sessionKey(key, this.nonce, nonce as Uint8Array, this.epoch) : null
    this.codec = new FrameCodec('device', { epoch: this.epoch, key: session })
    this.connected = true
    this.attempts = this.sent = this.received = 0
    this.progressMs = this.options.monotonicMs()
  }

  private acked(sequence: number): void {
    const count = this.slots.findIndex((slot) => slot.sequence > sequence)
    const done = count === -1 ? this.slots.length : count
    if (done === 0) return
    this.slots.splice(0, done)
    this.sent = Math.max(0, this.sent - done)
    this.attempts = 0
    this.progressMs = this.options.monotonicMs()
    this.options.onAcked?.(sequence)
  }

  private nacked(sequence: number, reason: number): void {
    const at = this.slots.findIndex((slot) => slot.sequence === sequence)
    if (at === -1) return
    if (reason > NACK.busy) {
      this.slots[at].message = { type: 'void', sequence }
      this.options.onRefused?.(sequence, reason)
    }
    if (reason !== NACK.busy) this.sent = Math.min(this.sent, at)
    this.attempts = 0
  }

  private message(number: number, mqttTopic: string, payload: Uint8Array): void {
    if (number === 0 || number === this.received + 1) this.options.onMessage?.(mqttTopic, payload)
    if (number === this.received + 1) this.received = number
    if (number > 0) this.send({ type: 'received', number: this.received })
  }

  private send(message: DeviceMessage): void {
    this.sentFrames += 1
    this.options.write(this.codec.seal(message))
  }
}
