// The segments of one stream on disk: which exist, which one is written, when it rolls. Used by one stream only, whose commit queue makes
// sure that there is one writer.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../base/assert.js'
import type { Clock } from '../base/clock.js'
import type { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Ballast } from '../state/ballast.js'
import { makeDirectory } from '../state/durable-files.js'
import { type LevelOperation, mayPass, storageError } from '../state/level-database.js'
import type { OffsetCeilings } from '../state/offset-ceilings.js'
import type { PoweredOnClock } from '../state/powered-on-clock.js'
import type { StoredBatch } from './batch-reader.js'
import { batchKey, factKey } from './keys.js'
import { recoverSegment } from './recovery.js'
import { type PreparedSegment, prepareSegment, Segment, segmentName } from './segment.js'
import { factOperation, soundFacts } from './segment-facts.js'
import { addGap, type Extent, emptyExtent, extend, SEGMENT_FORMAT } from './segment-index.js'
import type { OpenSegments, SegmentList } from './segment-list.js'
import { jumpToFloors, loadSegments } from './segment-loading.js'
import { TailCache } from './tail-cache.js'
import type { TopicSet } from './topic-set.js'
import { LARGE_WRITE_BYTES } from './wal-layout.js'

export interface SegmentStoreOptions {
  readonly stream: string
  readonly directory: string
  readonly quarantineDirectory: string
  readonly partitions: number
  /** Partitions on disk beyond these are opened as well. */
  readonly allPartitions: boolean
  /** Have the first segment ready before the first record. */
  readonly prepareEarly: boolean
  /** Nothing is written any more. */
  readonly retired: boolean
  readonly ballast: Ballast
  /** A segment rolls before it would exceed this. */
  readonly segmentBytes: number
  /** Kept in memory of the newest records while somebody follows them; 0: none. */
  readonly tailCacheBytes: number
  readonly ceilings: Pick<OffsetCeilings, 'cover' | 'floorOf' | 'hideEnds' | 'end' | 'endOf' | 'hasEnded' | 'knows'>
  readonly openSegments: OpenSegments
  readonly poweredOn: PoweredOnClock
  readonly clock: Clock
  readonly logger: Logger
  /** Names offsets that damage has taken; durable when it resolves. */
  readonly onDamage: (damage: readonly Damage[]) => Promise<void>
  /** Called for a failed write after which nothing may be trusted (D4): the process must end. */
  readonly onFatal: (error: SluiceError) => void
}

/** Offsets of one partition that cannot be read any more, both inclusive. */
export interface Damage {
  readonly partition: number
  readonly first: number
  readonly last: number
  /** There may never have been records there: where the partition ended cannot be told. */
  readonly endUnknown?: boolean
}

/** Where a partition ends: what the next record gets. */
export interface PartitionEnd {
  offset: number
  /** Raised whenever the end could not be proven at start. */
  epoch: number
}

export interface SegmentWrite {
  /** Ascending per partition. Offsets that are left out must be in the ledger. */
  readonly batches: readonly StoredBatch[]
  /** null removes. */
  readonly facts: ReadonlyMap<string, Uint8Array | null>
  readonly topics: TopicSet
  readonly bytes: number
  readonly onCopied: () => void
}

export class SegmentStore {
  readonly tail: TailCache
  private active: Segment | null = null
  private standby: Promise<PreparedSegment> | null = null
  private sealing: Promise<void> = Promise.resolve()
  private nextSequence: number
  /** Since the active segment was begun. */
  private activeWrites = 0
  /** A write to the active segment was refused: what it holds must be read back before anything is built on it (D4). */
  private distrusted = false
  /** Their seal failed; open and readable, to be read back and sealed once the disk lets it. */
  private readonly unsealed = new Set<Segment>()

  private constructor(
    private readonly options: SegmentStoreOptions,
    readonly segments: SegmentList,
    /** Of each partition, as durable. */
    readonly ends: PartitionEnd[],
    /** As durable. */
    readonly facts: Map<string, Uint8Array>,
  ) {
    this.nextSequence = (segments.newest?.header.sequence ?? 0) + 1
    this.tail = new TailCache(options.tailCacheBytes)
  }

  /** Finishes what a crash left half done, verifies what was not sealed, and finds where each partition ends. */
  static async open(options: SegmentStoreOptions): Promise<SegmentStore> {
    await makeDirectory(options.directory)
    const { segments, ends } = await loadSegments(options)
    const store = new SegmentStore(options, segments, ends, await soundFacts(segments, options.logger))
    if (options.prepareEarly) store.standby = store.prepare()
    return store
  }

