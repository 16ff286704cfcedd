// What a stream must be: every record that was ever appended to it, which of them were promised, the facts and producers that belong to them, and
// what a fault may have taken. It is told of each commit; what is on disk after a crash must be what some number of commits in a row have made, all
// that were acknowledged among them.

import { Decoder } from 'cbor-x'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../../src/base/errors.js'
import type { LogStream } from '../../../src/log/stream.js'
import type { Commit } from '../../../src/log/types.js'
import type { PartitionId } from '../../../src/record/record.js'
import type { Ranges } from './ranges.js'

export interface ModelRecord {
  readonly value: string
  readonly timestampMs: number
  readonly mqttTopic: string
  readonly epoch: number
}

export interface ModelBatch {
  readonly sequence: number
  readonly count: number
  readonly offset: number
}

export interface ModelProducer {
  readonly epoch: number
  /** The last five. */
  readonly batches: readonly ModelBatch[]
}

/** All that a commit makes durable, together with the commits before it. */
interface Picture {
  /** One past the last record of each partition. */
  readonly ends: number[]
  readonly facts: Map<string, string>
  /** `producer/ID/PARTITION`, as its fact is called. */
  readonly producers: Map<string, ModelProducer>
}

export class ModelPartition {
  readonly records = new Map<number, ModelRecord>()
  /** All below was acknowledged, or has been read. */
  promised = 0
  /** Where the next record goes at the earliest: beyond the last one since damage has hidden an end. */
  goesOnAt = 0
  epoch = 0
  /** As the last audit found it. */
  start = 0
  /** What faults since the last audit may have taken. */
  exposed: { readonly ranges: Ranges; readonly isOldest: boolean } | null = null
  /** Since the last audit, because damage has hidden where it ended. */
  hasJumped = false

  mayBeLost(offset: number): boolean {
    return this.exposed?.ranges.has(offset) ?? false
  }

  /** That the oldest segment is gone is noticed by nobody: see the known limits in src/log/README.md. */
  mayVanish(offset: number): boolean {
    return this.exposed?.isOldest === true && this.mayBeLost(offset)
  }
}

/** What a fault since the last start may have done to a stream, at most. */
export interface Exposure {
  /** Records in these ranges, by partition. */
  readonly ranges: readonly Ranges[]
  /** It is not known any more where partitions end. */
  readonly endsHidden: boolean
  readonly factsDoubtful: boolean
  /** It was the oldest segment. */
  readonly isOldest: boolean
  /** The state database has gone back, or is gone. */
  readonly stateOlder: boolean
}

const cbor = new Decoder({ useRecords: false })
const REMEMBERED_BATCHES = 5

export class ModelStream {
  readonly partitions: readonly ModelPartition[]
  private durable: Picture
  /** What was appended and has not settled, or has failed: it may be on disk. */
  private open: { readonly commit: Commit; readonly picture: Picture }[] = []
  /** A commit has failed: what there is of it has to be looked at before anything is appended. */
  isUncertain = false

  constructor(
    readonly name: string,
    partitions: number,
  ) {
    this.partitions = Array.from({ length: partitions }, () => new ModelPartition())
    this.durable = { ends: this.partitions.map(() => 0), facts: new Map(), producers: new Map() }
  }

  expose({ ranges, isOldest }: Exposure): void {
    ranges.forEach((range, partition) => {
      this.partitions[partition].exposed = { ranges: range, isOldest }
    })
  }

  get newest(): Picture {
    return this.open.at(-1)?.picture ?? this.durable
  }

  nextOffset(partition: number): number {
    return Math.max(this.newest.ends[partition], this.partitions[partition].goesOnAt)
  }

  appended(commit: Commit, partition: number, offset: number, record: ModelRecord): void {
    const { records, promised } = this.partitions[partition]
    assert.ok(offset >= promised, `${this.name}/${partition}: offset ${offset} is given again`)
    records.set(offset, record)
    this.pictureOf(commit).ends[partition] = offset + 1
  }

  factSet(commit: Commit, name: string, value: string | null): void {
    const { facts } = this.pictureOf(commit)
    if (value === null) facts.delete(name)
    else facts.set(name, value)
  }

  produced(commit: Commit, name: string, epoch: number, batch: ModelBatch): void {
    const { producers } = this.pictureOf(commit)
    const known = producers.get(name)
    const earlier = known?.epoch === epoch ? known.batches : []
    producers.set(name, { epoch, batches: [...earlier, batch].slice(-REMEMBERED_BATCHES) })
  }

  /** Somebody was shown all below. */
  seen(partition: number, end: number): void {
    const one = this.partitions[partition]
    assert.ok(end <= this.nextOffset(partition), `${this.name}/${partition} shows ${end}, which nobody has appended`)
    one.promised = Math.max(one.promised, end)
  }

  /** Compares what the log says after a crash, or a failed write, with what it may say, and goes on from there. */
  settle(stream: LogStream, exposure: Exposure | null): void {
    const pictures = [this.durable, ...this.open.map(({ picture }) => picture)]
    const facts = picturedFacts(stream)
    const ends = this.partitions.map((_, partition) => Number(stream.nextOffset(partition as PartitionId)))
    const isExposed = exposure !== null && (exposure.endsHidden || exposure.ranges.some(({ all }) => all.length > 0))
    if (isExposed || exposure?.factsDoubtful) this.takeOver(stream, ends, facts, pictures, exposure)
    else this.match(stream, ends, facts, pictures, exposure?.stateOlder ?? false)
    this.open = []
    this.isUncertain = false
    this.partitions.forEach((partition, i) => {
      for (const offset of partition.records.keys()) if (offset >= ends[i]) partition.records.delete(offset)
      partition.promised = ends[i]
    })
  }

