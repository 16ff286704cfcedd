// What a start does with a segment that was not sealed: every batch is verified, what is damaged is named, and the segment is sealed, so
// that writing begins in a fresh one. One that LevelDB cannot be asked about is for salvage.ts; one that cannot be read at all is set aside.

import { basename } from 'node:path'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { baseOffsetOf, decodeRecords } from '../record/record-batch.js'
import { type LevelDatabase, openLevel, storageError } from '../state/level-database.js'
import { damagedTables } from '../state/table-check.js'
import { addedPartition } from './added-partition.js'
import { allBatches } from './batch-reader.js'
import { metaKey } from './keys.js'
import { Segment, UNSEALED_WRITE_BUFFER_BYTES } from './segment.js'
import { forgetDoubtful, isSameDigest, readFacts } from './segment-facts.js'
import {
  decodeHeader,
  decodeSummary,
  emptyExtent,
  extend,
  SEGMENT_FORMAT,
  type SegmentHeader,
  type SegmentSummary,
} from './segment-index.js'
import type { SegmentSource } from './segment-source.js'

export interface RecoverOptions {
  readonly logger: Logger
}

export interface CompleteOptions extends RecoverOptions {
  /** Part of what was written is missing. */
  readonly hasHoles: boolean
}

/** Verifies and seals the segment in `directory`. @throws SluiceError CORRUPT_MESSAGE if LevelDB cannot read all of it. */
export async function recoverSegment(directory: string, { logger }: RecoverOptions): Promise<Segment> {
  // LevelDB's asserts would end the process, at every start.
  const damaged = await damagedTables(directory)
  if (damaged.length > 0)
    throw new SluiceError('CORRUPT_MESSAGE', `bytes have changed in ${damaged.join(', ')} of the segment ${directory}`)
  const database = await openLevel(directory, { writeBufferBytes: UNSEALED_WRITE_BUFFER_BYTES, createIfMissing: false })
  return completeSegment(directory, database, { logger, hasHoles: false })
}

/** Verifies and seals a segment whose database is open; it is closed afterwards. @throws SluiceError as recoverSegment. */
export async function completeSegment(
  directory: string,
  database: LevelDatabase,
  { logger, hasHoles }: CompleteOptions,
): Promise<Segment> {
  let segment: Segment
  try {
    const header = await readHeader(database, directory)
    segment = Segment.unsealed(directory, header, database)
    const index = await readIndex(database)
    const found = await segment.use(readFacts)
    if (hasHoles || (index !== null && !isSameDigest(index.facts, found.digest)))
      await forgetDoubtful(database, found, logger)
    addPartitions(segment, found.facts)
    await segment.use((source) => scan(source, segment, logger))
    compareWithIndex(segment, index)
    await segment.seal()
  } catch (error) {
    await database.close()
    throw storageError(error, `the segment ${directory} cannot be recovered`)
  }
  logger.info('recovered segment', { segment: basename(directory), records: segment.records })
  return segment
}

async function readHeader(database: LevelDatabase, directory: string): Promise<SegmentHeader> {
  const bytes: Buffer | undefined = await database.get(metaKey('header'))
  const header = bytes && decodeHeader(bytes)
  if (!header) throw new SluiceError('CORRUPT_MESSAGE', `the segment ${directory} has lost its header`)
  if (header.format !== SEGMENT_FORMAT) {
    throw new SluiceError(
      'DATA_DIR_TOO_NEW',
      `the segment ${directory} has format ${header.format}; this version reads ${SEGMENT_FORMAT}`,
    )
  }
  return header
}

/** Those that came after the segment's birth, which its header does not know. */
function addPartitions({ extents }: Segment, facts: ReadonlyMap<string, Uint8Array>): void {
  for (let added = addedPartition(facts, extents.length); added; added = addedPartition(facts, extents.length))
    extents.push(emptyExtent(added.base, added.epoch))
}

/** Walks all batches; a bad one, and what is missing between two, becomes a gap. */
async function scan(source: SegmentSource, { extents, topics, directory }: Segment, logger: Logger): Promise<void> {
  const unknown = new Set<number>()
  for await (const { partition, batch } of allBatches(source)) {
    const extent = extents[partition]
    if (extent === undefined) {
      unknown.add(partition)
      continue
    }
    const base = baseOffsetOf(batch)
    if (base < extent.end) continue
    extend(extent, batch)
    for (const { key } of decodeRecords(batch)) topics.add(key)
  }
  if (unknown.size > 0) {
    const meaning = 'damage has taken where they begin; what is stored of them here cannot be read any more'
    logger.error('a segment holds partitions it does not know', {
      directory,
      partitions: [...unknown].join(', '),
      meaning,
    })
  }
}

async function readIndex(database: LevelDatabase): Promise<SegmentSummary | null> {
  const bytes: Buffer | undefined = await database.get(metaKey('index'))
  return bytes === undefined ? null : decodeSummary(bytes)
}

/** A segment whose seal was begun says itself how far it reaches: what is missing at its end becomes a gap. */
function compareWithIndex({ extents }: Segment, index: SegmentSummary | null): void {
  index?.extents.forEach(({ end }, partition) => {
    const extent = extents[partition]
    if (extent === undefined || extent.end >= end) return
    extent.gaps.push([extent.end, end - 1])
    extent.end = end
  })
}
