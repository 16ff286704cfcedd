// The mirrors of other nodes' streams. All mirrors of one stream name share one log (`mirrors/STREAM`), so that a hundred gateways do not cost
// a hundred databases: each partition of each origin has a partition of its own there, and a fact of the log says whose it is
// (added-partition.ts; label = origin, partition there, incarnation, via).
//
// A mirror that turns out not to be the beginning of what its origin has now gets a new incarnation: the next batch begins another mirror
// under the same name, and the old one stays readable as `<origin>.<stream>.N` until retention has taken its records.
//
// There are no ceilings here: where damage hides the end of a mirror, its origin is asked again, and the same offsets get the same records.

import { SluiceError } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { PartitionId } from '../record/record.js'
import { type AddedPartition, addedPartition, addedPartitionName, encodeAddedPartition } from './added-partition.js'
import { MirrorStream } from './mirror-stream.js'
import type { Place } from './retention.js'
import type { LogStream } from './stream.js'
import type { Commit, Stream } from './types.js'

/** Names of streams that are mirrored, inclusive. */
export const MAX_MIRRORED_STREAMS = 64
/** Partitions of all origins in one shared log, inclusive. */
export const MAX_MIRRORED_PARTITIONS = 4096

const WHOSE_IS_LOST =
  'damage has taken whose mirror a partition is: what it holds cannot be read any more; its origin is asked for it again'

export interface MirrorsOptions {
  /** Opens the log of the mirrors of one stream. @param placeOf Whose a partition is. */
  readonly openLog: (stream: string, placeOf: (partition: number) => Place) => Promise<OpenedLog>
  /**
   * A mirror has got another name because a new incarnation takes its place: what is kept under its name is not of the new one. Durable when
   * it resolves, before there is anything of the new one; called again where it fails.
   */
  readonly onReplacing: (mirror: MirrorStream, formerName: string) => Promise<void>
  /** The new incarnation is durable. Called again where it fails. */
  readonly onReplaced: (mirror: MirrorStream) => Promise<void>
  /** Where mirrors are entered under their names. */
  readonly catalog: Map<string, Stream>
  readonly logger: Logger
}

export interface OpenedLog {
  readonly log: LogStream
  /** To be called once `placeOf` knows every partition: enters the damage that opening has come upon. */
  readonly enterDamage: () => Promise<void>
}

/** Where a partition of a mirror begins. */
export type PartitionBegin = Pick<AddedPartition, 'base' | 'epoch'>

interface SharedLog {
  readonly log: LogStream
  /** Partitions whose fact is not durable (yet): their latest attempt. */
  readonly unsettled: Map<number, Commit>
  /** Per partition of the log: which mirror's, and which of its partitions; null if it has been lost. */
  readonly owners: ({ readonly mirror: MirrorStream; readonly partition: number } | null)[]
}

/** Each step is done once, and waited for by whoever asks meanwhile; after a failure the next who asks tries again. */
interface Replacement {
  readonly former: MirrorStream
  renaming: Promise<void> | null
  ending: Promise<void> | null
}

export class Mirrors {
  private readonly shared = new Map<string, Promise<SharedLog>>()
  private readonly opened = new Map<string, SharedLog>()
  /** `<origin>.<stream>` -> the incarnation that grows. */
  private readonly current = new Map<string, MirrorStream>()
  /** Those that have taken the place of another, until all of that is durable. */
  private readonly replacing = new Map<MirrorStream, Replacement>()
  private readonly listeners = new Set<() => void>()

  constructor(private readonly options: MirrorsOptions) {}

  /** The logs that are open. */
  get logs(): readonly LogStream[] {
    return [...this.opened.values()].map(({ log }) => log)
  }

  /** Those that grow, in the order of their names. */
  list(): readonly MirrorStream[] {
    return [...this.current.keys()].sort().map((name) => this.current.get(name) as MirrorStream)
  }

  /** Those that others have taken the place of. */
  former(): readonly MirrorStream[] {
    const mirrors = [...this.options.catalog.values()].filter((stream) => stream instanceof MirrorStream)
    return mirrors.filter(({ origin, stream, incarnation }) => this.find(origin, stream)?.incarnation !== incarnation)
  }

