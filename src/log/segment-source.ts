// What is read of a segment: while it is written from its LevelDB, afterwards from its tables as they are (table-reader.ts), which takes no write, no
// mapping and one descriptor, and gives whatever damage has left.

import { join } from 'node:path'
import { listDirectory } from '../state/durable-files.js'
import type { LevelDatabase } from '../state/level-database.js'
import type { TableEntry } from '../state/table-format.js'
import { type ReadAheadBytes, TableReader } from '../state/table-reader.js'
import { WalEntries } from '../state/wal-entries.js'
import { META_START } from './keys.js'

export type StoredEntry = readonly [key: Buffer, value: Buffer]

export interface SegmentSource {
  get(key: Buffer): Promise<Buffer | undefined>
  /** In key order, some at a time. @param readAheadBytes Asked before each read: what is to be read at once, about; null: enough. */
  entries(gte: Buffer, lt: Buffer, readAheadBytes?: ReadAheadBytes): AsyncIterable<readonly StoredEntry[]>
  close(): Promise<void>
}

export const MAX_READ_AHEAD_BYTES = 512 * 1024
/** Entries asked of LevelDB at once; it stops earlier at the byte limit. */
const ENTRIES_PER_READ = 64
const NEXT_KEY = Buffer.from([0])

export class LevelSource implements SegmentSource {
  constructor(private readonly database: LevelDatabase) {}

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.database.get(key)
  }

  async *entries(
    gte: Buffer,
    lt: Buffer,
    readAheadBytes: ReadAheadBytes = () => MAX_READ_AHEAD_BYTES,
  ): AsyncGenerator<StoredEntry[]> {
    const iterator = this.database.iterator({
      gte,
      lt,
      fillCache: false,
      highWaterMarkBytes: readAheadBytes() ?? 0,
    } as object)
    let holdsEntries = false
    try {
      for (;;) {
        const entries = await iterator.nextv(ENTRIES_PER_READ)
        if (entries.length === 0) return
        holdsEntries = true
        yield entries
      }
    } finally {
      // Where nothing can be read, classic-level's seek past the end fails an assertion of LevelDB's and ends the process.
      if (holdsEntries) await release(iterator)
      else await iterator.close()
    }
  }

  close(): Promise<void> {
    return this.database.close()
  }
}

/**
 * A closed iterator of classic-level keeps what it read last in native memory, unknown to V8, until the garbage collector finds it:
 * 135 MB after 60 MB read in small fetches, measured. Reading past the end first makes it let go.
 */
async function release(iterator: ReturnType<LevelDatabase['iterator']>): Promise<void> {
  try {
    iterator.seek(META_START)
    await iterator.nextv(1)
  } catch {
    // Nothing was wanted of this read, and damage is found by those who want something.
  }
  await iterator.close()
}

/**
 * The files of a segment as they are. Of a sealed one its tables: one, or a second one where a recovery has added something. Of one that is not sealed
 * and that LevelDB cannot open, its logs as well.
 */
export class FileSource implements SegmentSource {
  private constructor(private readonly parts: readonly (TableReader | WalEntries)[]) {}

  /** @throws SluiceError CORRUPT_MESSAGE if a table cannot be read at all. */
  static async open(directory: string, isSealed = true): Promise<FileSource> {
    const files = await listDirectory(directory)
    const pathsOf = (suffix: string) =>
      files.filter((name) => name.endsWith(suffix)).map((name) => join(directory, name))
    const parts: (TableReader | WalEntries)[] = []
    try {
      for (const path of pathsOf('.ldb')) parts.push(await TableReader.open(path))
      if (!isSealed) parts.push(await WalEntries.read(pathsOf('.log')))
    } catch (error) {
      for (const part of parts) await part.close()
      throw error
    }
    return new FileSource(parts)
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    for await (const [[, value]] of this.entries(key, Buffer.concat([key, NEXT_KEY]), () => 0)) return value
    return undefined
  }

  async *entries(
    gte: Buffer,
    lt: Buffer,
    readAheadBytes: ReadAheadBytes = () => MAX_READ_AHEAD_BYTES,
  ): AsyncGenerator<StoredEntry[]> {
    let before = null as Buffer | null
    for await (const block of merged(this.parts.map((part) => part.blocks(gte, lt, readAheadBytes)))) {
      const entries: StoredEntry[] = []
      for (const { key, value, deleted } of block) {
        // Of one key the latest comes first.
        const isOld = before?.equals(key)
        before = key
        if (!isOld && !deleted && key.compare(gte) >= 0 && key.compare(lt) < 0) entries.push([key, value])
      }
      if (entries.length > 0) yield entries
    }
  }

  async close(): Promise<void> {
    for (const part of this.parts) await part.close()
  }
}

/** Several sequences in order made one. */
async function* merged(sources: readonly AsyncGenerator<TableEntry[]>[]): AsyncGenerator<TableEntry[]> {
  if (sources.length === 1) return yield* sources[0]
  const waiting = await Promise.all(sources.map(async (source) => ({ source, entries: await nextOf(source) })))
  for (;;) {
    const heads = waiting.filter(({ entries }) => entries.length > 0)
    if (heads.length === 0) return
    const taken: TableEntry[] = []
    // As far as it is known what comes next in each.
    while (heads.every(({ entries }) => entries.length > 0)) {
      const least = heads.reduce((a, b) => (isBefore(b.entries[0], a.entries[0]) ? b : a))
      taken.push(least.entries.shift() as TableEntry)
    }
    yield taken
    for (const one of heads) if (one.entries.length === 0) one.entries = await nextOf(one.source)
  }
}

async function nextOf(source: AsyncGenerator<TableEntry[]>): Promise<TableEntry[]> {
  const { value, done } = await source.next()
  return done ? [] : value
}

function isBefore(a: TableEntry, b: TableEntry): boolean {
  return (a.key.compare(b.key) || b.sequence - a.sequence) < 0
}
