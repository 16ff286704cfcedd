// For each partition an offset that the log will not reach before this was raised (D5). When damage hides where a partition ended, writing
// resumes at its ceiling: whatever was acknowledged lies below, so no offset is ever used twice. That it must is remembered as the
// partition's floor, because what showed the damage may be gone at the next start.

import type { StateStore, StateTable } from './types.js'

/** How far ahead a ceiling is set: one synced write per so many records, and at most so many offsets jumped over after damage. */
export const CEILING_STEP = 1_000_000

/** So many raises at most can be missing when the state database has gone back: one for each write that is gone, and never more than these. */
export const MAX_LOST_RAISES = 100

interface PartitionEnd {
  readonly offset: number
  readonly epoch: number
}

type EndRow = readonly [offset: number, epoch: number]

export class OffsetCeilings {
  private readonly ceilings = new Map<string, number>()
  private readonly floors = new Map<string, number>()
  private readonly ended = new Map<string, EndRow>()

  private constructor(
    private readonly table: StateTable<number>,
    private readonly floorTable: StateTable<number>,
    private readonly endedTable: StateTable<EndRow>,
    private readonly step: number,
  ) {}

  static async open(state: StateStore, step = CEILING_STEP): Promise<OffsetCeilings> {
    const loaded = new OffsetCeilings(
      state.table<number>('ceilings'),
      state.table<number>('floors'),
      state.table<EndRow>('ended'),
      step,
    )
    for await (const [key, ceiling] of loaded.table.entries()) loaded.ceilings.set(key, ceiling)
    for await (const [key, floor] of loaded.floorTable.entries()) loaded.floors.set(key, floor)
    for await (const [key, end] of loaded.endedTable.entries()) loaded.ended.set(key, end)
    return loaded
  }

  /**
   * The state database has gone back: puts all ceilings where they can have been at most. Durable when it resolves.
   * @param lostWrites How many writes are gone; null if nobody knows.
   */
  static async recover(state: StateStore, lostWrites: number | null): Promise<void> {
    const { ceilings, table, ended } = await OffsetCeilings.open(state)
    const raise = Math.min(lostWrites ?? MAX_LOST_RAISES, MAX_LOST_RAISES) * 2 * CEILING_STEP
    await table.write(
      [...ceilings]
        // Nothing was written behind an end that is the last word.
        .filter(([key, ceiling]) => ended.get(key)?.[0] !== ceiling)
        .map(([key, ceiling]) => ({ put: key, value: ceiling + raise })),
    )
  }

  /** 0 for a partition never written. */
  of(stream: string, partition: number): number {
    return this.ceilings.get(`${stream}/${partition}`) ?? 0
  }

  /** Whether something has ever been written to a stream. */
  knows(stream: string): boolean {
    return this.partitionsOf(stream) > 0
  }

  /** Every stream something has ever been written to. */
  streams(): readonly string[] {
    return [...new Set([...this.ceilings.keys()].map((key) => key.slice(0, key.lastIndexOf('/'))))]
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
      if (end > this.of(stream, partition)) raised.push({ put: `${stream}/${partition}`, value: end + this.step })
    }
    if (raised.length === 0) return
    await this.table.write(raised)
    for (const { put, value } of raised) this.ceilings.set(put, value)
  }

  /** Remembers where a stream ended of which nothing is kept any more: there it goes on, if it ever does. Durable when it resolves. */
  async end(stream: string, ends: readonly PartitionEnd[]): Promise<void> {
    const rows = ends.map(({ offset, epoch }, partition) => ({ key: `${stream}/${partition}`, offset, epoch }))
    await this.endedTable.write(rows.map(({ key, offset, epoch }) => ({ put: key, value: [offset, epoch] as const })))
    // What is written later raises the ceiling again: then this end is no longer the last word.
    await this.table.write(rows.map(({ key, offset }) => ({ put: key, value: offset })))
    for (const { key, offset, epoch } of rows) {
      this.ended.set(key, [offset, epoch])
      this.ceilings.set(key, offset)
    }
  }

  /** Where a partition ended of which nothing is kept any more; null if it has not been ended. */
  endOf(stream: string, partition: number): PartitionEnd | null {
    const end = this.ended.get(`${stream}/${partition}`)
    return end && end[0] === this.of(stream, partition) ? { offset: end[0], epoch: end[1] } : null
  }

  /** Whether a stream has been ended and not been written since. */
  hasEnded(stream: string): boolean {
    return this.endOf(stream, 0) !== null
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
    const known = this.knows(stream)
    const raised: { put: string; value: number }[] = []
    for (const [partition, end] of proven) {
      // A ceiling below an end has been lost and come back older.
      const credible = known && this.of(stream, partition) >= end
      const floor = credible ? this.of(stream, partition) : end + this.step
      if (floor > end) raised.push({ put: `${stream}/${partition}`, value: floor })
    }
    await this.floorTable.write(raised)
    for (const { put, value } of raised) this.floors.set(put, value)
  }
}
