// What an upstream may send: bytes a second, messages a second, bytes a day. Asked before each shipment; who may not, waits.

import type { Clock } from '../base/clock.js'
import { DailyAllowance, type DailyAllowanceOptions } from './daily-allowance.js'
import { TokenBucket } from './token-bucket.js'

export interface BudgetOptions {
  readonly bandwidthBytesPerSecond?: number | undefined
  /** What may go at once. Default: a second's worth. */
  readonly bandwidthBurstBytes?: number | undefined
  /** In any second, inclusive. */
  readonly messagesPerSecond?: number | undefined
  readonly daily?: DailyAllowanceOptions | undefined
}

/** Of a second's messages: what may go at once. With the rest as the steady rate, no second sees more than all of them. */
const BURST_SHARE = 0.1

export class Budget {
  readonly daily: DailyAllowance | null
  private readonly bytes: TokenBucket | null
  private readonly messages: TokenBucket | null

  constructor(clock: Clock, options: BudgetOptions) {
    const { bandwidthBytesPerSecond, bandwidthBurstBytes, messagesPerSecond, daily } = options
    this.bytes =
      bandwidthBytesPerSecond === undefined
        ? null
        : new TokenBucket(clock, bandwidthBytesPerSecond, bandwidthBurstBytes)
    this.messages = messagesPerSecond === undefined ? null : messageBucket(clock, messagesPerSecond)
    this.daily = daily === undefined ? null : new DailyAllowance(daily)
  }

  /** Milliseconds until a message may be sent; 0 if it may be now. */
  waitMs(): number {
    return Math.max(this.bytes?.waitMs() ?? 0, this.messages?.waitMs() ?? 0, this.daily?.waitMs() ?? 0)
  }

  /** Call for what is sent, after `waitMs` has given 0. */
  spend(bytes: number, messages = 1): void {
    this.bytes?.spend(bytes)
    this.messages?.spend(messages)
    this.daily?.spend(bytes)
  }
}

/** Whole messages only: no second sees more than the burst and the steady rate together. */
function messageBucket(clock: Clock, perSecond: number): TokenBucket {
  const burst = Math.max(1, Math.floor(perSecond * BURST_SHARE))
  return new TokenBucket(clock, Math.max(perSecond - burst, perSecond / 2), burst, 1)
}
