// The segments of one stream on disk: what was written of it, where each partition ends, which facts hold. Used by one stream only, whose commit
// queue makes sure that there is one writer.

import { assert } from '../base/assert.js'
import type { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { Ballast } from '../state/ballast.js'
import { makeDirectory } from '../state/durable-files.js'
import { type LevelOperation, mayPass, storageError } from '../state/level-database.js'
import type { OffsetCeilings } from '../state/offset-ceilings.js'
import type { StoredBatch } from './batch-reader.js'
import type { Damage } from './damage-ledger.js'
import { batchKey, factKey } from './keys.js'
import { recoverSegment } from './recovery.js'
import { SealQueue } from './seal-queue.js'
import type { Segment } from './segment.js'
import { factOperation, soundFacts } from './segment-facts.js'
import { addGap, type Extent, emptyExtent, extend, type PartitionEnd } from './segment-index.js'
import type { OpenSegments, SegmentList } from './segment-list.js'
import { jumpToFloors, loadSegments } from './segment-loading.js'
import { SegmentRoller, type SegmentRollerOptions } from './segment-roller.js'
import { TailCache } from './tail-cache.js'
import type { TopicSet } from './topic-set.js'

export interface SegmentStoreOptions extends SegmentRollerOptions {
  /** Moves a segment that cannot be read out of the stream, for whoever wants to look into it. @returns where it is now. */
  readonly setAside: (directory: string) => Promise<string>
  readonly partitions: number
  /** Partitions on disk beyond these are opened as well. */
  readonly allPartitions: boolean
  /** Have the first segment ready before the first record. */
  readonly prepareEarly: boolean
  /** Nothing is written any more. */
  readonly retired: boolean
  readonly ballast: Ballast
  /** Kept in memory of the newest records while somebody follows them; 0: none. */
  readonly tailCacheBytes: number
  readonly ceilings: Pick<
    OffsetCeilings,
    'cover' | 'of' | 'floorOf' | 'hideEnds' | 'end' | 'endOf' | 'hasEnded' | 'knows'
  >
  readonly openSegments: OpenSegments
  readonly logger: Logger
  /** Names offsets that damage has taken; durable when it resolves. */
  readonly onDamage: (damage: readonly Damage[]) => Promise<void>
  /** Called for a failed write after which nothing may be trusted (D4): the process must end. */
  readonly onFatal: (error: SluiceError) => void
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
  private readonly seals: SealQueue
  private readonly roller: SegmentRoller
  /** A write to the active segment was refused: what it holds must be read back before anything is built on it (D4). */
  private distrusted = false
  /** Of each partition, as far as they have been asked for: while it is written they only rise. */
  private readonly ceilings: number[] = []

  private constructor(
    private readonly options: SegmentStoreOptions,
    readonly segments: SegmentList,
    /** Of each partition, as durable. */
    readonly ends: PartitionEnd[],
    /** As durable. */
    readonly facts: Map<string, Uint8Array>,
  ) {
    this.seals = new SealQueue(options.logger, options.onFatal)
    this.roller = new SegmentRoller(options, segments, this.seals, ends, facts)
    this.tail = new TailCache(options.tailCacheBytes)
  }

  /** Finishes what a crash left half done, verifies what was not sealed, and finds where each partition ends. */
  static async open(options: SegmentStoreOptions): Promise<SegmentStore> {
    await makeDirectory(options.directory)
    const { segments, ends, isNewestMissing } = await loadSegments(options)
    const facts = await soundFacts(segments, isNewestMissing, options.logger)
    const store = new SegmentStore(options, segments, ends, facts)
    if (options.prepareEarly) store.roller.prepareEarly()
    if (store.goesOnElsewhere && !options.retired) await store.beginElsewhere()
    return store
  }

  /** Damage has hidden where a partition ended: the next record is not where the newest segment ends. */
  private get goesOnElsewhere(): boolean {
    const { newest } = this.segments
    return this.ends.some(({ offset }, partition) => offset > (newest?.extents[partition]?.end ?? 0))
  }

  /** A segment that begins where writing goes on says so from then on, also to a start that finds a state database from before. */
  private async beginElsewhere(): Promise<void> {
    try {
      await this.options.ballast.withRoom(() => this.roller.begin())
    } catch (error) {
      // The first write will have to.
      const failure = storageError(error, 'a segment cannot be begun')
      if (!mayPass(failure)) throw failure
    }
  }

  /**
   * Makes batches and facts durable in one sync write. They are copied before `onCopied` is called. On failure nothing of them
   * may be acknowledged and nothing more be written: see `reopen`.
   * @param bytes About what the write takes.
   */
  async write({ batches, facts, topics, bytes, onCopied }: SegmentWrite): Promise<void> {
    const segment = await this.roller.segmentFor(bytes)
    const operations: LevelOperation[] = []
    // Of the partitions that are written, as they will be; the others, thousands perhaps, are not looked at.
    const extents = new Map<number, Extent>()
    for (const { partition, batch } of batches) {
      let extent = extents.get(partition)
      if (extent === undefined) extents.set(partition, (extent = { ...segment.extents[partition] }))
      extend(extent, batch)
      operations.push({ type: 'put', key: batchKey(partition, batch), value: batch })
    }
    const isAbove = [...extents].some(([partition, { end }]) => end > (this.ceilings[partition] ?? 0))
    if (isAbove) await this.raiseCeilings(segment, extents)
    for (const [name, value] of facts) {
      if (value === null) operations.push({ type: 'del', key: factKey(name) })
      else operations.push(factOperation(name, value))
    }
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
    this.roller.active?.extents.push(emptyExtent(end.offset, end.epoch))
    this.ends.push(end)
  }

  /** Seals the active segment, so that the next write begins another. Resolves when the seal is complete. */
  roll(): Promise<void> {
    return this.roller.roll()
  }

  /** The oldest offset of a partition; its end when nothing is stored. */
  startOf(partition: number): number {
    return this.segments.startOf(partition) ?? this.ends[partition].offset
  }

  /** Milliseconds of powered-on time since the active segment was begun; 0 if there is none. */
  get activeAgeMs(): number {
    return this.roller.activeAgeMs
  }

  /** The oldest segment if it is not being written. */
  get oldestDroppable(): Segment | undefined {
    return this.segments.oldest === this.roller.active ? undefined : this.segments.oldest
  }

  /** Removes the oldest segment. The caller has entered what it owes into the ledger. */
  async dropOldest(): Promise<void> {
    await this.seals.settled
    const oldest = this.segments.oldest
    assert(oldest !== undefined && oldest !== this.roller.active, 'the active segment is never dropped')
    // The newest segment carries the ends of all partitions into the next start: a fresh one takes that over first.
    if (oldest === this.segments.newest) {
      if (this.options.retired) await this.options.ceilings.end(this.options.stream, this.ends)
      else await this.roller.begin()
    }
    this.options.openSegments.forget(oldest)
    this.segments.removeOldest()
    this.seals.unsealed.delete(oldest)
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
    await this.seals.settled
    await this.roller.discardStandby()
    const { active } = this.roller
    // Closed by the first attempt, whatever becomes of it: nothing else may seal it.
    if (active !== null) this.distrusted = true
    for (const segment of [...this.seals.unsealed, ...(active ? [active] : [])]) {
      const recovered = await segment.replacedBy(async () => {
        const readBack = await recoverSegment(segment.directory, this.options)
        this.segments.replace(segment, readBack)
        return readBack
      })
      this.seals.unsealed.delete(segment)
      if (segment !== active) continue
      this.roller.giveUpActive()
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
    return this.seals.unsealed.size > 0
  }

  /** Resolves when no seal is under way. */
  get settled(): Promise<void> {
    return this.seals.settled
  }

  /** Seals what is active, unless a write to it was refused: the next start reads that back. Closes everything. */
  async close(): Promise<void> {
    if (!this.distrusted) await this.roll()
    await this.seals.settled
    await this.roller.discardStandby()
    for (const segment of this.segments.all) await segment.close()
  }

  /** Before a write whose ends lie above the ceilings. @param extents Of the partitions that are written, as they will be. */
  private async raiseCeilings(segment: Segment, extents: ReadonlyMap<number, Extent>): Promise<void> {
    const { ceilings, stream } = this.options
    const ends = segment.extents.map(({ end }, i): [number, number] => [i, extents.get(i)?.end ?? end])
    await ceilings.cover(stream, ends)
    for (const [partition] of ends) this.ceilings[partition] = ceilings.of(stream, partition)
  }

  private advance(segment: Segment, extents: ReadonlyMap<number, Extent>): void {
    segment.lastWritePoweredOnMs = this.options.poweredOn.nowMs()
    for (const [partition, extent] of extents) {
      const stored = segment.extents[partition]
      // Gaps may have been found meanwhile.
      Object.assign(stored, extent, { gaps: stored.gaps })
      for (const [first, last] of extent.gaps) addGap(stored, first, last)
      this.ends[partition].offset = extent.end
      this.ends[partition].epoch = extent.epoch
    }
  }
}
