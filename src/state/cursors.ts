// How far each destination has come: the next offset it has not acknowledged, per partition. Kept in memory as it is on disk; retention
// asks it what was not delivered, replication resumes from it.

import { assert } from '../base/assert.js'
import type { Offset } from '../record/record.js'
import type { StateOperation, StateStore, StateTable } from './types.js'
import { type OffsetRange, uncoveredRanges } from './uncovered-ranges.js'

interface Row {
  readonly next: number
  /** First offset and one past the last, by turns. Left out: none. */
  readonly acked?: readonly number[]
}

/** Acknowledged, above the next offset that is not. */
export interface AckedRange {
  readonly first: Offset
  /** One past its last offset. */
  readonly next: Offset
}

/** How far a destination has come with a partition that is not sent in order. */
export interface CursorPosition {
  /** All below it is acknowledged. */
  readonly next: Offset
  /** Ascending, apart, at most MAX_ACKED_RANGES. */
  readonly acked: readonly AckedRange[]
}

export const MAX_ACKED_RANGES = 8

export interface Cursor {
  readonly destination: string
  readonly partition: number
  readonly next: Offset
  readonly acked: readonly AckedRange[]
}

export class Cursors {
  /** stream -> `destination/partition` -> cursor. */
  private readonly byStream = new Map<string, Map<string, Cursor>>()

  /** What is on its way to the disk. */
  private readonly writing = new Set<Promise<void>>()

  private constructor(private readonly table: StateTable<Row>) {}

  static async open(state: StateStore): Promise<Cursors> {
    const cursors = new Cursors(state.table<Row>('cursors'))
    for await (const [key, { next, acked = [] }] of cursors.table.entries()) {
      const [destination, stream, partition] = key.split('/')
      cursors.remember(destination, stream, Number(partition), next as Offset, rangesOf(acked))
    }
    return cursors
  }

  get(destination: string, stream: string, partition: number): Offset | undefined {
    return this.byStream.get(stream)?.get(`${destination}/${partition}`)?.next
  }

  /** What is acknowledged above `get`, of a destination that is not sent everything in order. */
  acked(destination: string, stream: string, partition: number): readonly AckedRange[] {
    return this.byStream.get(stream)?.get(`${destination}/${partition}`)?.acked ?? NONE
  }

  /** Durable when it resolves; grouped with other writes. `get` shows it from then on. */
  async set(
    destination: string,
    stream: string,
    partition: number,
    next: Offset,
    acked: readonly AckedRange[] = NONE,
  ): Promise<void> {
    assert(acked.length <= MAX_ACKED_RANGES, 'a cursor has a bounded number of ranges')
    const written = this.table
      .put(`${destination}/${stream}/${partition}`, storedRow({ next, acked }))
      .then(() => this.remember(destination, stream, partition, next, acked))
      .finally(() => this.writing.delete(written))
    this.writing.add(written)
    await written
  }

  /** `get` shows it at once, the disk when `set` says so: for a destination that knows it durably itself. */
  note(destination: string, stream: string, partition: number, next: Offset): void {
    this.remember(destination, stream, partition, next)
  }

  /** All cursors of one stream: what retention asks before it drops a segment. */
  ofStream(stream: string): readonly Cursor[] {
    return [...(this.byStream.get(stream)?.values() ?? [])]
  }

  /** Forgets a destination that left the configuration. */
  remove(destination: string): Promise<void> {
    return this.forget((cursor) => cursor.destination === destination)
  }

  /** Forgets how far anybody has come with a stream. Durable when it resolves. */
  removeStream(name: string): Promise<void> {
    return this.forget((_cursor, stream) => stream === name)
  }

  /** How far anybody has come with one stream is from now on of a stream by another name. Durable when it resolves. */
  async renameStream(stream: string, to: string): Promise<void> {
    // What was set just before is of the old stream too; nobody may set it under its name any more by now.
    await Promise.allSettled([...this.writing])
    const moved = this.ofStream(stream)
    const operations: StateOperation<Row>[] = []
    for (const { destination, partition, ...position } of moved)
      operations.push(
        { delete: `${destination}/${stream}/${partition}` },
        { put: `${destination}/${to}/${partition}`, value: storedRow(position) },
      )
    await this.table.write(operations)
    this.byStream.delete(stream)
    for (const { destination, partition, next, acked } of moved) this.remember(destination, to, partition, next, acked)
  }

  /** Streams that anybody has come anywhere with. */
  streams(): readonly string[] {
    return [...this.byStream].filter(([, cursors]) => cursors.size > 0).map(([stream]) => stream)
  }

  private async forget(which: (cursor: Cursor, stream: string) => boolean): Promise<void> {
    // What was set just before would be back, or be of what has the name then.
    await Promise.allSettled([...this.writing])
    const forgotten = [...this.byStream].flatMap(([stream, cursors]) =>
      [...cursors].filter(([, cursor]) => which(cursor, stream)).map(([key, cursor]) => ({ stream, key, cursor })),
    )
    await this.table.write(
      forgotten.map(({ stream, cursor }) => ({ delete: `${cursor.destination}/${stream}/${cursor.partition}` })),
    )
    for (const { stream, key } of forgotten) this.byStream.get(stream)?.delete(key)
  }

  private remember(
    destination: string,
    stream: string,
    partition: number,
    next: Offset,
    acked: readonly AckedRange[] = NONE,
  ): void {
    let cursors = this.byStream.get(stream)
    if (!cursors) this.byStream.set(stream, (cursors = new Map()))
    cursors.set(`${destination}/${partition}`, { destination, partition, next, acked })
  }
}

/** What is left of a range without what was acknowledged. */
export function notAcked(range: OffsetRange, acked: readonly AckedRange[]): OffsetRange[] {
  return uncoveredRanges(
    range,
    acked.map(({ first, next }) => ({ firstOffset: first, lastOffset: (next - 1) as Offset })),
  )
}

const NONE: readonly AckedRange[] = []

function storedRow({ next, acked }: CursorPosition): Row {
  return acked.length === 0 ? { next } : { next, acked: acked.flatMap((range) => [range.first, range.next]) }
}

function rangesOf(flat: readonly number[]): AckedRange[] {
  const ranges: AckedRange[] = []
  for (let i = 0; i + 1 < flat.length; i += 2) ranges.push({ first: flat[i] as Offset, next: flat[i + 1] as Offset })
  return ranges
}
