// What all streams of a node may store together.

import type { LogStream } from './stream.js'

/** Drops segments until the budget holds: spent ones first, whichever stream they are of, then the oldest that may go (D9). */
export async function keepDiskBudget(streams: () => readonly LogStream[], budgetBytes: number): Promise<void> {
  for (;;) {
    const all = streams()
    if (all.reduce((sum, stream) => sum + stream.stats().bytes, 0) <= budgetBytes) return
    const candidates = all.flatMap((stream) => {
      const candidate = stream.dropCandidate
      return candidate ? [{ stream, ...candidate }] : []
    })
    candidates.sort((a, b) => Number(b.spent) - Number(a.spent) || a.lastWritePoweredOnMs - b.lastWritePoweredOnMs)
    if (!(await candidates[0]?.stream.makeRoom('retention'))) return
  }
}