  find(origin: string, stream: string): MirrorStream | undefined {
    return this.current.get(`${origin}.${stream}`)
  }

  /** Opens the mirrors of a stream that are on disk. */
  async load(stream: string): Promise<void> {
    await this.sharedLog(stream)
  }

  /** Calls `listener` when a mirror has been opened, has got more partitions, or has been replaced. */
  onChanged(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /**
   * The mirror of a stream, with at least these partitions. Those it has stay where they are. Durable when it resolves.
   * @param via The node it comes from.
   * @throws SluiceError TOO_MANY_REQUESTS at a maximum; as Stream.append.
   */
  async open(origin: string, stream: string, begins: readonly PartitionBegin[], via: string): Promise<MirrorStream> {
    const shared = await this.sharedLog(stream)
    const known = this.find(origin, stream)
    this.checkRoom(shared, begins.length - (known?.partitions ?? 0), `${origin}.${stream}`)
    const mirror = known ?? this.enter(shared, origin, stream, 1, via)
    await this.extend(shared, mirror, begins, via)
    return mirror
  }

  /**
   * Begins a new incarnation; the one before keeps its records under a name of its own. Durable when it resolves; after a failure `open`, too, goes
   * on with it.
   */
  async begin(origin: string, stream: string, begins: readonly PartitionBegin[], via: string): Promise<MirrorStream> {
    const shared = await this.sharedLog(stream)
    const before = this.find(origin, stream)
    this.checkRoom(shared, begins.length, `${origin}.${stream}`)
    // One that an earlier attempt has begun, and nothing more.
    const mirror = before?.partitions === 0 ? before : this.replace(shared, origin, stream, before, via)
    await this.extend(shared, mirror, begins, via)
    return mirror
  }

  private replace(shared: SharedLog, origin: string, stream: string, before: MirrorStream | undefined, via: string) {
    const mirror = this.enter(shared, origin, stream, (before?.incarnation ?? 0) + 1, via)
    if (before === undefined) return mirror
    this.replacing.set(mirror, { former: before, renaming: null, ending: null })
    // Whoever reads the old one under this name stops before there is anything of the new one.
    this.changed()
    return mirror
  }

  /** Gives a mirror the partitions it lacks. The name is its own before there is anything of it, and the one before is done with once there is. */
  private async extend(
    shared: SharedLog,
    mirror: MirrorStream,
    begins: readonly PartitionBegin[],
    via: string,
  ): Promise<void> {
    const replacement = this.replacing.get(mirror)
    if (replacement === undefined) return this.grow(shared, mirror, begins, via)
    const { former } = replacement
    const { onReplacing, onReplaced } = this.options
    replacement.renaming ??= onReplacing(former, mirror.name).catch((error) => {
      replacement.renaming = null
      throw error
    })
    await replacement.renaming
    await this.grow(shared, mirror, begins, via)
    replacement.ending ??= onReplaced(former).catch((error) => {
      replacement.ending = null
      throw error
    })
    await replacement.ending
    this.replacing.delete(mirror)
  }

  private sharedLog(stream: string): Promise<SharedLog> {
    let opening = this.shared.get(stream)
    if (opening === undefined) {
      if (this.shared.size >= MAX_MIRRORED_STREAMS) {
        const message = `${MAX_MIRRORED_STREAMS} streams are mirrored here, the maximum; ${stream} would be one more`
        return Promise.reject(new SluiceError('TOO_MANY_REQUESTS', message, { stream }))
      }
      opening = this.openShared(stream)
      this.shared.set(stream, opening)
      opening.catch(() => this.shared.delete(stream))
    }
    return opening
  }

  /** Before anything is entered or replaced. @throws SluiceError TOO_MANY_REQUESTS. */
  private checkRoom({ log }: SharedLog, missing: number, mirror: string): void {
    if (log.partitions + missing <= MAX_MIRRORED_PARTITIONS) return
    const message = `${log.name} has ${log.partitions} partitions; with ${missing} more of ${mirror} they would be more than ${MAX_MIRRORED_PARTITIONS}`
    throw new SluiceError('TOO_MANY_REQUESTS', message, { stream: mirror })
  }

  private async openShared(stream: string): Promise<SharedLog> {
    const owners: SharedLog['owners'] = []
    const placeOf = (index: number): Place => {
      const owner = owners[index]
      if (owner) return { stream: owner.mirror.name, partition: owner.partition }
      return { stream: `*.${stream}`, partition: index }
    }
    const { log, enterDamage } = await this.options.openLog(stream, placeOf)
    const shared = { log, owners, unsettled: new Map() }
    this.opened.set(stream, shared)
    const facts = log.facts('')
    for (let index = 0; index < log.partitions; index++) {
      const label = addedPartition(facts, index)?.label
      if (label === undefined)
        this.options.logger.error(WHOSE_IS_LOST, { stream: placeOf(index).stream, partition: index })
      owners.push(label === undefined ? null : this.own(shared, stream, index, label))
    }
    await enterDamage()
    return shared
  }

  private own(shared: SharedLog, stream: string, index: number, label: AddedPartition['label']) {
    const [origin, partition, incarnation, via] = label as [string, number, number, string]
    let mirror = this.find(origin, stream)
    // Partitions of an incarnation follow each other; those of the next one come after them all.
    if (mirror?.incarnation !== incarnation) mirror = this.enter(shared, origin, stream, incarnation, via)
    mirror.via = via
    mirror.local[partition] = index as PartitionId
    return { mirror, partition }
  }

  private enter({ log }: SharedLog, origin: string, stream: string, incarnation: number, via: string): MirrorStream {
    const name = `${origin}.${stream}`
    const before = this.current.get(name)
    if (before !== undefined) {
      before.name = `${name}.${before.incarnation}`
      this.options.catalog.set(before.name, before)
    }
    const mirror = new MirrorStream(name, origin, stream, incarnation, via, log)
    this.current.set(name, mirror)
    this.options.catalog.set(name, mirror)
    return mirror
  }

  /**
   * Those who come at the same moment share one write: what is added is known in memory at once, and
   * whoever asks for it waits for the write that makes it durable. One that failed is tried again by the next who asks.
   */
  private async grow(
    shared: SharedLog,
    mirror: MirrorStream,
    begins: readonly PartitionBegin[],
    via: string,
  ): Promise<void> {
    const { log, owners, unsettled } = shared
    const { origin, incarnation } = mirror
    const missing = begins.length - mirror.partitions
    this.checkRoom(shared, missing, mirror.name)
    const label = (partition: number): AddedPartition['label'] => [origin, partition, incarnation, via]
    const moved = mirror.via !== via
    mirror.via = via
    const facts = moved ? log.facts('') : null
    mirror.local.forEach((index, partition) => {
      const failed = unsettled.get(index)?.state === 'failed'
      const added = failed ? begins[partition] : facts && addedPartition(facts, index)
      if (!added) return
      const fact = encodeAddedPartition({ base: added.base, epoch: added.epoch, label: label(partition) })
      this.settle(shared, index, log.setFact(addedPartitionName(index), fact))
    })
    for (let partition = mirror.partitions; partition < begins.length; partition++) {
      const index = log.partitions
      const commit = log.addPartition({ ...begins[partition], label: label(partition) })
      owners[index] = { mirror, partition }
      mirror.local.push(index as PartitionId)
      this.settle(shared, index, commit)
    }
    const commits = new Set(mirror.local.flatMap((index) => unsettled.get(index) ?? []))
    await Promise.all([...commits].map((commit) => commit.durable()))
    if (missing > 0) this.changed()
  }

  private changed(): void {
    for (const listener of this.listeners) listener()
  }

  private settle({ unsettled }: SharedLog, index: number, commit: Commit): void {
    unsettled.set(index, commit)
    commit.onSettled((error) => {
      if (error === null && unsettled.get(index) === commit) unsettled.delete(index)
    })
  }
}
