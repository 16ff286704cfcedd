// One device on one line: hello, messages in order, acks once they are durable. Takes any bytes; holds at most one frame and `window` messages.
// Created by SerialBridge for each time a port is opened; everything that must outlive it is in the log.

import type { Duplex } from 'node:stream'
import { type ErrorCode, type Logger, type NodeMessage, type NodePublish, SluiceError } from '../../src/index.js'
import { CobsReader } from './cobs.js'
import { openFrame, sealFrame } from './frame.js'
import { type BridgeMessage, type DeviceMessage, deviceMessageOf, NACK, PROTOCOL_VERSION, REFUSED } from './messages.js'

/** Answers that wait for a line that does not take them, bytes; more are dropped, and the device asks again. */
const MAX_WAITING_BYTES = 64 * 1024
const MIN_REFUSAL_INTERVAL_MS = 1000
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
const NACK_OF: { readonly [code in ErrorCode]?: number } = {
  INVALID_TOPIC: NACK.topic,
  RECORD_TOO_LARGE: NACK.tooLarge,
}

export interface SerialSessionOptions {
  /** The publish of a RunningNode. */
  readonly publish: (message: NodeMessage) => NodePublish
  /** Goes in front of every topic; `{device}` stands for the device id. */
  readonly topicPrefix: string
  /** Unacknowledged messages, at most, inclusive. */
  readonly window: number
  /** Longest content of a frame, bytes, inclusive. */
  readonly maxFrameBytes: number
  /** Who may say hello. Left out: everyone. */
  readonly knowsDevice?: (device: string) => boolean
  /** A new epoch, from 1 to 2^32 - 1, never the same again. */
  readonly newEpoch: () => number
  readonly wallMs: () => number
  readonly monotonicMs: () => number
  readonly logger: Logger
}

export interface SerialSessionStats {
  published: number
  /** Stored before, and known again. */
  resends: number
  gaps: number
  crcErrors: number
  grammarErrors: number
  refused: number
  droppedAnswers: number
}

export class SerialSession {
  device: string | null = null
  readonly counters: SerialSessionStats = {
    published: 0,
    resends: 0,
    gaps: 0,
    crcErrors: 0,
    grammarErrors: 0,
    refused: 0,
    droppedAnswers: 0,
  }
  private readonly reader: CobsReader
  private epoch = 0
  /** An epoch given out that nothing has been published under: a repeated hello is given the same. */
  private unusedEpoch = 0
  private prefix = ''
  /** The sequence taken next; all below `durableTo + 1` are on disk. */
  private expected = 1
  private durableTo = 0
  private nackedGap = 0
  private ackDue = false
  /** Rises whenever pending commits stop counting: a new hello, a failed commit. */
  private era = 0
  private durableBefore: Promise<void> = Promise.resolve()
  private refusedAtMs = -MIN_REFUSAL_INTERVAL_MS

  constructor(
    private readonly port: Duplex,
    private readonly options: SerialSessionOptions,
  ) {
    this.reader = new CobsReader(options.maxFrameBytes)
    port.on('data', (chunk: Buffer) => this.reader.push(chunk, (content) => this.take(content)))
  }

  get damagedFrames(): number {
    return this.reader.malformed + this.reader.tooLong + this.counters.crcErrors + this.counters.grammarErrors
  }

  private take(content: Buffer): void {
    const opened = openFrame(content, this.epoch)
    if ('problem' in opened) {
      if (opened.problem === 'crc') this.counters.crcErrors += 1
      else this.counters.grammarErrors += 1
      if (this.epoch === 0) this.refuse(REFUSED.sayHello)
      return
    }
    const message = deviceMessageOf(opened.items)
    if (message === null) this.counters.grammarErrors += 1
    else if (message.type === 'hello') this.hello(message)
    else if (this.epoch === 0) this.refuse(REFUSED.sayHello)
    else this.answer(message)
  }

  private hello({ version, device, epoch, sequence }: DeviceMessage & { type: 'hello' }): void {
    if (version !== PROTOCOL_VERSION || !this.mayJoin(device)) {
      this.refuse(version === PROTOCOL_VERSION ? REFUSED.device : REFUSED.version)
      return
    }
    if (epoch === 0) this.unusedEpoch ||= this.options.newEpoch()
    this.epoch = epoch || this.unusedEpoch
    if (device !== this.device) this.options.logger.info('a device has said hello', { device })
    this.device = device
    this.prefix = this.options.topicPrefix.replaceAll('{device}', device)
    this.expected = sequence
    this.durableTo = sequence - 1
    this.nackedGap = 0
    this.era += 1
    const { window, maxFrameBytes } = this.options
    this.send({ type: 'welcome', version: PROTOCOL_VERSION, epoch: this.epoch, window, maxFrameBytes })
  }

