// For each partition an offset that the log will not reach before this was raised (D5). When damage hides where a partition ended, writing
// resumes at its ceiling: whatever was acknowledged lies below, so no offset is ever used twice. That it must is remembered as the
// partition's floor, because what showed the damage may be gone at the next start.

import type { StateStore, StateTable } from './types.js'

/** How far ahead a ceiling is set: one synced write per so many records, and at most so many offsets jumped over after damage. */
export const CEILING_STEP = 1_000_000

export class OffsetCeilings {
  private readonly ceilings = new Map<string, number>()
  private readonly floors = new Map<string, number>()

  private constructor(
    private readonly table: StateTable<number>,
    private readonly floorTable: StateTable<number>,
  ) {}

  static async open(state: StateStore): Promise<OffsetCeilings> {
    const loaded = new OffsetCeilings(state.table<number>('ceilings'), state.table<number>('floors'))
    for await (const [key, ceiling] of loaded.table.entries()) loaded.ceilings.set(key, ceiling)
    for await (const [key, floor] of loaded.floorTable.entries()) loaded.floors.set(key, floor)
    return loaded
  }

  /** 0 for a partition never written. */
  of(stream: string, partition: number): number {
    return this.ceilings.get(`${stream}/${partition}`) ?? 0
  }

  /** One more than the largest partition ever written; 0 if none was. */
  partitionsOf(stream: string): number {
    const written = [...this.ceilings.keys()].map((key) => key.split('/')).filter(([name]) => name === stream)
    return Math.max(0, ...written.map(([, partition]) => Number(partition) + 1))
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

  /** Where writing goes on at the earliest since an end was hidden; 0 if none ever was. */
  floorOf(stream: string, partition: number): number {
    return this.floors.get(`${stream}/${partition}`) ?? 0
  }

  /**
   * Raises the floors of partitions whose end cannot be proven any more to their ceilings. Durable when it resolves.
   * @param proven What is still known of each: one past the last offset that was there for certain.
   */
  async hideEnds(stream: string, proven: Iterable<readonly [partition: number, end: number]>): Promise<void> {
    // Without any ceiling the state database was lost as well; otherwise one without a ceiling was never written.
    const known = [...this.ceilings.keys()].some((key) => key.startsWith(`${stream}/`))
    const raised: { put: string; value: number }[] = []
    for (const [partition, end] of proven) {
      const floor = known ? this.of(stream, partition) : end + CEILING_STEP
      if (floor > end) raised.push({ put: `${stream}/${partition}`, value: floor })
    }
    await this.floorTable.write(raised)
    for (const { put, value } of raised) this.floors.set(put, value)
  }
}