  /**
   * Makes batches and facts durable in one sync write. They are copied before `onCopied` is called. On failure nothing of them
   * may be acknowledged and nothing more be written: see `reopen`.
   * @param bytes About what the write takes.
   */
  async write({ batches, facts, topics, bytes, onCopied }: SegmentWrite): Promise<void> {
    const segment = await this.segmentFor(bytes)
    const operations: LevelOperation[] = []
    const extents = segment.extents.map((extent) => ({ ...extent }))
    for (const { partition, batch } of batches) {
      const extent = extents[partition]
      extend(extent, batch)
      operations.push({ type: 'put', key: batchKey(partition, batch), value: batch })
    }
    await this.options.ceilings.cover(
      this.options.stream,
      extents.map((extent, partition) => [partition, extent.end]),
    )
    for (const [name, value] of facts) {
      if (value === null) operations.push({ type: 'del', key: factKey(name) })
      else operations.push(factOperation(name, value))
    }
    this.activeWrites += 1
    let newest: readonly StoredBatch[] = []
    try {
      await segment.write(operations, () => {
        newest = this.tail.copies(batches)
        onCopied()
      })
    } catch (error) {
      this.distrusted = true
      this.tail.clear()
      throw error
    }
    this.advance(segment, extents)
    this.tail.add(newest)
    segment.topics.addAll(topics)
    for (const [name, value] of facts) {
      if (value === null) this.facts.delete(name)
      else this.facts.set(name, value)
    }
  }

  /** Adds a partition, to begin there. Durable once a fact says so (added-partition.ts), or with the next segment. */
  addPartition(end: PartitionEnd): void {
    this.active?.extents.push(emptyExtent(end.offset, end.epoch))
    this.ends.push(end)
  }

  /** Seals the active segment, so that the next write begins another. Resolves when the seal is complete. */
  async roll(): Promise<void> {
    const segment = this.active
    if (segment === null) return
    this.active = null
    // One at a time: LevelDB flushes on a single thread, and each segment being sealed holds its memtable.
    this.sealing = this.sealing.then(() => this.seal(segment))
    await this.sealing
  }

  /** The oldest offset of a partition; its end when nothing is stored. */
  startOf(partition: number): number {
    return this.segments.startOf(partition) ?? this.ends[partition].offset
  }

  /** Milliseconds of powered-on time since the active segment was begun; 0 if there is none. */
  get activeAgeMs(): number {
    return this.active === null ? 0 : this.options.poweredOn.nowMs() - this.active.header.poweredOnMs
  }

  /** The oldest segment if it is not being written. */
  get oldestDroppable(): Segment | undefined {
    return this.segments.oldest === this.active ? undefined : this.segments.oldest
  }

  /** Removes the oldest segment. The caller has entered what it owes into the ledger. */
  async dropOldest(): Promise<void> {
    await this.sealing
    const oldest = this.segments.oldest
    assert(oldest !== undefined && oldest !== this.active, 'the active segment is never dropped')
    // The newest segment carries the ends of all partitions into the next start: a fresh one takes that over first.
    if (oldest === this.segments.newest) {
      if (this.options.retired) await this.options.ceilings.end(this.options.stream, this.ends)
      else await this.birth()
    }
    this.options.openSegments.forget(oldest)
    this.segments.removeOldest()
    await oldest.drop()
    this.options.logger.info('dropped segment', {
      sequence: oldest.header.sequence,
      records: oldest.records,
      bytes: oldest.bytes,
    })
  }

  /**
   * After a failed write: closes the active segment, verifies what the disk has of it, and takes the ends from there (D4).
   * @throws SluiceError as long as the disk does not let it; to be called again.
   */
  async reopen(): Promise<void> {
    this.tail.clear()
    await this.sealing
    await this.discardStandby()
    for (const segment of [...this.unsealed, ...(this.active ? [this.active] : [])]) {
      const recovered = await segment.replacedBy(async () => {
        const readBack = await recoverSegment(segment.directory, this.options)
        this.segments.replace(segment, readBack)
        return readBack
      })
      this.unsealed.delete(segment)
      if (segment !== this.active) continue
      this.active = null
      this.distrusted = false
      const acknowledged = this.ends.map(({ offset }) => offset)
      recovered.extents.forEach(({ end, epoch }, partition) => {
        this.ends[partition].offset = end
        this.ends[partition].epoch = epoch
      })
      await this.reloadFacts(recovered)
      await this.goOnBehind(acknowledged)
    }
  }

  /** Those of a write that was refused may be there all the same, with its records. */
  private async reloadFacts(recovered: Segment): Promise<void> {
    const { facts } = await recovered.facts()
    this.facts.clear()
    for (const [name, value] of facts) this.facts.set(name, value)
  }

  /** What the disk has of the partitions may end before what was acknowledged: those offsets are never given again. */
  private async goOnBehind(acknowledged: readonly number[]): Promise<void> {
    const lost = this.ends.flatMap(({ offset }, partition): [number, number][] =>
      offset < acknowledged[partition] ? [[partition, offset]] : [],
    )
    if (lost.length === 0) return
    await this.options.ceilings.hideEnds(this.options.stream, lost)
    await this.options.onDamage(jumpToFloors(this.options, this.ends))
  }

