// What a start does with a segment that is damaged before it was sealed: all that proves itself is read out of its files, without LevelDB, and stored
// in a segment of its own, which takes the place of the damaged one. Everything in a segment has a check that ties it to its key, so what was
// damaged costs itself and no more.

import { readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { assert } from '../base/assert.js'
import { listDirectory, syncDirectory, writeFileDurably } from '../state/durable-files.js'
import { openLevel, storageError } from '../state/level-database.js'
import { type DamagedKeys, TableReader } from '../state/table-reader.js'
import type { WalCheck } from '../state/wal-check.js'
import { salvageWal } from '../state/wal-salvage.js'
import { KEY_END, proves, seekKey } from './keys.js'
import { LIVE_FILE } from './live-file.js'
import { completeSegment } from './recovery.js'
import { SalvagedEntries } from './salvaged-entries.js'
import { Segment, UNSEALED_WRITE_BUFFER_BYTES } from './segment.js'
import { SALVAGED_SUFFIX } from './segment-directory.js'
import { type Extent, SEGMENT_FORMAT, type SegmentHeader } from './segment-index.js'
import { MAX_READ_AHEAD_BYTES } from './segment-source.js'
import type { SegmentStoreOptions } from './segment-store.js'

export interface SalvageOptions
  extends Pick<
    SegmentStoreOptions,
    'stream' | 'partitions' | 'poweredOn' | 'clock' | 'logger' | 'ballast' | 'setAside'
  > {
  /** Its log as it was when the node ended. */
  readonly wal: WalCheck
  /** That has all that was ever written to the segment. */
  readonly isWholeLog: boolean
  /** Some of what was written may be gone without a trace in what is left: a log's end, a file. */
  readonly mayLackFiles: boolean
  /** Of the segment before it, as far as there is one. */
  readonly before: readonly Extent[]
}

export interface SalvagedSegment {
  /** Partitions of which nothing can be missing at the end. */
  readonly proven: ReadonlySet<number>
  /** Puts it in the place of the damaged one, which is set aside. Until then a start finds that one as it was. */
  takePlace(): Promise<Segment>
}

/** @returns null if nothing in the directory proves itself. @throws SluiceError as storageError. */
export async function salvageSegment(directory: string, options: SalvageOptions): Promise<SalvagedSegment | null> {
  const { wal, isWholeLog, mayLackFiles, logger, ballast, setAside } = options
  const rebuilt = directory + SALVAGED_SUFFIX
  await rm(rebuilt, { recursive: true, force: true })
  const database = await openLevel(rebuilt, { writeBufferBytes: UNSEALED_WRITE_BUFFER_BYTES, createIfMissing: true })
  const found = new SalvagedEntries(database)
  let damaged: readonly DamagedKeys[]
  let header: SegmentHeader | null
  try {
    damaged = await readTables(directory, found)
    await readLogs(directory, found)
    header = found.header ?? headerFrom(found, directory, options)
    if (header !== null) await found.store(header)
    const live = await readFile(join(directory, LIVE_FILE)).catch(() => null)
    if (live !== null) await writeFileDurably(join(rebuilt, LIVE_FILE), live)
  } catch (error) {
    await database.close()
    throw storageError(error, `what is left of the segment ${directory} cannot be stored`)
  }
  if (header === null) {
    await database.close()
    await rm(rebuilt, { recursive: true, force: true })
    return null
  }
  const isAllTold = isWholeLog || found.index !== null
  const hasHoles = !isAllTold && (wal.damaged || mayLackFiles || damaged.length > 0)
  const { extents, records } = await completeSegment(rebuilt, database, { logger, hasHoles })
  const proven = new Set<number>()
  for (let partition = 0; partition < Math.max(extents.length, options.partitions); partition++) {
    const end = extents[partition]?.end ?? 0
    const isHidden =
      mayLackFiles ||
      (wal.damaged && !wal.prefixes.has(partition)) ||
      damaged.some((keys) => mayHaveHeld(keys, partition, end))
    if (isAllTold || !isHidden) proven.add(partition)
  }
  return {
    proven,
    takePlace: async () => {
      // A name that is not on the disk yet could go with a power cut that leaves the damaged one set aside.
      await syncDirectory(dirname(rebuilt))
      const aside = await ballast.withRoom(() => setAside(directory))
      await takePlace(rebuilt, directory)
      logger.error('a damaged segment was set aside; what was sound of it has taken its place', { aside, records })
      const segment = await Segment.openSealed(directory)
      assert(segment !== null, 'a segment that was completed is sealed')
      return segment
    },
  }
}

/** The segment that was salvaged is the segment from here on. */
export async function takePlace(rebuilt: string, directory: string): Promise<void> {
  await rename(rebuilt, directory)
  await syncDirectory(dirname(directory))
}

/** @returns where they are damaged; all keys for one of which nothing can be read. */
async function readTables(directory: string, found: SalvagedEntries): Promise<DamagedKeys[]> {
  const damaged: DamagedKeys[] = []
  for (const name of (await listDirectory(directory)).filter((one) => one.endsWith('.ldb'))) {
    const table = await TableReader.open(join(directory, name)).catch(() => null)
    if (table === null) {
      damaged.push({ after: null, upTo: null })
      continue
    }
    try {
      damaged.push(...(await table.damaged()))
      for await (const entries of table.blocks(Buffer.alloc(0), KEY_END, () => MAX_READ_AHEAD_BYTES))
        for (const { key, value, deleted, sequence } of entries) await found.take(key, deleted ? null : value, sequence)
    } finally {
      await table.close()
    }
  }
  return damaged
}

async function readLogs(directory: string, found: SalvagedEntries): Promise<void> {
  for (const name of (await listDirectory(directory)).filter((one) => one.endsWith('.log')))
    for await (const { key, value, sequence } of salvageWal(join(directory, name), proves))
      await found.take(key, value, sequence)
}

/** A header in the place of one that is lost: each partition begins where it ended before. @returns null if nothing is known of any. */
function headerFrom(
  found: SalvagedEntries,
  directory: string,
  { stream, partitions, before, clock, poweredOn }: SalvageOptions,
): SegmentHeader | null {
  if (found.partitions === 0) return null
  const count = Math.max(before.length, partitions, found.partitions)
  const begins = Array.from({ length: count }, (_, partition) => {
    const previous = before[partition]
    return previous ? { base: previous.end, epoch: previous.epoch } : found.beginOf(partition)
  })
  return {
    format: SEGMENT_FORMAT,
    stream,
    sequence: Number(basename(directory)),
    createdAtMs: clock.wallMs(),
    // It ages from now on: rather kept for longer than gone too early.
    poweredOnMs: poweredOn.nowMs(),
    bases: begins.map((begin) => begin?.base ?? 0),
    epochs: begins.map((begin) => begin?.epoch ?? 0),
  }
}

/** Whether records of the partition from `end` on may have been where damage is. */
function mayHaveHeld({ after, upTo }: DamagedKeys, partition: number, end: number): boolean {
  return (
    (upTo === null || seekKey(partition, end).compare(upTo) <= 0) &&
    (after === null || after.compare(seekKey(partition + 1, 0)) < 0)
  )
}
