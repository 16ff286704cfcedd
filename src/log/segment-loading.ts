// Reads a stream's directory at start: removes what a crash left half born or half dropped, recovers what was not sealed, names what is
// missing between segments, and finds where each partition ends.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../base/errors.js'
import { listDirectory } from '../state/durable-files.js'
import { damagedTables } from '../state/table-check.js'
import { checkWal } from '../state/wal-check.js'
import type { Damage } from './damage-ledger.js'
import { hasFirstLog, lacksAcknowledged, readLiveFile } from './live-file.js'
import { recoverSegment } from './recovery.js'
import { salvageSegment, takePlace } from './salvage.js'
import { Segment } from './segment.js'
import { DROPPED_SUFFIX, isLive, SALVAGED_SUFFIX, SEGMENT_NAME } from './segment-directory.js'
import type { PartitionEnd } from './segment-index.js'
import { SegmentList } from './segment-list.js'
import type { SegmentStoreOptions } from './segment-store.js'

export interface LoadedSegments {
  readonly segments: SegmentList
  readonly ends: PartitionEnd[]
  /** The newest there is was not the newest: what came after it is gone. */
  readonly isNewestMissing: boolean
}

export async function loadSegments(options: SegmentStoreOptions): Promise<LoadedSegments> {
  const segments = new SegmentList()
  const damage: Damage[] = []
  const unreadable: string[] = []
  const names = await segmentNames(options.directory)
  for (const name of names) {
    const directory = join(options.directory, name)
    const segment = await loadSegment(directory, segments, options, (proven) =>
      // A segment that begins later says where this one ended.
      name === names.at(-1) ? hideEnds(options, segments, proven) : Promise.resolve(),
    )
    if (segment === null) {
      unreadable.push(directory)
      continue
    }
    damage.push(...missingBefore(segment, segments, unreadable.length > 0))
    segments.add(segment)
    segment.extents.forEach(({ gaps }, partition) => {
      for (const [first, last] of gaps) damage.push({ partition, first, last })
    })
  }
  const isNewestMissing = await missNewest(options, segments)
  const ends = partitionEnds(options, segments)
  damage.push(...jumpToFloors(options, ends))
  await options.onDamage(damage)
  // Only now: of the oldest of a stream nothing but the directory itself says that something is missing.
  for (const directory of unreadable) {
    const aside = await options.ballast.withRoom(() => options.setAside(directory))
    options.logger.error('an unreadable segment was set aside', { aside })
  }
  return { segments, ends, isNewestMissing }
}

/** The live segments by age; finishes births, drops and salvages that a crash interrupted. */
async function segmentNames(directory: string): Promise<string[]> {
  const names: string[] = []
  const entries = await listDirectory(directory)
  for (const entry of entries) {
    const path = join(directory, entry)
    if (entry.endsWith(DROPPED_SUFFIX)) await rm(path, { recursive: true, force: true })
    else if (entry.endsWith(SALVAGED_SUFFIX)) {
      const name = entry.slice(0, -SALVAGED_SUFFIX.length)
      if (entries.includes(name)) await rm(path, { recursive: true, force: true })
      else {
        await takePlace(path, join(directory, name))
        names.push(name)
      }
    } else if (!SEGMENT_NAME.test(entry)) continue
    else if (await isLive(path)) names.push(entry)
    else await rm(path, { recursive: true, force: true })
  }
  return names
}

/**
 * @param onHiddenEnds Called when partitions may have reached further than can be read: all but those whose end is proven. What shows this stays
 * untouched until it has resolved.
 * @returns null if nothing of it can be read.
 */