  /** An id that would lead out of its own branch of topics is nobody's. */
  private mayJoin(device: string): boolean {
    return !/[+#/\0]/.test(device) && this.options.knowsDevice?.(device) !== false
  }

  private answer(message: Exclude<DeviceMessage, { type: 'hello' }>): void {
    if (message.type === 'publish' || message.type === 'void') this.publish(message)
    else if (message.type === 'timeRequest') this.send({ type: 'time', id: message.id, wallMs: this.options.wallMs() })
    else if (message.type === 'ping') this.send({ type: 'pong' })
    else this.options.logger[LOG_LEVELS[message.level]](message.text, { device: this.device })
  }

  private publish(message: DeviceMessage & { type: 'publish' | 'void' }): void {
    const { sequence } = message
    this.unusedEpoch = 0
    if (sequence < this.expected) {
      this.counters.resends += 1
      if (sequence <= this.durableTo) this.ackSoon()
      return
    }
    if (sequence > this.expected) {
      this.counters.gaps += 1
      if (this.nackedGap !== this.expected) this.nack(this.expected, NACK.gap)
      this.nackedGap = this.expected
      return
    }
    const durable = sequence - this.durableTo > this.options.window ? NACK.busy : this.taken(message)
    if (typeof durable === 'number') {
      this.nack(sequence, durable)
      return
    }
    const { era } = this
    this.expected += 1
    // Commits of different streams may settle in any order: an ack covers what lies before it.
    this.durableBefore = Promise.all([this.durableBefore, durable]).then(
      () => {
        if (era !== this.era) return
        this.durableTo = sequence
        this.ackSoon()
      },
      () => this.goBack(era),
    )
  }

  /** @returns what an ack waits for, or why the message is not taken. */
  private taken(message: DeviceMessage & { type: 'publish' | 'void' }): Promise<void> | number {
    if (message.type === 'void') return Promise.resolve()
    try {
      return this.store(message)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      this.counters.refused += 1
      return error.retriable ? NACK.busy : (NACK_OF[error.code] ?? NACK.refused)
    }
  }

  /** @throws SluiceError when the message is not taken. */
  private store({ sequence, mqttTopic, payload, retain }: DeviceMessage & { type: 'publish' }): Promise<void> {
    const device = this.device ?? ''
    // $SYS, $sluice: what the node says and does itself.
    if (`${this.prefix}${mqttTopic}`.startsWith('$'))
      throw new SluiceError('INVALID_TOPIC', 'a device has no topics with $')
    const { durable, duplicate } = this.options.publish({
      mqttTopic: this.prefix + mqttTopic,
      payload,
      retain,
      clientId: device,
      numberedBy: { id: `serial/${device}`, epoch: this.epoch, sequence },
    })
    if (duplicate) this.counters.resends += 1
    else this.counters.published += 1
    return durable
  }

  /** A commit has failed: everything from the oldest unacknowledged on must come again. */
  private goBack(era: number): void {
    if (era !== this.era) return
    this.era += 1
    this.expected = this.durableTo + 1
    this.nack(this.expected, NACK.busy)
  }

  /** One ack for everything that becomes durable in one turn. */
  private ackSoon(): void {
    if (this.ackDue) return
    this.ackDue = true
    setImmediate(() => {
      this.ackDue = false
      this.send({ type: 'ack', sequence: this.durableTo })
    })
  }

  private nack(sequence: number, reason: number): void {
    this.send({ type: 'nack', sequence, reason })
  }

  private refuse(reason: number): void {
    const nowMs = this.options.monotonicMs()
    this.counters.refused += 1
    if (nowMs - this.refusedAtMs < MIN_REFUSAL_INTERVAL_MS) return
    this.refusedAtMs = nowMs
    this.send({ type: 'refused', reason })
  }

  private send(message: BridgeMessage): void {
    if (this.port.writableLength > MAX_WAITING_BYTES || !this.port.writable) this.counters.droppedAnswers += 1
    else this.port.write(sealFrame(message, this.epoch))
  }
}
