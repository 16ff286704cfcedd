// All streams of a node: opened together, kept within their limits, closed together. Made by node.ts.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { CompressionCodec } from '../record/compression.js'
import type { Offset } from '../record/record.js'
import type { Ballast } from '../state/ballast.js'
import type { Cursors } from '../state/cursors.js'
import { listDirectory, makeDirectory } from '../state/durable-files.js'
import type { Ledger } from '../state/ledger.js'
import type { OffsetCeilings } from '../state/offset-ceilings.js'
import type { PoweredOnClock } from '../state/powered-on-clock.js'
import type { RetentionPolicy } from './retention.js'
import { keepPolicy, keptPolicy } from './retention-file.js'
import { OpenSegments } from './segment-list.js'
import { type Damage, SegmentStore } from './segment-store.js'
import { LogStream } from './stream.js'
import type { Stream, StreamCatalog } from './types.js'

const MAINTENANCE_MS = 1000
/** Of a stream's max_bytes a segment takes at most an eighth, so that retention never frees more than that at once. */
const SEGMENTS_PER_STREAM = 8
/** At least so many of the largest commits fit into a segment: with one each, every commit would pay for a seal and a birth. */
const COMMITS_PER_SEGMENT = 4
const MIN_SEGMENT_BYTES = 256 * 1024

export interface StreamOptions {
  readonly name: string
  readonly topics: readonly string[]
  readonly partitions: number
  /** Partitions on disk beyond these are opened as well, instead of refusing to start without them. */
  readonly allPartitions?: boolean
  /** No longer configured: it is read until retention has removed the last of it. */
  readonly retired?: boolean
  readonly lingerMs: number
  /** Of the record batches as they are stored; applied where it pays. */
  readonly compression: CompressionCodec
  readonly retention: RetentionPolicy
}

export interface LogOptions {
  /** The node's data directory; streams live in `streams/<name>/` below it. */
  readonly dataDirectory: string
  readonly streams: readonly StreamOptions[]
  /** Largest segment. */
  readonly segmentBytes: number
  /** What the memtables of all streams may take together. */
  readonly memoryBudgetBytes: number
  readonly maxBatchBytes: number
  readonly maxPendingBytes: number
  readonly maxRecordBytes: number
  /** Most bytes of records that all streams together may store; null: what their own retention allows. */
  readonly diskBudgetBytes: number | null
  readonly ceilings: OffsetCeilings
  readonly cursors: Cursors
  readonly ballast: Ballast
  readonly ledger: Ledger
  readonly poweredOn: PoweredOnClock
  /** Names of the upstreams that list a stream. */
  readonly destinationsOf: (stream: string) => readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  readonly onFatal: (error: SluiceError) => void
}

export class Log implements StreamCatalog {
  readonly streams = new Map<string, LogStream>()
  private readonly openSegments = new OpenSegments()
  private stopMaintenance: () => void = () => {}
  private closed = false

  private constructor(private readonly options: LogOptions) {}

  /** @throws SluiceError INVALID_CONFIG (fewer partitions than on disk), DATA_DIR_TOO_NEW, STORAGE_*. */
  static async open(options: LogOptions): Promise<Log> {
    const log = new Log(options)
    await makeDirectory(join(options.dataDirectory, 'streams'))
    try {
      for (const stream of options.streams) log.streams.set(stream.name, await log.openStream(stream))
      await log.openRetired()
    } catch (error) {
      await log.close()
      throw error
    }
    // Not awaited: on a slow card it takes seconds, and nothing depends on it.
    void options.ballast.restore()
    log.maintainLater()
    return log
  }

  stream(name: string): Stream {
    const stream = this.streams.get(name)
    if (stream) return stream
    const known = [...this.streams.keys()]
    throw new SluiceError('UNKNOWN_STREAM_OR_PARTITION', `there is no stream ${name}; there are: ${known.join(', ')}`, {
      known,
    })
  }

  /** Commits what was appended, seals, closes. */
  async close(): Promise<void> {
    this.closed = true
    this.stopMaintenance()
    await Promise.all([...this.streams.values()].map((stream) => stream.close()))
    await this.options.ballast.settled()
  }

