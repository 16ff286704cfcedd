// All streams of a node: opened together, kept within their limits, closed together. Made by node.ts.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.js'
import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { CompressionCodec } from '../record/compression.js'
import type { Offset, PartitionId } from '../record/record.js'
import type { Ballast } from '../state/ballast.js'
import type { Cursors } from '../state/cursors.js'
import { listDirectory, makeDirectory } from '../state/durable-files.js'
import type { GroupOffsets } from '../state/group-offsets.js'
import type { Ledger, LedgerEntry, LedgerRow } from '../state/ledger.js'
import type { OffsetCeilings } from '../state/offset-ceilings.js'
import type { PoweredOnClock } from '../state/powered-on-clock.js'
import { uncoveredRanges } from '../state/uncovered-ranges.js'
import type { MirrorStream } from './mirror-stream.js'
import { Mirrors, type OpenedLog } from './mirrors.js'
import { owedBy, type Place, type RetentionPolicy } from './retention.js'
import { keepPolicy, keptPolicy } from './retention-file.js'
import { OpenSegments } from './segment-list.js'
import { type Damage, SegmentStore, type SegmentStoreOptions } from './segment-store.js'
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
  /** What all streams together may keep in memory of their newest records, for readers that follow them. */
  readonly tailCacheBytes: number
  readonly maxRecordBytes: number
  /** Most bytes of records that all streams together may store; null: what their own retention allows. */
  readonly diskBudgetBytes: number | null
  readonly ceilings: OffsetCeilings
  readonly cursors: Cursors
  readonly groupOffsets: Pick<GroupOffsets, 'renameStream'>
  readonly ballast: Ballast
  readonly ledger: Ledger
  readonly poweredOn: PoweredOnClock
  /** Of the mirrors of one stream name together. */
  readonly mirrorRetention: RetentionPolicy
  /** Names of the upstreams that list a stream. */
  readonly destinationsOf: (stream: string) => readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  readonly onFatal: (error: SluiceError) => void
}

interface LogPlace extends Pick<SegmentStoreOptions, 'directory' | 'partitions' | 'ceilings' | 'onDamage'> {
  readonly placeOf: (partition: number) => Place
}

type PlacedDamage = Damage & { readonly stream: string }

const NO_CEILINGS: SegmentStoreOptions['ceilings'] = {
  cover: async () => {},
  floorOf: () => 0,
  hideEnds: async () => {},
  end: async () => {},
  endOf: () => null,
  hasEnded: () => false,
  knows: () => false,
}

export class Log implements StreamCatalog {
  readonly streams = new Map<string, Stream>()
  /** What other nodes forward to this one. */
  readonly mirrors: Mirrors
  private readonly own: LogStream[] = []
  private readonly openSegments = new OpenSegments()
  private stopMaintenance: () => void = () => {}
  private closed = false

  private constructor(private readonly options: LogOptions) {
    this.mirrors = new Mirrors({
      openLog: (stream, placeOf) => this.openMirrors(stream, placeOf),
      onReplaced: (mirror, formerName) => this.mirrorReplaced(mirror, formerName),
      catalog: this.streams,
      logger: options.logger,
    })
  }

