// Where one pull member reads: a position per partition it was given, and what its last fetch moved. Lives for one generation; the
// next one begins again from the committed offsets. Used by PullGroups alone.

import { SluiceError } from '../base/errors.js'
import type { StreamCatalog, StreamReader } from '../log/types.js'
import { type LogRecord, type Offset, toOffset, toPartitionId } from '../record/record.js'
import { decodeRecords } from '../record/record-batch.js'
import type { AssignedPartition } from './assignment.js'

/** Of one answer, inclusive: stored batches are told apart in a header, which is bounded. The others have their turn next. */
const MAX_PARTITIONS_PER_FETCH = 32

export interface PullFetch {
  readonly maxRecords: number
  /** Bounds what is read from the log; a single batch is read whole whatever its size. */
  readonly maxBytes: number
  /** `fetchId` of the last answer that arrived. */
  readonly after?: number
  /** Stored batches instead of records: not decoded, not cut. */
  readonly asStored?: boolean
}

export interface PullFetched {
  readonly generation: number
  readonly fetchId: number
  /** Only partitions with records. */
  readonly partitions: readonly PartitionRecords[]
}

export interface PartitionRecords extends AssignedPartition {
  /** Where this began to read. */
  readonly position: Offset
  readonly records: readonly LogRecord[]
  /** Where stored bytes were asked for; the first may begin below `position`. */
  readonly batches: readonly Buffer[]
  readonly nextOffset: Offset
  readonly logStartOffset: Offset
  readonly highWatermark: Offset
}

export interface Position extends AssignedPartition {
  next: Offset
}

/** The committed offset of a partition; undefined when there is none. */
export type CommittedOffset = (position: AssignedPartition) => Offset | undefined

export class PullMember {
  /** Counts fetches asked for: an older one that still waits when a newer comes answers with nothing. */
  asked = 0
  private readonly waiting = new Set<() => void>()
  private fetchId = 0
  /** Where each position was before the last fetch: what a client gets that never saw its answer. */
  private before: readonly Offset[]
  /** Where each begins that has nothing committed above it: what the generation began with, or where retention has left it. */
  private readonly begins: Offset[]
  /** The partition that comes first in the next fetch, so that none starves. */
  private turn = 0
  /** As they were when this member was given its positions. */
  private readonly readers: ReadonlyMap<string, StreamReader>

  constructor(
    readonly group: string,
    readonly id: string,
    readonly generation: number,
    readonly positions: readonly Position[],
    private readonly streams: StreamCatalog,
  ) {
    this.before = positions.map(({ next }) => next)
    this.begins = [...this.before]
    this.readers = new Map(positions.map(({ stream }) => [stream, streams.stream(stream)]))
  }

  /** A new mirror has taken the place of one that it reads: its positions say nothing about that. @throws SluiceError REBALANCE_IN_PROGRESS */
  checkReaders(): void {
    for (const [stream, reader] of this.readers)
      if (this.streams.stream(stream) !== reader)
        throw new SluiceError('REBALANCE_IN_PROGRESS', `${stream} is another now: join again`, { stream })
  }

  hasRecords(): boolean {
    return this.positions.some((position) => this.isBehind(position))
  }

  /** A new fetch: older ones that still wait end. @returns its number, to be compared with `asked`. */
  ask(): number {
    this.asked += 1
    for (const wake of [...this.waiting]) wake()
    return this.asked
  }

  /** Calls `wake` after every commit to a stream it reads, and when a newer fetch comes. The returned function ends that. */
  onChange(wake: () => void): () => void {
    this.waiting.add(wake)
    const names = new Set(this.positions.map(({ stream }) => stream))
    const ends = [...names].map((name) => this.streams.stream(name).onChange(wake))
    return () => {
      this.waiting.delete(wake)
      for (const end of ends) end()
    }
  }

  /** Goes back to where the fetch after `after` began. @throws SluiceError INVALID_REQUEST unless that is one of the last two. */
  rewind(after: number | undefined): void {
    if (after === undefined || after === this.fetchId) return
    if (after !== this.fetchId - 1)
      throw new SluiceError(
        'INVALID_REQUEST',
        `after=${after} is not one of the last two fetches of this member (it is at ${this.fetchId}): leave it out, or join again`,
        { after, fetch_id: this.fetchId },
      )
    this.positions.forEach((position, i) => {
      position.next = this.before[i]
    })
    this.fetchId = after
  }