  private async openStream(stream: StreamOptions): Promise<LogStream> {
    const { options, openSegments } = this
    const directory = this.directoryOf(stream.name)
    const segmentBytes = this.segmentBytesOf(stream)
    if (!stream.retired) await keepPolicy(directory, stream.retention)
    const store = await SegmentStore.open({
      stream: stream.name,
      directory,
      quarantineDirectory: join(options.dataDirectory, 'quarantine', stream.name),
      partitions: stream.partitions,
      allPartitions: stream.allPartitions ?? false,
      retired: stream.retired ?? false,
      ballast: options.ballast,
      segmentBytes,
      ceilings: options.ceilings,
      openSegments,
      poweredOn: options.poweredOn,
      clock: options.clock,
      logger: options.logger.child(`log ${stream.name}`),
      onDamage: (damage) => this.enterDamage(stream.name, damage),
    })
    return new LogStream({
      name: stream.name,
      topics: stream.topics,
      retired: stream.retired ?? false,
      store,
      openSegments,
      directory,
      segmentBytes,
      maxBatchBytes: options.maxBatchBytes,
      // A commit goes into one segment, and a memtable holds twice that: LevelDB never flushes in between.
      maxPendingBytes: Math.min(options.maxPendingBytes, segmentBytes / COMMITS_PER_SEGMENT),
      lingerMs: stream.lingerMs,
      compression: stream.compression,
      maxRecordBytes: options.maxRecordBytes,
      retention: {
        policy: stream.retention,
        cursors: options.cursors,
        ledger: options.ledger,
        destinations: () => options.destinationsOf(stream.name),
        poweredOnMs: () => options.poweredOn.nowMs(),
        wallMs: () => options.clock.wallMs(),
      },
      ballast: options.ballast,
      onDamage: (damage) => this.enterDamage(stream.name, damage),
      onFatal: options.onFatal,
    })
  }

  private segmentBytesOf(stream: StreamOptions): number {
    const { segmentBytes, memoryBudgetBytes, streams } = this.options
    const eighth = Math.floor(stream.retention.maxBytes / SEGMENTS_PER_STREAM)
    // A stream holds the memtables of the segment it writes and of the one it seals.
    const share = Math.floor(memoryBudgetBytes / (streams.length * 2))
    return Math.max(MIN_SEGMENT_BYTES, Math.min(segmentBytes, eighth, share))
  }

  private directoryOf(stream: string): string {
    return join(this.options.dataDirectory, 'streams', stream)
  }

  private async enterDamage(stream: string, damage: readonly Damage[]): Promise<void> {
    for (const range of damage)
      this.options.logger.error('records are damaged and will not be delivered', { stream, ...range })
    await this.options.ledger.add(
      damage.map(({ partition, first, last }) => ({
        destination: '*',
        stream,
        partition,
        firstOffset: first as Offset,
        lastOffset: last as Offset,
        reason: 'corruption' as const,
        atMs: this.options.clock.wallMs(),
      })),
    )
  }

  /** Streams that left the configuration stay readable until they have expired, by the limits they had. */
  private async openRetired(): Promise<void> {
    const names = await listDirectory(join(this.options.dataDirectory, 'streams'))
    for (const name of names.filter((one) => !this.streams.has(one))) {
      const retention = await keptPolicy(this.directoryOf(name))
      const kept = {
        topics: [],
        partitions: 0,
        allPartitions: true,
        lingerMs: 0,
        compression: 'none' as const,
        retention,
      }
      const stream = await this.openStream({ ...kept, name, retired: true })
      if (stream.partitions === 0) {
        await stream.close()
        await rm(this.directoryOf(name), { recursive: true, force: true })
        continue
      }
      this.streams.set(name, stream)
      const meaning = 'it can be read until it has expired, and takes no records'
      this.options.logger.warn('a stream is no longer in the configuration', { stream: name, meaning })
    }
  }

  private async maintain(): Promise<void> {
    await this.options.ballast.restore()
    for (const stream of this.streams.values()) await stream.maintain()
    await this.keepBudget()
  }

  /** Spent segments first, whichever stream they are of, then the oldest that may go (D9). */
  private async keepBudget(): Promise<void> {
    const budget = this.options.diskBudgetBytes ?? Number.POSITIVE_INFINITY
    for (;;) {
      const streams = [...this.streams.values()]
      if (streams.reduce((sum, stream) => sum + stream.stats().bytes, 0) <= budget) return
      const candidates = streams.flatMap((stream) => {
        const candidate = stream.dropCandidate
        return candidate ? [{ stream, ...candidate }] : []
      })
      candidates.sort((a, b) => Number(b.spent) - Number(a.spent) || a.lastWritePoweredOnMs - b.lastWritePoweredOnMs)
      if (!(await candidates[0]?.stream.makeRoom('retention'))) return
    }
  }

  private maintainLater(): void {
    if (this.closed) return
    this.stopMaintenance = this.options.clock.after(MAINTENANCE_MS, () => {
      this.maintain()
        .catch((error) => this.options.logger.warn('retention failed; will try again', { reason: error }))
        .finally(() => this.maintainLater())
    })
  }
}