async function loadSegment(
  directory: string,
  before: SegmentList,
  options: SegmentStoreOptions,
  onHiddenEnds: (proven: ReadonlySet<number>) => Promise<void>,
): Promise<Segment | null> {
  const sealed = await Segment.openSealed(directory)
  if (sealed) return sealed
  const { logger, ballast } = options
  const wal = await checkWal(directory)
  const isCut = await lacksAcknowledged(directory, wal)
  const isWholeLog = !wal.damaged && !isCut && (await hasFirstLog(directory))
  const tables = await damagedTables(directory)
  const isChanged = wal.damaged || isCut || tables.length > 0
  if (isCut) logger.error('a write-ahead log has lost its end', { directory })
  else if (wal.damaged) logger.error('a write-ahead log is damaged', { directory })
  else if (tables.length > 0) logger.error('bytes of a segment have changed', { directory, tables: tables.join(', ') })
  else {
    try {
      return await ballast.withRoom(() => recoverSegment(directory, { logger }))
    } catch (error) {
      if (!(error instanceof SluiceError) || error.code !== 'CORRUPT_MESSAGE') throw error
      logger.error('files of a segment are damaged or missing', { directory, reason: error })
    }
  }
  const salvaged = await ballast.withRoom(() =>
    salvageSegment(directory, {
      ...options,
      wal,
      isWholeLog,
      mayLackFiles: isCut || (!isChanged && !isWholeLog),
      before: before.newest?.extents ?? [],
    }),
  )
  await onHiddenEnds(salvaged?.proven ?? new Set())
  return salvaged === null ? null : salvaged.takePlace()
}

/** Each segment says whether another was begun after it: one that is gone has taken the ends of the partitions with it. */
async function missNewest(options: SegmentStoreOptions, segments: SegmentList): Promise<boolean> {
  const { stream, ceilings, logger } = options
  const { newest } = segments
  if (newest === undefined) {
    const ended = ceilings.hasEnded(stream)
    if (ended || !ceilings.knows(stream)) return false
    logger.error('all segments of a stream are gone', { directory: options.directory })
  } else {
    const witness = await readLiveFile(newest.directory)
    if (witness !== null && !witness.succeeded) return false
    const { sequence } = newest.header
    if (witness === null) logger.error('whether a segment is the newest cannot be told any more', { sequence })
    else logger.error('the segment after this one is gone', { sequence })
  }
  await hideEnds(options, segments, new Set())
  return true
}

/** @param proven Partitions whose end is known all the same. */
function hideEnds(options: SegmentStoreOptions, before: SegmentList, proven: ReadonlySet<number>): Promise<void> {
  const hidden: [partition: number, provenEnd: number][] = []
  for (let partition = 0; partition < options.partitions; partition++) {
    if (!proven.has(partition)) hidden.push([partition, before.newest?.extents[partition]?.end ?? 0])
  }
  return options.ceilings.hideEnds(options.stream, hidden)
}

/** Offsets between the end of the segments so far and the beginning of the next one. @param isOneLost Whether one that came before cannot be read. */
function missingBefore(segment: Segment, before: SegmentList, isOneLost: boolean): Damage[] {
  const previous = before.newest
  if (previous === undefined && !isOneLost) return []
  const damage: Damage[] = []
  segment.extents.forEach(({ base }, partition) => {
    const end = previous === undefined ? 0 : (previous.extents[partition]?.end ?? base)
    // Retention may have taken some of what lies before the oldest.
    if (base > end) damage.push({ partition, first: end, last: base - 1, endUnknown: previous === undefined })
  })
  return damage
}

function partitionEnds(options: SegmentStoreOptions, segments: SegmentList): PartitionEnd[] {
  const last = segments.newest?.extents ?? []
  const count = options.allPartitions ? Math.max(options.partitions, last.length) : options.partitions
  if (last.length > count) {
    throw new SluiceError(
      'INVALID_CONFIG',
      `stream ${options.stream} has ${last.length} partitions on disk but ${options.partitions} in the configuration; ` +
        `partitions only grow: set partitions = ${last.length} or more`,
      { stream: options.stream, partitionsOnDisk: last.length },
    )
  }
  return Array.from({ length: count }, (_, partition) => {
    const extent = last[partition]
    if (extent) return { offset: extent.end, epoch: extent.epoch }
    const ended = segments.newest ? null : options.ceilings.endOf(options.stream, partition)
    return { offset: ended?.offset ?? 0, epoch: ended?.epoch ?? 0 }
  })
}

/** Damage has hidden where a partition ended: go on where no offset can have been used, until a segment has begun there. */
export function jumpToFloors({ stream, ceilings, logger }: SegmentStoreOptions, ends: PartitionEnd[]): Damage[] {
  const damage: Damage[] = []
  ends.forEach((end, partition) => {
    const floor = ceilings.floorOf(stream, partition)
    if (floor <= end.offset) return
    damage.push({ partition, first: end.offset, last: floor - 1, endUnknown: true })
    end.offset = floor
    end.epoch += 1
    logger.error('the end of a partition is unknown; going on at its ceiling', { partition, ...end })
  })
  return damage
}
