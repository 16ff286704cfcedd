// Time, passed in so that tests can move it. Durations use the monotonic reading only: a gateway without a clock battery may
// jump by years when NTP answers.

export interface Clock {
  /** Wall-clock time, milliseconds since 1970-01-01 UTC. For record timestamps and for people, never for durations. */
  wallMs(): number
  /** Milliseconds since some fixed moment of this process; never goes backwards. */
  monotonicMs(): number
  /** Calls `callback` once after `delayMs`; the returned function cancels. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
}
