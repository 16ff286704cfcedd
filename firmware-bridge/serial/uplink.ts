// What one device publishes under one epoch: taken in order, each once, acknowledged cumulatively once it is durable. Holds promises of at most
// `window` messages. Created anew by SerialSession at each hello.

import { type ErrorCode, SluiceError } from '../../src/index.js'
import type { BridgePublish } from '../devices/bridge-node.js'
import type { Device, Rejection } from '../devices/device-registry.js'
import { NACK, type SessionMessage } from './messages.js'

const REJECTIONS: { readonly [code in ErrorCode]?: readonly [reason: number, counted: Rejection] } = {
  INVALID_TOPIC: [NACK.topic, 'topic_invalid'],
  FORBIDDEN: [NACK.notAllowed, 'topic_not_allowed'],
  RECORD_TOO_LARGE: [NACK.tooLarge, 'too_large'],
}

export type UplinkMessage = SessionMessage & { type: 'publish' | 'void' }

export interface UplinkHost {
  readonly device: Device
  /** Unacknowledged messages, at most, inclusive. */
  readonly window: number
  /** @throws SluiceError when the message is not taken. */
  store(message: SessionMessage & { type: 'publish' }): BridgePublish
  ack(sequence: number): void
  nack(sequence: number, reason: number): void
}

export class Uplink {
  /** Nothing has been taken under this epoch by this session. */
  unused = true
  /** The sequence taken next. */
  private expected: number
  /** All up to here are on disk. */
  private durableTo: number
  private nackedGap = 0
  private lastSequence = 0
  private ackDue = false
  private ended = false
  /** Rises whenever pending commits stop counting: a failed commit, the end. */
  private era = 0
  private durableBefore: Promise<void> = Promise.resolve()

  /** @param first The sequence of the first message to come. */
  constructor(
    private readonly host: UplinkHost,
    first: number,
  ) {
    this.expected = first
    this.durableTo = first - 1
  }

  /** What is still on its way to the disk is not acknowledged here any more. */
  end(): void {
    this.era += 1
    this.ended = true
  }

  take(message: UplinkMessage): void {
    const { sequence } = message
    this.unused = false
    this.takeOne(message)
    this.lastSequence = sequence
  }

  private takeOne(message: UplinkMessage): void {
    const { sequence } = message
    const { device, window } = this.host
    if (sequence < this.expected) {
      device.count('resends')
      if (sequence <= this.durableTo) this.ackSoon()
    } else if (sequence > this.expected) {
      device.count('gaps')
      // Once for what is on its way; again when the device has gone back and the same message was lost again.
      if (this.nackedGap !== this.expected || sequence <= this.lastSequence) this.host.nack(this.expected, NACK.gap)
      this.nackedGap = this.expected
    } else if (sequence - this.durableTo > window) {
      this.reject(sequence, NACK.busy, 'window_exceeded')
    } else {
      this.takeNext(message)
    }
  }

  private takeNext(message: UplinkMessage): void {
    const { sequence } = message
    let published: BridgePublish | null = null
    if (message.type === 'publish') {
      try {
        published = this.host.store(message)
      } catch (error) {
        this.reject(sequence, ...rejectionOf(error))
        return
      }
    }
    const { era } = this
    this.expected += 1
    // Commits of different streams may settle in any order: an ack covers what lies before it.
    this.durableBefore = Promise.all([this.durableBefore, published?.durable]).then(
      () => {
        if (published !== null) this.host.device.count(published.duplicate ? 'resends' : 'published')
        if (era !== this.era) return
        this.durableTo = sequence
        this.ackSoon()
      },
      (error) => this.goBack(era, sequence, error),
    )
  }

  private reject(sequence: number, reason: number, counted: Rejection): void {
    this.host.device.reject(counted)
    this.host.nack(sequence, reason)
  }

  /** A message was refused later, or its commit has failed: everything from the oldest unacknowledged on must come again. */
  private goBack(era: number, sequence: number, error: unknown): void {
    if (era !== this.era) return
    this.era += 1
    this.expected = this.durableTo + 1
    this.durableBefore = DONE
    // A commit that failed says nothing of the message.
    const isThisOne = sequence === this.expected && error instanceof SluiceError && error.code in REJECTIONS
    if (isThisOne) this.reject(sequence, ...rejectionOf(error))
    else this.host.nack(this.expected, NACK.busy)
  }

  /** One ack for everything that becomes durable in one turn. */
  private ackSoon(): void {
    if (this.ackDue) return
    this.ackDue = true
    setImmediate(() => {
      this.ackDue = false
      if (!this.ended) this.host.ack(this.durableTo)
    })
  }
}

/** @throws what is no error of the node's. */
function rejectionOf(error: unknown): readonly [reason: number, counted: Rejection] {
  if (!(error instanceof SluiceError)) throw error
  if (error.retriable) return [NACK.busy, 'busy']
  return REJECTIONS[error.code] ?? [NACK.refused, 'refused']
}

const DONE: Promise<void> = Promise.resolve()
