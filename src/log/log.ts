// All streams of a node: opened together, kept within their limits, closed together. Made by node-storage.ts.

import { join } from 'node:path'
import { SluiceError } from '../base/errors.js'
import { listDirectory, makeDirectory } from '../state/durable-files.js'
import { type Damage, DamageLedger } from './damage-ledger.js'
import { keepDiskBudget } from './disk-budget.js'
import type { LogOptions, StreamOptions } from './log-options.js'
import { Mirrors, type OpenedLog } from './mirrors.js'
import { endForwarding, finishReplacements, moveName } from './replaced-mirror.js'
import type { Place } from './retention.js'
import { missRetired, openRetired } from './retired-streams.js'
import { OpenSegments } from './segment-list.js'
import type { SegmentStoreOptions } from './segment-store.js'
import type { LogStream } from './stream.js'
import { type LogPlace, openLogStream } from './stream-opening.js'
import type { Stream, StreamCatalog } from './types.js'

const MAINTENANCE_MS = 1000

const NO_CEILINGS: SegmentStoreOptions['ceilings'] = {
  cover: async () => {},
  of: () => Number.POSITIVE_INFINITY,
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
  private readonly damageLedger: DamageLedger
  private stopMaintenance: () => void = () => {}
  private closed = false

  private constructor(private readonly options: LogOptions) {
    this.damageLedger = new DamageLedger(options.ledger, options.clock, options.logger)
    this.mirrors = new Mirrors({
      openLog: (stream, placeOf) => this.openMirrors(stream, placeOf),
      onReplacing: (mirror, formerName) => moveName(mirror, formerName, options),
      onReplaced: (mirror) => endForwarding(mirror, options),
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
      await log.openThoseRetired()
      for (const stream of await listDirectory(join(options.dataDirectory, 'mirrors'))) await log.mirrors.load(stream)
      await finishReplacements(log.streams.values(), options)
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
      onDamage: (damage) => this.damageLedger.enter(damage.map((range) => ({ ...range, stream: stream.name }))),
    })
  }

  /** They have no ceilings: what damage hides is asked again from where it came. */
  private async openMirrors(stream: string, placeOf: (partition: number) => Place): Promise<OpenedLog> {
    const name = `*.${stream}`
    const retention = this.options.mirrorRetention
    const enter = (damage: readonly Damage[]): Promise<void> => this.damageLedger.enterMirrored(damage, placeOf)
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

  private async openThoseRetired(): Promise<void> {
    const { options, streams } = this
    await missRetired(options, streams.keys(), this.damageLedger)
    const isConfigured = (name: string): boolean => streams.has(name)
    for await (const stream of openRetired(options, isConfigured, (one) => this.openStream(one))) this.enter(stream)
  }

  private openLog(stream: StreamOptions, where: LogPlace): Promise<LogStream> {
    const { options, openSegments } = this
    // With the one that is being opened.
    const streamCount = Math.max(options.streams.length, this.logs.length + 1)
    return openLogStream(options, stream, where, { openSegments, streamCount })
  }

  private async maintain(): Promise<void> {
    await this.options.ballast.restore()
    for (const log of this.logs) await log.maintain()
    await keepDiskBudget(() => this.logs, this.options.diskBudgetBytes ?? Number.POSITIVE_INFINITY)
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
