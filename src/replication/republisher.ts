// Gives the records of mirrors to the MQTT subscribers of this node. Each is published under its own topic, or one made of it, with its QoS and
// retain flag, into a stream of its own (`republished`): sessions are fed from there like from any other, access rules hold, and because no
// upstream forwards that stream, nothing of it goes back to where it came from.
//
//   mirror ─▶ lane (one per partition) ─▶ publish path, numbered by offset ─▶ `republished` ─▶ sessions
//
// In order per partition, and once each: the number is stored in one write with the record, so that what is republished again after a crash is
// known there. The positions kept here only spare that, and are saved now and then. What has left the mirror before it was republished, was left of it
// when another took its place, or can be published nowhere, is in the ledger (destination `subscribers`).

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { MirrorStream } from '../log/mirror-stream.js'
import type { Offset, PartitionId } from '../record/record.js'
import type { StateOperation, StateStore, StateTable } from '../state/types.js'
import { covers } from './listed-mirrors.js'
import { passOver, RepublishLane, type RepublishLaneOptions } from './republish-lane.js'

/** What is needed of a mirror. */
export type RepublishedMirror = RepublishLaneOptions['mirror'] &
  Pick<MirrorStream, 'origin' | 'stream' | 'incarnation' | 'local'>

export interface RepublisherOptions {
  /** `*.STREAM` or `ORIGIN.STREAM`; may be none. */
  readonly mirrors: readonly string[]
  /** Of {topic}, {origin} and {stream}. */
  readonly topic: string
  /** See Mirrors. */
  readonly catalog: {
    list(): readonly RepublishedMirror[]
    /** Those that others have taken the place of. */
    former(): readonly RepublishedMirror[]
    onChanged(listener: () => void): () => void
  }
  readonly publish: RepublishLaneOptions['publish']
  readonly ledger: RepublishLaneOptions['ledger']
  readonly state: StateStore
  readonly clock: Clock
  readonly logger: Logger
}

interface Row {
  readonly next: number
}

interface Place {
  readonly mirror: RepublishedMirror
  readonly partition: PartitionId
}

/** How often positions that have moved are saved. */
const SAVE_EVERY_MS = 5_000
/** Beside the positions: the rows of what was listed the last time. No mirror has such a name. */
const LISTED = 'listed '

export class Republisher {
  private readonly lanes = new Map<string, RepublishLane>()
  /** Of mirrors that others have taken the place of. */
  private readonly ending = new Set<Promise<void>>()
  private stopListening = (): void => {}
  private cancelSave = (): void => {}
  private stopped = false

  private constructor(
    private readonly options: RepublisherOptions,
    private readonly table: StateTable<Row>,
    private readonly saved: Map<string, number>,
  ) {}

  /**
   * Begins at the end of what is listed for the first time, and where it was with what was listed before; what comes later, at its beginning. Forgets
   * what is no longer listed: call it also where nothing is.
   * @throws SluiceError when the positions can be neither read nor written.
   */
  static async start(options: RepublisherOptions): Promise<Republisher> {
    const { mirrors: listed, catalog, state } = options
    const table = state.table<Row>('republished')
    const saved = new Map<string, number>()
    const before = new Set<string>()
    for await (const [key, { next }] of table.entries()) {
      if (key.startsWith(LISTED)) before.add(key.slice(LISTED.length))
      else saved.set(key, next)
    }
    const changes: StateOperation<Row>[] = listed.map((one) => ({ put: LISTED + one, value: { next: 0 } }))
    for (const one of before) if (!listed.includes(one)) changes.push({ delete: LISTED + one })
    const wanted = partitionsOf(catalog.list(), listed)
    for (const [key, { mirror, partition }] of wanted) {
      if ([...before].some((one) => covers([one], mirror))) continue
      const next = mirror.highWatermark(partition)
      saved.set(key, next)
      changes.push({ put: key, value: { next } })
    }
    const former = partitionsOf(catalog.former(), listed)
    for (const [key, next] of saved) {
      if (wanted.has(key)) continue
      const replaced = former.get(key)
      if (replaced !== undefined) await passReplaced(options, replaced, next)
      changes.push({ delete: key })
      saved.delete(key)
    }
    await table.write(changes)
    const republisher = new Republisher(options, table, saved)
    if (listed.length > 0) republisher.listen()
    return republisher
  }

