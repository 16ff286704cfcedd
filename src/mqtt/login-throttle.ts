// Slows down who guesses passwords, by address and by user name, on the monotonic clock: each failed login costs a permit, and where none is
// left logins are refused unheard until one has grown again. Nobody is ever locked out: a success costs nothing, so a device that shares
// its address with a guesser gets in when it tries again.

import type { Clock } from '../base/clock.js'
import { Permits } from './permits.js'

export interface ThrottleLimits {
  /** Failures at once, then one more every so often. */
  readonly failuresPerAddress: number
  readonly failuresPerUser: number
  readonly secondsPerFailure: number
  /** Addresses, and user names, remembered; beyond it those least recently heard of are forgotten. */
  readonly maxRemembered: number
}

export const DEFAULT_THROTTLE: ThrottleLimits = {
  failuresPerAddress: 20,
  failuresPerUser: 10,
  secondsPerFailure: 1,
  maxRemembered: 4096,
}

export interface Attempt {
  succeeded(): void
}

export class LoginThrottle {
  private readonly addresses = new Map<string, Permits>()
  private readonly users = new Map<string, Permits>()

  constructor(
    private readonly clock: Clock,
    private readonly limits: ThrottleLimits = DEFAULT_THROTTLE,
  ) {}

  /** A login begins, and counts as failed until it has succeeded. @returns null if it must be refused unheard. */
  begin(remoteAddress: string, username: string | undefined): Attempt | null {
    const address = this.permitsOf(this.addresses, networkOf(remoteAddress), this.limits.failuresPerAddress)
    const user = this.permitsOf(this.users, username ?? '', this.limits.failuresPerUser)
    if (!address.take()) return null
    if (!user.take()) {
      address.giveBack()
      return null
    }
    return {
      succeeded() {
        address.giveBack()
        user.giveBack()
      },
    }
  }

  private permitsOf(known: Map<string, Permits>, name: string, failures: number): Permits {
    const permits = known.get(name) ?? new Permits(this.clock, 1 / this.limits.secondsPerFailure, failures)
    known.delete(name)
    known.set(name, permits)
    if (known.size > this.limits.maxRemembered) known.delete(known.keys().next().value!)
    return permits
  }
}

/** Of IPv6 the first half: whoever has one address there has 2^64 of them. */
function networkOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address
  const [head, tail = ''] = address.split('::')
  const left = head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const groups = address.includes('::')
    ? [...left, ...Array(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
    : left
  return groups.slice(0, 4).join(':')
}