  /** The MQTT topics a segment holds records of; null when they are too many to list, or damage has taken the list: then any may be there. */
  async topicsOf(segment: Segment): Promise<readonly string[] | null> {
    try {
      return await segment.topicNames()
    } catch (error) {
      if (storageError(error, 'a list of topics cannot be read').code !== 'CORRUPT_MESSAGE') throw error
      this.options.logger.error('a list of topics is damaged; readers who want some of them read all of the segment', {
        sequence: segment.header.sequence,
        reason: error,
      })
      segment.topicsLost()
      return null
    }
  }

  /** Some segment's seal failed: `reopen` tries again. */
  get hasUnsealed(): boolean {
    return this.unsealed.size > 0
  }

  /** Resolves when no seal is under way. */
  get settled(): Promise<void> {
    return this.sealing
  }

  /** Seals what is active, unless a write to it was refused: the next start reads that back. Closes everything. */
  async close(): Promise<void> {
    if (!this.distrusted) await this.roll()
    await this.sealing
    await this.discardStandby()
    for (const segment of this.segments.all) await segment.close()
  }

  private async discardStandby(): Promise<void> {
    const standby = await this.standby?.catch(() => null)
    this.standby = null
    if (!standby) return
    await standby.layout.close()
    await standby.database.close()
    await rm(standby.directory, { recursive: true, force: true })
  }

  private async segmentFor(bytes: number): Promise<Segment> {
    const { segmentBytes } = this.options
    const active = this.active
    if (active !== null && active.bytes + bytes > segmentBytes && active.bytes > 0) {
      await this.sealing
      // Not awaited: the next segment takes the writes while this one is flushed.
      this.roll().catch(() => {})
    } else if (active !== null) {
      if (active.bytes + bytes > segmentBytes / 2) this.standby ??= this.prepare()
      return active
    }
    return this.birth()
  }

  private async birth(): Promise<Segment> {
    const prepared = await (this.standby ?? this.prepare())
    this.standby = null
    const segment = await Segment.birth(
      prepared,
      {
        format: SEGMENT_FORMAT,
        stream: this.options.stream,
        sequence: this.nextSequence,
        createdAtMs: this.options.clock.wallMs(),
        poweredOnMs: this.options.poweredOn.nowMs(),
        bases: this.ends.map((end) => end.offset),
        epochs: this.ends.map((end) => end.epoch),
      },
      this.facts,
    )
    try {
      // From here on a start misses the segment if it is gone.
      await this.segments.newest?.succeeded()
    } catch (error) {
      await segment.close()
      throw error
    }
    this.nextSequence += 1
    this.activeWrites = 0
    // Partitions may have been added since its header was made; a fact says so of each.
    for (const { offset, epoch } of this.ends.slice(segment.extents.length))
      segment.extents.push(emptyExtent(offset, epoch))
    this.segments.add(segment)
    this.active = segment
    return segment
  }

  private prepare(): Promise<PreparedSegment> {
    const { directory, segmentBytes } = this.options
    const prepared = prepareSegment(join(directory, segmentName(this.nextSequence)), {
      writeBufferBytes: segmentBytes * 2,
      // Large commits gain nothing by it, and would pay for the zeros.
      laidOutBytes:
        this.active !== null && this.active.bytes > this.activeWrites * LARGE_WRITE_BYTES ? 0 : segmentBytes,
    })
    // Whoever needs it will see the failure; until then it is nobody's.
    prepared.catch(() => {
      this.standby = null
    })
    return prepared
  }

  private advance(segment: Segment, extents: readonly Extent[]): void {
    segment.lastWritePoweredOnMs = this.options.poweredOn.nowMs()
    for (let partition = 0; partition < extents.length; partition++) {
      const { gaps, end, epoch } = extents[partition]
      // Gaps may have been found meanwhile.
      Object.assign(segment.extents[partition], extents[partition], { gaps: segment.extents[partition].gaps })
      for (const [first, last] of gaps) addGap(segment.extents[partition], first, last)
      this.ends[partition].offset = end
      this.ends[partition].epoch = epoch
    }
  }

  private async seal(segment: Segment): Promise<void> {
    try {
      await segment.seal()
      this.options.logger.debug('sealed segment', { sequence: segment.header.sequence, bytes: segment.bytes })
    } catch (error) {
      // Its records are synced in its write-ahead log and stay readable.
      this.unsealed.add(segment)
      const failure = storageError(error, 'a segment cannot be sealed')
      if (mayPass(failure))
        this.options.logger.warn('a segment could not be sealed; will try again', { reason: failure })
      else this.options.onFatal(failure)
    }
  }
}
