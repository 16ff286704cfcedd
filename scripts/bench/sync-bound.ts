// A latency beside what a bare fdatasync of the same bytes costs on the same disk, just before and just after: at most twice that and a little.

import { tmpdir } from 'node:os'
import { probeStorage, type StorageProbe } from './storage-probe.js'
import type { BenchOptions } from './workload.js'

const ALLOWANCE_MS = 2

export class SyncBound {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly boundMs: number

  private constructor(
    probes: readonly StorageProbe[],
    private readonly syncedBytes: number,
  ) {
    this.p50Ms = Math.max(...probes.map(({ fdatasyncP50Ms }) => fdatasyncP50Ms))
    this.p99Ms = Math.max(...probes.map(({ fdatasyncP99Ms }) => fdatasyncP99Ms))
    this.boundMs = 2 * this.p99Ms + ALLOWANCE_MS
  }

  /** @param syncedBytes What one message or commit is in LevelDB's log. */
  static async around<T>(
    { quick }: BenchOptions,
    syncedBytes: number,
    measure: () => Promise<T>,
  ): Promise<{ readonly measured: T; readonly bound: SyncBound }> {
    const probe = (): StorageProbe => probeStorage(tmpdir(), quick ? 1000 : 5000, syncedBytes)
    const before = probe()
    const measured = await measure()
    return { measured, bound: new SyncBound([before, probe()], syncedBytes) }
  }

  isKept(p99Ms: number): boolean {
    return p99Ms <= this.boundMs
  }

  /** A name, p50 and p99. */
  row(): string[] {
    return [`fdatasync after ${this.syncedBytes} B`, ms(this.p50Ms), ms(this.p99Ms)]
  }

  sentence(p99Ms: number): string {
    const verdict = this.isKept(p99Ms) ? 'kept' : 'NOT kept'
    return `Bound: p99 ≤ 2 × ${ms(this.p99Ms)} + ${ALLOWANCE_MS} ms = ${ms(this.boundMs)}: ${verdict}.`
  }

  /** For the result as JSON. */
  facts(p99Ms: number): object {
    return { fdatasync_p99_ms: this.p99Ms, bound_ms: this.boundMs, kept: this.isKept(p99Ms) }
  }
}

export const ms = (value: number): string => `${value.toFixed(2)} ms`