  /** Nothing has happened to the files: it is as some commit has left it. */
  private match(
    stream: LogStream,
    ends: readonly number[],
    facts: Pick<Picture, 'facts' | 'producers'>,
    pictures: readonly Picture[],
    stateOlder: boolean,
  ): void {
    const found = pictures.find(
      (picture) =>
        ends.every((end, i) => {
          const { goesOnAt, promised } = this.partitions[i]
          return end === Math.max(goesOnAt, picture.ends[i]) && end >= promised
        }) && isSame(picture, facts),
    )
    const said = { ends, ...facts }
    assert.ok(
      found,
      `${this.name} is ${show(said)}, and may be ${pictures.map(show).join(' or ')}; next ${this.partitions.map((one) => one.goesOnAt).join()}`,
    )
    this.durable = found
    this.partitions.forEach((partition, i) => {
      partition.goesOnAt = ends[i]
      const epoch = stream.epoch(i as PartitionId)
      if (stateOlder) assert.ok(epoch <= partition.epoch)
      else assert.is(epoch, partition.epoch, `${this.name}/${i}: the partition epoch`)
      partition.epoch = epoch
    })
  }

  /** A fault has been at the files: nothing is given again, facts are as they were or forgotten. */
  private takeOver(
    stream: LogStream,
    ends: readonly number[],
    { facts, producers }: Pick<Picture, 'facts' | 'producers'>,
    pictures: readonly Picture[],
    exposure: Exposure,
  ): void {
    this.partitions.forEach((partition, i) => {
      const where = `${this.name}/${i}`
      const epoch = stream.epoch(i as PartitionId)
      assert.ok(ends[i] >= partition.promised, `${where} goes on at ${ends[i]}; ${partition.promised} was promised`)
      const known = new Set(pictures.map((picture) => Math.max(picture.ends[i], partition.goesOnAt)))
      if (!known.has(ends[i])) {
        assert.ok(exposure.endsHidden, `${where} goes on at ${ends[i]} and not at one of ${[...known].join()}`)
        partition.hasJumped = true
      }
      partition.goesOnAt = ends[i]
      partition.epoch = epoch
    })
    for (const [name, value] of facts)
      assert.ok(
        exposure.factsDoubtful
          ? pictures.some((picture) => picture.facts.get(name) === value)
          : this.durable.facts.get(name) === value || pictures.some((picture) => picture.facts.get(name) === value),
        `${this.name}: the fact ${name} is ${value}, which it has not been lately`,
      )
    for (const [name, producer] of producers)
      assert.ok(
        pictures.some((picture) => JSON.stringify(picture.producers.get(name)) === JSON.stringify(producer)),
        `${this.name}: ${name} is ${JSON.stringify(producer)}, which it has not been lately`,
      )
    const isWhole = pictures.some((picture) => isSame(picture, { facts, producers }))
    assert.ok(exposure.factsDoubtful || isWhole, `${this.name}: facts are gone, and no fault was near them`)
    this.durable = { ends: [...ends], facts, producers }
  }

  private pictureOf(commit: Commit): Picture {
    const last = this.open.at(-1)
    if (last?.commit === commit) return last.picture
    const { ends, facts, producers } = this.newest
    const picture = { ends: [...ends], facts: new Map(facts), producers: new Map(producers) }
    this.open.push({ commit, picture })
    commit.onSettled((error) => this.settled(commit, error))
    return picture
  }

  private settled(commit: Commit, error: SluiceError | null): void {
    if (error !== null) {
      this.isUncertain = true
      return
    }
    assert.not.ok(this.isUncertain, 'nothing is acknowledged after a commit that failed')
    assert.is(this.open[0]?.commit, commit, 'commits settle in order')
    this.durable = this.open[0].picture
    this.open.shift()
    this.partitions.forEach((partition, i) => {
      partition.promised = Math.max(partition.promised, this.durable.ends[i])
    })
  }
}

function picturedFacts(stream: LogStream): Pick<Picture, 'facts' | 'producers'> {
  const facts = new Map<string, string>()
  const producers = new Map<string, ModelProducer>()
  for (const [name, bytes] of stream.facts('')) {
    if (!name.startsWith('producer/')) facts.set(name, Buffer.from(bytes).toString())
    else {
      const [epoch, , rows] = cbor.decode(bytes) as [number, number, [number, number, number][]]
      producers.set(name, { epoch, batches: rows.map(([sequence, count, offset]) => ({ sequence, count, offset })) })
    }
  }
  return { facts, producers }
}

function isSame(picture: Picture, facts: Pick<Picture, 'facts' | 'producers'>): boolean {
  return text(picture.facts) === text(facts.facts) && text(picture.producers) === text(facts.producers)
}

function text(map: ReadonlyMap<string, unknown>): string {
  return JSON.stringify([...map].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function show({
  ends,
  facts,
  producers,
}: Picture | (Pick<Picture, 'facts' | 'producers'> & { ends: readonly number[] })): string {
  return `[${ends.join()} ${text(facts)} ${text(producers)}]`
}