  /** Waits for what is on its way, and saves how far it has come. */
  async stop(): Promise<void> {
    this.stopped = true
    this.stopListening()
    this.cancelSave()
    await Promise.all([...[...this.lanes.values()].map((lane) => lane.stop()), ...this.ending])
    await this.save()
  }

  private listen(): void {
    this.stopListening = this.options.catalog.onChanged(() => this.look())
    this.look()
    this.saveLater()
  }

  /** Begins with partitions that are new, ends with those whose mirror has been replaced. */
  private look(): void {
    const { mirrors, catalog } = this.options
    const wanted = partitionsOf(catalog.list(), mirrors)
    for (const [key, lane] of this.lanes) {
      if (wanted.has(key)) continue
      this.lanes.delete(key)
      const ending = this.end(key, lane).finally(() => this.ending.delete(ending))
      this.ending.add(ending)
    }
    for (const [key, place] of wanted) if (!this.lanes.has(key)) this.lanes.set(key, this.laneOf(key, place))
  }

  private async end(key: string, lane: RepublishLane): Promise<void> {
    const { mirror, partition } = lane.options
    await lane.stop()
    try {
      await passReplaced(this.options, { mirror, partition }, lane.position)
      await this.table.delete(key)
      this.saved.delete(key)
    } catch (error) {
      // The next start enters it.
      const meaning = 'what of a replaced mirror was not republished cannot be entered now'
      this.options.logger.warn(meaning, { stream: mirror.name, partition, reason: messageOf(error) })
    }
  }

  private laneOf(key: string, { mirror, partition }: Place): RepublishLane {
    const { topic, publish, ledger, clock, logger } = this.options
    const template = topic.replaceAll('{origin}', mirror.origin).replaceAll('{stream}', mirror.stream)
    const from = (this.saved.get(key) ?? mirror.logStartOffset(partition)) as Offset
    return new RepublishLane({ id: key, mirror, partition, from, template, publish, ledger, clock, logger })
  }

  private saveLater(): void {
    this.cancelSave = this.options.clock.after(SAVE_EVERY_MS, () => {
      void this.save().then(() => {
        if (!this.stopped) this.saveLater()
      })
    })
  }

  private async save(): Promise<void> {
    const moved = [...this.lanes].filter(([key, { position }]) => this.saved.get(key) !== position)
    const operations = moved.map(([key, { position }]) => ({ put: key, value: { next: position } }))
    if (operations.length === 0) return
    try {
      await this.table.write(operations)
      for (const { put, value } of operations) this.saved.set(put, value.next)
    } catch (error) {
      this.options.logger.warn('it cannot be kept how far mirrors are republished', { reason: messageOf(error) })
    }
  }
}

function partitionsOf(mirrors: readonly RepublishedMirror[], listed: readonly string[]): Map<string, Place> {
  const places = mirrors
    .filter((mirror) => covers(listed, mirror))
    .flatMap((mirror) => mirror.local.map((_, partition) => ({ mirror, partition: partition as PartitionId })))
  return new Map(places.map((place) => [keyOf(place), place]))
}

/** Of one incarnation: what takes its place begins anew. */
function keyOf({ mirror: { origin, stream, incarnation }, partition }: Place): string {
  return `${origin}.${stream}.${incarnation}/${partition}`
}

/** What was not republished when another mirror took the place of this one never will be. Durable in the ledger when it resolves. */
async function passReplaced(
  options: RepublisherOptions,
  { mirror, partition }: Pick<RepublishLaneOptions, 'mirror' | 'partition'>,
  from: number,
): Promise<void> {
  const end = mirror.highWatermark(partition)
  if (from < end) await passOver({ ...options, mirror, partition }, from as Offset, end, 'replaced')
}
