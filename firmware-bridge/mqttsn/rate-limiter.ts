// How many datagrams and bytes an address may send in a second: token buckets, a second's worth deep. Bounded: of many addresses the one not
// heard of for longest is forgotten first, which gives it a full bucket again and nothing else.

const MAX_ADDRESSES = 4096

export interface Rate {
  /** Per second, inclusive. */
  readonly packets: number
  readonly bytes: number
}

interface Bucket {
  packets: number
  bytes: number
  filledMs: number
}

export class RateLimiter {
  private readonly buckets = new Map<string, Bucket>()

  constructor(private readonly rate: Rate) {}

  /** @returns false when the datagram is beyond the rate: it is not to be looked at. */
  take(address: string, bytes: number, nowMs: number): boolean {
    const { rate, buckets } = this
    const bucket = buckets.get(address) ?? { ...rate, filledMs: nowMs }
    buckets.delete(address)
    buckets.set(address, bucket)
    if (buckets.size > MAX_ADDRESSES) buckets.delete(buckets.keys().next().value as string)
    const seconds = (nowMs - bucket.filledMs) / 1000
    bucket.filledMs = nowMs
    bucket.packets = Math.min(rate.packets, bucket.packets + seconds * rate.packets)
    bucket.bytes = Math.min(rate.bytes, bucket.bytes + seconds * rate.bytes)
    if (bucket.packets < 1 || bucket.bytes < bytes) return false
    bucket.packets -= 1
    bucket.bytes -= bytes
    return true
  }
}