  /** Goes back to what is committed: what was sent after it may never have arrived. */
  restart(committed: CommittedOffset): void {
    this.positions.forEach((position, i) => {
      position.next = Math.max(this.begins[i], committed(position) ?? 0) as Offset
    })
    this.before = this.positions.map(({ next }) => next)
  }

  /** Reads from all partitions that have records, each an even share, without moving. @throws SluiceError OFFSET_OUT_OF_RANGE. */
  async read({ maxRecords, maxBytes, asStored = false }: PullFetch): Promise<PartitionRecords[]> {
    const { positions, turn } = this
    const inTurn = positions.map((_, i) => positions[(turn + i) % positions.length])
    const behind = inTurn.filter((position) => this.isBehind(position)).slice(0, MAX_PARTITIONS_PER_FETCH)
    const read: PartitionRecords[] = []
    let recordsLeft = maxRecords
    let bytesLeft = maxBytes
    for (let i = 0; i < behind.length && recordsLeft > 0 && bytesLeft > 0; i++) {
      const sharers = behind.length - i
      const limits = { maxRecords: Math.ceil(recordsLeft / sharers), maxBytes: Math.ceil(bytesLeft / sharers) }
      const part = await this.readPartition(behind[i], limits, asStored)
      for (const { key, value } of part.records) bytesLeft -= (key?.length ?? 0) + (value?.length ?? 0)
      for (const { length } of part.batches) bytesLeft -= length
      recordsLeft -= part.nextOffset - part.position
      read.push(part)
    }
    return read
  }

  /** Moves past what was read; from here on that counts as delivered, until `rewind` or the next generation says otherwise. */
  advance(read: readonly PartitionRecords[]): PullFetched {
    this.before = this.positions.map(({ next }) => next)
    for (const { stream, partition, nextOffset } of read) {
      const position = this.positions.find((each) => each.stream === stream && each.partition === partition)
      if (position !== undefined) position.next = nextOffset
    }
    this.turn = (this.turn + 1) % Math.max(1, this.positions.length)
    this.fetchId += 1
    const partitions = read.filter(({ records, batches }) => records.length + batches.length > 0)
    return { generation: this.generation, fetchId: this.fetchId, partitions }
  }

  nothing(): PullFetched {
    return { generation: this.generation, fetchId: this.fetchId, partitions: [] }
  }

  private isBehind({ stream, partition, next }: Position): boolean {
    return this.streams.stream(stream).highWatermark(toPartitionId(partition)) !== next
  }

  private async readPartition(
    position: Position,
    limits: { readonly maxRecords: number; readonly maxBytes: number },
    asStored: boolean,
  ): Promise<PartitionRecords> {
    const { stream, partition, next } = position
    try {
      const fetched = await this.streams.stream(stream).fetch(toPartitionId(partition), next, limits)
      const { logStartOffset, highWatermark } = fetched
      const place = { stream, partition, position: next, logStartOffset, highWatermark }
      if (asStored) return { ...place, records: [], batches: fetched.batches, nextOffset: fetched.nextOffset }
      const records = decodeUpTo(fetched.batches, next, limits.maxRecords)
      const nextOffset = records.length === 0 ? fetched.nextOffset : toOffset(records[records.length - 1].offset + 1)
      return { ...place, records, batches: [], nextOffset }
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
      throw this.overtaken(position)
    }
  }

  /** Said once, and reading goes on where there are records: a member must not stand still for ever, nor skip in silence. */
  private overtaken(position: Position): SluiceError {
    const { stream, partition, next } = position
    const reader = this.streams.stream(stream)
    const start = reader.logStartOffset(toPartitionId(partition))
    const end = reader.highWatermark(toPartitionId(partition))
    position.next = next < start ? start : end
    this.begins[this.positions.indexOf(position)] = position.next
    const what = next < start ? `records ${next} to ${start - 1} are no longer stored` : `its records end at ${end}`
    const message = `cannot read ${stream}/${partition} from ${next}: ${what}; the next fetch goes on at ${position.next}`
    return new SluiceError('OFFSET_OUT_OF_RANGE', message, {
      stream,
      partition,
      offset: next,
      log_start_offset: start,
      high_watermark: end,
      next_offset: position.next,
    })
  }
}

function decodeUpTo(batches: readonly Buffer[], from: Offset, maxRecords: number): LogRecord[] {
  const records: LogRecord[] = []
  for (const batch of batches) {
    if (records.length >= maxRecords) break
    for (const record of decodeRecords(batch, from)) records.push(record)
  }
  if (records.length > maxRecords) records.length = maxRecords
  return records
}