  /** @throws SluiceError INVALID_CONFIG (fewer partitions than on disk), DATA_DIR_TOO_NEW, STORAGE_*. */
  static async open(options: LogOptions): Promise<Log> {
    const log = new Log(options)
    await makeDirectory(join(options.dataDirectory, 'streams'))
    try {
      for (const stream of options.streams) log.enter(await log.openStream(stream))
      await log.openRetired()
      for (const stream of await listDirectory(join(options.dataDirectory, 'mirrors'))) await log.mirrors.load(stream)
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
    await Promise.all(this.logs.map((log) => log.close()))
    await this.options.ballast.settled()
  }

  private get logs(): readonly LogStream[] {
    return [...this.own, ...this.mirrors.logs]
  }

  private enter(stream: LogStream): void {
    this.own.push(stream)
    this.streams.set(stream.name, stream)
  }

  private openStream(stream: StreamOptions): Promise<LogStream> {
    const { dataDirectory, ceilings } = this.options
    return this.openLog(stream, {
      directory: join(dataDirectory, 'streams', stream.name),
      partitions: stream.partitions,
      ceilings,
      placeOf: (partition) => ({ stream: stream.name, partition }),
      onDamage: (damage) => this.enterDamage(damage.map((range) => ({ ...range, stream: stream.name }))),
    })
  }

  /** They have no ceilings: what damage hides is asked again from where it came. */
  private async openMirrors(stream: string, placeOf: (partition: number) => Place): Promise<OpenedLog> {
    const name = `*.${stream}`
    const retention = this.options.mirrorRetention
    const enter = (damage: readonly Damage[]): Promise<void> => this.enterDamage(this.unknownDamage(damage, placeOf))
    const found: Damage[] = []
    let opened = false
    const log = await this.openLog(
      { name, topics: [], partitions: 0, allPartitions: true, lingerMs: 0, compression: 'none', retention },
      {
        directory: join(this.options.dataDirectory, 'mirrors', stream),
        partitions: 0,
        ceilings: NO_CEILINGS,
        placeOf,
        onDamage: async (damage) => {
          if (opened) await enter(damage)
          else found.push(...damage)
        },
      },
    )
    opened = true
    return { log, enterDamage: () => enter(found) }
  }

  /** What upstreams still lacked of it they will not get: it stays here, under its new name, and so does what groups have committed. */
  private async mirrorReplaced(mirror: MirrorStream, formerName: string): Promise<void> {
    const { ledger, cursors, groupOffsets, clock } = this.options
    await ledger.rename(formerName, mirror.name)
    await groupOffsets.renameStream(formerName, mirror.name)
    const owed: LedgerEntry[] = []
    for (const destination of this.options.destinationsOf(formerName))
      for (let index = 0; index < mirror.partitions; index++) {
        const partition = index as PartitionId
        const stretch = { base: mirror.logStartOffset(partition), end: mirror.highWatermark(partition) }
        const place = { stream: formerName, partition: index }
        for (const offsets of owedBy(destination, place, stretch, cursors)) {
          const row = { destination, stream: mirror.name, partition: index, ...offsets }
          owed.push({ ...row, reason: 'replaced', atMs: clock.wallMs() })
        }
      }
    if (owed.length > 0) await ledger.add(owed)
    await cursors.removeStream(formerName)
  }

  /** Offsets that their origin has named as gone are no damage. */
  private unknownDamage(damage: readonly Damage[], placeOf: (partition: number) => Place): PlacedDamage[] {
    const rows = this.options.ledger.list()
    return damage.flatMap((range) => withoutKnown({ ...range, ...placeOf(range.partition) }, rows))
  }

  private async openLog(stream: StreamOptions, where: LogPlace): Promise<LogStream> {
    const { options, openSegments } = this
    const { directory, partitions, ceilings, placeOf, onDamage } = where
    const segmentBytes = this.segmentBytesOf(stream)
    if (!stream.retired) await keepPolicy(directory, stream.retention)
    const store = await SegmentStore.open({
      stream: stream.name,
      directory,
      quarantineDirectory: join(options.dataDirectory, 'quarantine', stream.name),
      partitions,
      allPartitions: stream.allPartitions ?? false,
      prepareEarly: stream.topics.length > 0,
      retired: stream.retired ?? false,
      ballast: options.ballast,
      segmentBytes,
      tailCacheBytes: Math.floor(options.tailCacheBytes / this.streamCount),
      ceilings,
      openSegments,
      poweredOn: options.poweredOn,
      clock: options.clock,
      logger: options.logger.child(`log ${stream.name}`),
      onDamage,
      onFatal: options.onFatal,
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
        placeOf,
        destinationsOf: options.destinationsOf,
        poweredOnMs: () => options.poweredOn.nowMs(),
        wallMs: () => options.clock.wallMs(),
      },
      ballast: options.ballast,
      onDamage,
      onFatal: options.onFatal,
    })
  }

