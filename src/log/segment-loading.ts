// Reads a stream's directory at start: removes what a crash left half born or half dropped, recovers what was not sealed, names what is
// missing between segments, and finds where each partition ends.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SluiceError } from '../base/errors.js'
import { listDirectory } from '../state/durable-files.js'
import { quarantine, recoverSegment } from './recovery.js'
import { DROPPED_SUFFIX, isLive, SEGMENT_NAME, Segment } from './segment.js'
import { SegmentList } from './segment-list.js'
import type { Damage, PartitionEnd, SegmentStoreOptions } from './segment-store.js'

export async function loadSegments(
  options: SegmentStoreOptions,
): Promise<{ segments: SegmentList; ends: PartitionEnd[] }> {
  const segments = new SegmentList()
  const damage: Damage[] = []
  let endHidden = false
  for (const name of await segmentNames(options.directory)) {
    const segment = await loadSegment(join(options.directory, name), options)
    if (segment === null) {
      endHidden = true
      continue
    }
    damage.push(...missingBefore(segment, segments))
    segments.add(segment)
    endHidden = false
    segment.extents.forEach(({ gaps }, partition) => {
      for (const [first, last] of gaps) damage.push({ partition, first, last })
    })
  }
  const ends = partitionEnds(options, segments)
  if (endHidden) damage.push(...jumpToCeilings(options, ends))
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

/** @returns null if it was unreadable and has been set aside. */
async function loadSegment(directory: string, options: SegmentStoreOptions): Promise<Segment | null> {
  const sealed = await Segment.openSealed(directory)
  if (sealed) return sealed
  try {
    return await recoverSegment(directory, options.logger)
  } catch (error) {
    if (!(error instanceof SluiceError) || error.code !== 'CORRUPT_MESSAGE') throw error
    const moved = await quarantine(directory, options.quarantineDirectory)
    options.logger.error('an unreadable segment was set aside', { moved, reason: error })
    return null
  }
}

/** Offsets between the end of the segments so far and the beginning of the next one. */
function missingBefore(segment: Segment, before: SegmentList): Damage[] {
  const previous = before.newest
  if (previous === undefined) return []
  const damage: Damage[] = []
  segment.extents.forEach(({ base }, partition) => {
    const end = previous.extents[partition]?.end ?? 0
    if (base > end) damage.push({ partition, first: end, last: base - 1 })
  })
  return damage
}

function partitionEnds(options: SegmentStoreOptions, segments: SegmentList): PartitionEnd[] {
  const last = segments.newest?.extents ?? []
  if (last.length > options.partitions) {
    throw new SluiceError(
      'INVALID_CONFIG',
      `stream ${options.stream} has ${last.length} partitions on disk but ${options.partitions} in the configuration; ` +
        `partitions only grow: set partitions = ${last.length} or more`,
      { stream: options.stream, partitionsOnDisk: last.length },
    )
  }
  return Array.from({ length: options.partitions }, (_, partition) => {
    const extent = last[partition]
    return { offset: extent?.end ?? 0, epoch: extent?.epoch ?? 0 }
  })
}

/** The newest segment is gone, and with it the proof of where the partitions end: go on where no offset can have been used. */
function jumpToCeilings({ stream, ceilings, logger }: SegmentStoreOptions, ends: PartitionEnd[]): Damage[] {
  const damage: Damage[] = []
  ends.forEach((end, partition) => {
    const ceiling = ceilings.of(stream, partition)
    if (ceiling > end.offset) damage.push({ partition, first: end.offset, last: ceiling - 1 })
    end.offset = Math.max(end.offset, ceiling)
    end.epoch += 1
    logger.error('the end of a partition is unknown; going on at its ceiling', {
      partition,
      offset: end.offset,
      epoch: end.epoch,
    })
  })
  return damage
}
