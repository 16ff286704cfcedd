// Reads a stream's directory at start: removes what a crash left half born or half dropped, recovers what was not sealed, names what is
// missing between segments, and finds where each partition ends.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../base/errors.js'
import { listDirectory } from '../state/durable-files.js'
import { checkWal } from '../state/wal-check.js'
import type { Damage } from './damage-ledger.js'
import { lacksAcknowledged, readLiveFile } from './live-file.js'
import { quarantine, recoverSegment } from './recovery.js'
import { Segment } from './segment.js'
import { DROPPED_SUFFIX, isLive, SEGMENT_NAME } from './segment-directory.js'
import type { PartitionEnd } from './segment-index.js'
import { SegmentList } from './segment-list.js'
import type { SegmentStoreOptions } from './segment-store.js'

export async function loadSegments(
  options: SegmentStoreOptions,
): Promise<{ segments: SegmentList; ends: PartitionEnd[] }> {
  const segments = new SegmentList()
  const damage: Damage[] = []
  const names = await segmentNames(options.directory)
  for (const name of names) {
    const segment = await loadSegment(join(options.directory, name), options, (behind) =>
      // A segment that begins later says where this one ended.
      name === names.at(-1) ? hideEnds(options, segments, behind) : Promise.resolve(),
    )
    if (segment === null) continue
    damage.push(...missingBefore(segment, segments))
    segments.add(segment)
    segment.extents.forEach(({ gaps }, partition) => {
      for (const [first, last] of gaps) damage.push({ partition, first, last })
    })
  }
  await missNewest(options, segments)
  const ends = partitionEnds(options, segments)
  damage.push(...jumpToFloors(options, ends))
  await options.onDamage(damage)
  return { segments, ends }
}

/** The live segments by age; finishes births and drops that a crash interrupted. */
async function segmentNames(directory: string): Promise<string[]> {
  const names: string[] = []
  for (const name of await listDirectory(directory)) {
    const path = join(directory, name)
    if (name.endsWith(DROPPED_SUFFIX)) await rm(path, { recursive: true, force: true })
    else if (!SEGMENT_NAME.test(name)) continue
    else if (await isLive(path)) names.push(name)
    else await rm(path, { recursive: true, force: true })
  }
  return names
}

/**
 * @param onHiddenEnds Called when partitions may have reached further than can be read: all but those `behind`. What shows this stays
 * untouched until it has resolved.
 * @returns null if it was unreadable and has been set aside.
 */
async function loadSegment(
  directory: string,
  options: SegmentStoreOptions,
  onHiddenEnds: (behind: ReadonlySet<number>) => Promise<void>,
): Promise<Segment | null> {
  const sealed = await Segment.openSealed(directory)
  if (sealed) return sealed
  const wal = await checkWal(directory)
  const isCut = await lacksAcknowledged(directory, wal)
  const { logger } = options
  if (isCut) {
    logger.error('a write-ahead log has lost its end', { directory })
    await onHiddenEnds(new Set())
  } else if (wal.damaged) {
    logger.error('a write-ahead log is damaged', { directory })
    await onHiddenEnds(wal.prefixes)
  }
  try {
    return await options.ballast.withRoom(() => recoverSegment(directory, { logger, hasHoles: isCut || wal.damaged }))
  } catch (error) {
    if (!(error instanceof SluiceError) || error.code !== 'CORRUPT_MESSAGE') throw error
    await onHiddenEnds(new Set())
    const moved = await quarantine(directory, options.quarantineDirectory)
    logger.error('an unreadable segment was set aside', { moved, reason: error })
    return null
  }
}

/** Each segment says whether another was begun after it: one that is gone has taken the ends of the partitions with it. */
async function missNewest(options: SegmentStoreOptions, segments: SegmentList): Promise<void> {
  const { stream, ceilings, logger } = options
  const { newest } = segments
  if (newest === undefined) {
    const ended = ceilings.hasEnded(stream)
    if (ended || !ceilings.knows(stream)) return
    logger.error('all segments of a stream are gone', { directory: options.directory })
  } else {
    const witness = await readLiveFile(newest.directory)
    if (witness !== null && !witness.succeeded) return
    const { sequence } = newest.header
    if (witness === null) logger.error('whether a segment is the newest cannot be told any more', { sequence })
    else logger.error('the segment after this one is gone', { sequence })
  }
  await hideEnds(options, segments, new Set())
}

/** Keys begin with their partition: one that was written after what is missing proves the end of its partition. */
function hideEnds(options: SegmentStoreOptions, before: SegmentList, behind: ReadonlySet<number>): Promise<void> {
  const proven: [partition: number, end: number][] = []
  for (let partition = 0; partition < options.partitions; partition++) {
    if (!behind.has(partition)) proven.push([partition, before.newest?.extents[partition]?.end ?? 0])
  }
  return options.ceilings.hideEnds(options.stream, proven)
}

/** Offsets between the end of the segments so far and the beginning of the next one. */
function missingBefore(segment: Segment, before: SegmentList): Damage[] {
  const previous = before.newest
  if (previous === undefined) return []
  const damage: Damage[] = []
  segment.extents.forEach(({ base }, partition) => {
    const end = previous.extents[partition]?.end ?? base
    if (base > end) damage.push({ partition, first: end, last: base - 1 })
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
