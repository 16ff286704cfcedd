// For each partition an offset that the log will not reach before this was raised (D5). When damage hides where a partition ended, writing
// resumes at its ceiling: whatever was acknowledged lies below, so no offset is ever used twice.

import type { StateStore, StateTable } from './types.js'

/** How far ahead a ceiling is set: one synced write per so many records, and at most so many offsets jumped over after damage. */
export const CEILING_STEP = 1_000_000

export class OffsetCeilings {
  private readonly ceilings = new Map<string, number>()

  private constructor(private readonly table: StateTable<number>) {}

  static async open(state: StateStore): Promise<OffsetCeilings> {
    const loaded = new OffsetCeilings(state.table<number>('ceilings'))
    for await (const [key, ceiling] of loaded.table.entries()) loaded.ceilings.set(key, ceiling)
    return loaded
  }

  /** 0 for a partition never written. */
  of(stream: string, partition: number): number {
    return this.ceilings.get(`${stream}/${partition}`) ?? 0
  }

  /** Makes sure that every end is at or below its ceiling. Durable when it resolves; usually there is nothing to do. */
  async cover(stream: string, ends: Iterable<readonly [partition: number, end: number]>): Promise<void> {
    const raised: { put: string; value: number }[] = []
    for (const [partition, end] of ends) {
      if (end > this.of(stream, partition)) raised.push({ put: `${stream}/${partition}`, value: end + CEILING_STEP })
    }
    if (raised.length === 0) return
    await this.table.write(raised)
    for (const { put, value } of raised) this.ceilings.set(put, value)
  }
}
