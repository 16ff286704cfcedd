// What a simulated device publishes, and what became of it: numbers that are due at a rate, when each was acknowledged, and which were forgotten in a
// reset before they were.

/** Latencies kept, inclusive: the newest. */
const MAX_LATENCIES = 1000
const FIRST_NUMBER = 1

export interface TrafficCounters {
  published: number
  acked: number
  refused: number
  resets: number
}

export class Traffic {
  readonly counters: TrafficCounters = { published: 0, acked: 0, refused: 0, resets: 0 }
  readonly latenciesMs: number[] = []
  /** Acknowledged: every number up to here that is not in `lost`. */
  ackedTo = FIRST_NUMBER - 1
  /** Forgotten by the device, or refused, before they were acknowledged. */
  readonly lost = new Set<number>()
  private next = FIRST_NUMBER
  private readonly since: number
  private skipped = 0
  private readonly underWay = new Map<number, number>()

  /** @param rate Messages a second; 0 for as many as the line takes. */
  constructor(
    private readonly id: string,
    private readonly rate: number,
    private readonly payloadBytes: number,
    private readonly monotonicMs: () => number,
  ) {
    this.since = monotonicMs()
  }

  /** Whether another message is due. What could not be sent in time is left out: a sensor measures again. */
  isDue(): boolean {
    if (this.rate === 0) return true
    const due = Math.floor(((this.monotonicMs() - this.since) * this.rate) / 1000) - this.skipped
    const made = this.next - FIRST_NUMBER
    if (due > made + this.rate) this.skipped += due - made - 1
    return due > made
  }

  /** @returns the payload of the next message: `ID NUMBER`, filled up. Call `taken` when it is on its way. */
  payload(): Buffer {
    return Buffer.from(`${this.id} ${this.next} `.padEnd(this.payloadBytes, 'x'))
  }

  /** @returns its number. */
  taken(): number {
    this.counters.published += 1
    this.underWay.set(this.next, this.monotonicMs())
    return this.next++
  }

  /** This number and all before it are on disk. */
  ackedUpTo(number: number): void {
    const nowMs = this.monotonicMs()
    for (const [each, atMs] of this.underWay) {
      if (each > number) break
      this.underWay.delete(each)
      this.counters.acked += 1
      if (this.latenciesMs.push(nowMs - atMs) > MAX_LATENCIES) this.latenciesMs.shift()
    }
    this.ackedTo = Math.max(this.ackedTo, number)
  }

  refused(number: number): void {
    this.underWay.delete(number)
    this.lost.add(number)
    this.counters.refused += 1
  }

  /** @param remembers Whether what is under way is sent again. */
  reset(remembers: boolean): void {
    this.counters.resets += 1
    if (remembers) return
    for (const number of this.underWay.keys()) this.lost.add(number)
    this.underWay.clear()
  }

  get underWayCount(): number {
    return this.underWay.size
  }
}