  private segmentBytesOf(stream: StreamOptions): number {
    const { segmentBytes, memoryBudgetBytes } = this.options
    const eighth = Math.floor(stream.retention.maxBytes / SEGMENTS_PER_STREAM)
    // A stream holds the memtables of the segment it writes and of the one it seals.
    const share = Math.floor(memoryBudgetBytes / (this.streamCount * 2))
    return Math.max(MIN_SEGMENT_BYTES, Math.min(segmentBytes, eighth, share))
  }

  /** With the one that is being opened: what memory is divided by. */
  private get streamCount(): number {
    return Math.max(this.options.streams.length, this.logs.length + 1)
  }

  /** What each start finds again is entered once. */
  private async enterDamage(found: readonly PlacedDamage[]): Promise<void> {
    const rows = this.options.ledger.list().filter(isExact)
    const damage = found.flatMap((range) => withoutKnown(range, rows))
    for (const { endUnknown, ...range } of damage) {
      if (endUnknown) this.options.logger.error('where a partition ended is unknown; these offsets are not used', range)
      else this.options.logger.error('records are damaged and will not be delivered', range)
    }
    await this.options.ledger.add(
      damage.map(({ stream, partition, first, last, endUnknown }) => ({
        destination: '*',
        stream,
        partition,
        firstOffset: first as Offset,
        lastOffset: last as Offset,
        reason: endUnknown ? ('end_unknown' as const) : ('corruption' as const),
        atMs: this.options.clock.wallMs(),
      })),
    )
  }

  /** Streams that left the configuration stay readable until they have expired, by the limits they had. */
  private async openRetired(): Promise<void> {
    await this.missRetired()
    const names = await listDirectory(join(this.options.dataDirectory, 'streams'))
    for (const name of names.filter((one) => !this.streams.has(one))) {
      const retention = await keptPolicy(join(this.options.dataDirectory, 'streams', name))
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
        await rm(join(this.options.dataDirectory, 'streams', name), { recursive: true, force: true })
        continue
      }
      this.enter(stream)
      const meaning = 'it can be read until it has expired, and takes no records'
      this.options.logger.warn('a stream is no longer in the configuration', { stream: name, meaning })
    }
  }

  /** What has been written to is there until it has expired, also when it is no longer configured. */
  private async missRetired(): Promise<void> {
    const { ceilings, dataDirectory, logger } = this.options
    const there = new Set([...this.streams.keys(), ...(await listDirectory(join(dataDirectory, 'streams')))])
    for (const stream of ceilings.streams()) {
      if (there.has(stream) || ceilings.hasEnded(stream)) continue
      logger.error('a stream that left the configuration is gone before it has expired', { stream })
      const ends = Array.from({ length: ceilings.partitionsOf(stream) }, (_, partition) => ({
        offset: ceilings.of(stream, partition),
        epoch: 1,
      }))
      await this.enterDamage(
        ends.flatMap(({ offset }, partition) =>
          offset === 0 ? [] : [{ stream, partition, first: 0, last: offset - 1, endUnknown: true }],
        ),
      )
      await ceilings.end(stream, ends)
    }
  }

  private async maintain(): Promise<void> {
    await this.options.ballast.restore()
    for (const log of this.logs) await log.maintain()
    await this.keepBudget()
  }

  /** Spent segments first, whichever stream they are of, then the oldest that may go (D9). */
  private async keepBudget(): Promise<void> {
    const budget = this.options.diskBudgetBytes ?? Number.POSITIVE_INFINITY
    for (;;) {
      const streams = this.logs
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

/** Nothing in its range is meant to be delivered. */
function isExact({ destination, firstOffset, lastOffset, records }: LedgerRow): boolean {
  return destination === '*' && records === lastOffset - firstOffset + 1
}

/** What of it no row names. */
function withoutKnown(damage: PlacedDamage, rows: readonly LedgerRow[]): PlacedDamage[] {
  const { stream, partition, first, last } = damage
  const known = rows.filter((row) => row.stream === stream && row.partition === partition)
  return uncoveredRanges({ first: first as Offset, last: last as Offset }, known).map((range) => ({
    ...damage,
    ...range,
  }))
}
