// A log and its model, step by step. What the steps are, and how often each comes, is in steps.ts; here is what they are made of, and what is
// asserted after each crash (`audit`) and of whatever is read in between.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../../src/base/errors.js'
import { Logger } from '../../../src/base/logger.js'
import type { ProducerSequence } from '../../../src/log/producer-table.js'
import type { LogStream } from '../../../src/log/stream.js'
import type { FetchLimits } from '../../../src/log/types.js'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { decodeRecords, leaderEpochOf } from '../../../src/record/record-batch.js'
import type { LedgerRow } from '../../../src/state/ledger.js'
import { openLog, recordOf, type TestLog } from '../../helpers/open-log.js'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { Saboteur } from './damage.js'
import { closeEverything, loseUnsynced, openThings } from './io-hooks.js'
import { type ModelPartition, type ModelProducer, type ModelRecord, ModelStream } from './model-stream.js'
import { Ranges } from './ranges.js'
import { NodeEnded, World } from './world.js'

const SEGMENT_BYTES = 6 * 1024
const MAX_BYTES = 8 * SEGMENT_BYTES
const MAX_AGE_MS = 60_000
const RECORD_BYTES = 2000
/** More than a segment can hold of records. */
const CEILING_STEP = 150
const DESTINATIONS = ['cloud', 'backup']
const TOPICS = ['a', 'b/c', 'd/e/f']
const PRODUCERS = 3
const FACTS = 5
const STREAMS = [
  { name: 'drop', partitions: 3, retention: { maxBytes: MAX_BYTES, maxAgeMs: null, onFull: 'drop_oldest' as const } },
  { name: 'keep', partitions: 2, retention: { maxBytes: MAX_BYTES, maxAgeMs: null, onFull: 'reject' as const } },
  {
    name: 'aged',
    partitions: 1,
    retention: { maxBytes: 4 * MAX_BYTES, maxAgeMs: MAX_AGE_MS, onFull: 'drop_oldest' as const },
  },
]
const OPTIONS = {
  segmentBytes: SEGMENT_BYTES,
  memoryBudgetBytes: SEGMENT_BYTES * 2 * STREAMS.length,
  maxBatchBytes: 1024,
  maxPendingBytes: SEGMENT_BYTES,
  tailCacheBytes: 3 * 4096,
  maxRecordBytes: 4096,
  diskBudgetBytes: 5 * MAX_BYTES,
  ballastBytes: 32 * 1024,
  ceilingStep: CEILING_STEP,
  destinations: DESTINATIONS,
}

interface ModelCursor {
  readonly next: number
  readonly acked: readonly { readonly first: number; readonly next: number }[]
}

const NOWHERE: ModelCursor = { next: 0, acked: [] }

export class ModelRun {
  readonly world: World
  readonly streams = new Map<string, ModelStream>()
  readonly counts = new Map<string, number>()
  private readonly directory: string
  private readonly saboteur: Saboteur
  private node: TestLog | null = null
  /** `destination/stream/partition` -> every value it has had, the last one last, and those that may be on disk all the same. */
  private readonly cursors = new Map<string, { history: ModelCursor[]; open: ModelCursor[]; isMoving: boolean }>()
  /** `destination/stream/partition` -> what the ledger has said is not delivered. */
  private named = new Map<string, Ranges>()
  private failure: unknown = null
  private written = 0
  /** Counts starts. */
  private life = 0
  /** What the log has warned of since it started. */
  said: string[] = []
  private wasFull = false

  constructor(readonly random: SeededRandom) {
    const root = tempDirInMemory()
    this.directory = join(root, 'data')
    mkdirSync(join(root, 'spare'))
    for (const { name, partitions } of STREAMS) this.streams.set(name, new ModelStream(name, partitions))
    this.saboteur = new Saboteur(this.directory, random, this.streams, join(root, 'spare'))
    this.world = new World(random)
  }

  // ---- what a step does

  append(): void {
    const { model, log, partition } = this.anyPartition()
    if (!this.isWritable(model, log) || !log.hasRoom) return
    this.tryWriting(model, () => {
      const { offset, record, input } = this.newRecord(model, log, partition)
      model.appended(log.append(partition, input), partition, offset, record)
    })
  }

  produce(): void {
    const { model, log, partition } = this.anyPartition()
    if (!this.isWritable(model, log) || !log.hasRoom) return
    const id = this.random.below(PRODUCERS)
    const name = `producer/${id}/${partition}`
    const known = model.newest.producers.get(name)
    const again = known && this.random.chance(0.4)
    const beginsAnew = known && !again && this.random.chance(0.1)
    const epoch = (known?.epoch ?? 0) + (beginsAnew ? 1 : 0)
    if (again) {
      this.produceAgain(model, log, partition, id, known)
      return
    }
    const last = known?.batches.at(-1)
    const sequence = last && !beginsAnew ? last.sequence + last.count : 0
    this.refuseWrongSequence(log, { producerId: id, epoch, sequence }, partition, known !== undefined)
    this.tryWriting(model, () => {
      const count = 1 + this.random.below(3)
      const made = Array.from({ length: count }, (_, i) => this.newRecord(model, log, partition, i))
      const { duplicate, firstOffset, commit } = log.appendFrom(
        { producerId: id, epoch, sequence },
        partition,
        made.map(({ input }) => input),
      )
      assert.not.ok(duplicate, `${model.name}/${partition}, producer ${id}, sequence ${sequence} is new`)
      for (const { offset, record } of made) model.appended(commit, partition, offset, record)
      model.produced(commit, name, epoch, { sequence, count, offset: firstOffset })
    })
  }

  /** What a producer sends again is answered as the first time. */
  private produceAgain(
    model: ModelStream,
    log: LogStream,
    partition: PartitionId,
    id: number,
    known: ModelProducer,
  ): void {
    const { sequence, count, offset } = known.batches[this.random.below(known.batches.length)]
    this.tryWriting(model, () => {
      const { duplicate, firstOffset } = log.appendFrom(
        { producerId: id, epoch: known.epoch, sequence },
        partition,
        this.inputs(count),
      )
      const where = `${model.name}/${partition}, producer ${id}, sequence ${sequence}`
      assert.equal([duplicate, firstOffset], [true, offset], `${where} was appended before`)
    })
  }

  setFact(): void {
    const { model, log } = this.anyPartition()
    if (!this.isWritable(model, log)) return
    const name = `fact/${this.random.below(FACTS)}`
    const value = this.random.chance(0.3) ? null : `${++this.written}`
    this.tryWriting(model, () =>
      model.factSet(log.setFact(name, value === null ? null : Buffer.from(value)), name, value),
    )
  }

  fetch(): void {
    const { model, log, partition } = this.anyPartition()
    const start = log.logStartOffset(partition)
    const highWatermark = log.highWatermark(partition)
    const near = this.random.chance(0.4) ? Math.max(start, highWatermark - 20) : start - 2
    const from = Math.max(0, near + this.random.below(highWatermark - near + 3))
    const wanted = this.random.chance(0.2) ? TOPICS[this.random.below(TOPICS.length)] : null
    const limits: FetchLimits = {
      maxBytes: 1 + this.random.below(8000),
      ...(this.random.chance(0.5) ? { maxRecords: 1 + this.random.below(50) } : {}),
      ...(wanted ? { wantsTopic: (mqttTopic: string) => mqttTopic === wanted } : {}),
      fromDisk: this.random.chance(0.5),
    }
    this.spawn(this.checkedFetch(model, log, partition, from, highWatermark, limits, wanted))
  }

  findTime(): void {
    const { model, log, partition } = this.anyPartition()
    const timestampMs = this.randomTime()
    const before = { start: log.logStartOffset(partition), end: log.highWatermark(partition) }
    const check = async (): Promise<void> => {
      const found = Number(await log.offsetForTime(partition, timestampMs))
      const end = log.highWatermark(partition)
      const isLate = (offset: number): boolean =>
        (model.partitions[partition].records.get(offset)?.timestampMs ?? -1) >= timestampMs
      const where = `${model.name}/${partition}, found ${found} for ${timestampMs}`
      assert.ok(isLate(found) || (before.end <= found && found <= end), where)
      const lost = this.rowsOf('*', model.name, partition)
      for (const offset of model.partitions[partition].records.keys()) {
        const isBefore = log.logStartOffset(partition) <= offset && offset < Math.min(found, before.end)
        assert.not.ok(isBefore && isLate(offset) && !lost.has(offset), `${where}; ${offset} comes before it`)
      }
    }
    this.spawn(check())
  }

  moveCursor(): void {
    const { model, log, partition } = this.anyPartition()
    const destination = DESTINATIONS[this.random.below(DESTINATIONS.length)]
    const key = `${destination}/${model.name}/${partition}`
    const cursor = this.cursors.get(key) ?? { history: [NOWHERE], open: [], isMoving: false }
    this.cursors.set(key, cursor)
    if (cursor.isMoving) return
    const before = cursor.history.at(-1) as ModelCursor
    const end = log.highWatermark(partition)
    const next = before.next + this.random.below(Math.max(0, end - before.next) + 1)
    const acked: { first: number; next: number }[] = []
    for (let at = next; this.random.chance(0.3) && at + 3 < end && acked.length < 8; ) {
      const first = at + 1 + this.random.below(3)
      at = Math.min(end, first + 1 + this.random.below(20))
      if (first < at) acked.push({ first, next: at })
    }
    const moved = { next, acked }
    cursor.open.push(moved)
    cursor.isMoving = true
    const set = this.running.cursors.set(destination, model.name, partition, next as Offset, acked as never)
    const settled = set.then(
      () => {
        cursor.history.push(moved)
        cursor.open = []
      },
      (error) => assert.ok(this.mayRefuse(error), String(error)),
    )
    this.spawn(
      settled.finally(() => {
        cursor.isMoving = false
      }),
    )
  }

  fillDisk(): void {
    this.world.disk.fill(this.random.below(60_000))
    this.wasFull = true
  }

  /** Whoever was refused for want of space goes on once there is some. */
  async emptyDisk(): Promise<void> {
    if (!this.world.disk.isFull) return
    this.world.disk.empty()
    await this.world.advance(8000)
    for (const [name, model] of this.streams) {
      const log = this.log(name)
      const isFullByPolicy = name === 'keep' && log.stats().bytes > MAX_BYTES - SEGMENT_BYTES
      assert.ok(log.refused === null || isFullByPolicy, `${name} does not go on: ${log.refused?.message}`)
      if (model.isUncertain) model.settle(log, null)
    }
    this.wasFull = false
  }

  failDisk(): void {
    this.world.disk.failsIn = 1 + this.random.below(80)
  }

  // ---- ends and starts

  async start(): Promise<void> {
    this.life += 1
    this.said = []
    const logger = new Logger('log', 'warn', (line) => this.said.push(line))
    const open = (): Promise<TestLog> =>
      openLog(this.directory, STREAMS, {
        ...OPTIONS,
        clock: this.world,
        logger,
        onFatal: (error) => this.world.end(error),
      })
    this.node = await this.world.until(open())
  }

  async restart(): Promise<void> {
    await this.close()
    await this.start()
    this.settle()
    await this.audit()
  }

  async kill(): Promise<void> {
    await this.crash()
    if (this.random.chance(0.1)) this.saboteur.keepState()
    await this.start()
    this.settle()
    await this.audit()
  }

  /** The witnesses are given the moment they need: see the known limits in src/log/README.md. */
  async damage(): Promise<void> {
    if (this.random.chance(0.3)) await this.close()
    else {
      await this.world.comeToRest()
      await this.crash()
    }
    const { what, exposed, stateOlder } = this.saboteur.inflict()
    this.trace(what)
    for (const [name, exposure] of exposed) this.streams.get(name)?.expose(exposure)
    await this.start()
    if (stateOlder) this.forgetState()
    for (const [name, model] of this.streams) model.settle(this.log(name), exposed.get(name) ?? null)
    this.settleCursors(stateOlder)
    await this.audit(stateOlder)
    rmSync(join(this.directory, 'quarantine'), { recursive: true, force: true })
  }

  /** As SIGKILL does it, at whatever moment it is. */
  async crash(): Promise<void> {
    const torn = (await this.world.stop()).flatMap(({ tear }) => tear ?? [])
    this.world.disk.forget()
    this.world.disk.empty()
    await this.world.carryOut(async () => {
      if (torn.length > 0 && this.random.chance(0.6)) await torn[this.random.below(torn.length)](this.random)
      await closeEverything()
      if (this.random.chance(0.5)) loseUnsynced()
    })
    this.node = null
  }

  async close(): Promise<void> {
    // Whoever reads stops first.
    await this.world.settle()
    await this.world.until(this.running.close())
    await this.world.stop()
    this.world.disk.forget()
    this.world.disk.empty()
    assert.equal(openThings(), [], 'everything is closed')
    this.node = null
  }

  async abandon(): Promise<void> {
    World.current = null
    await closeEverything()
  }

  // ---- what is asserted

  throwFailure(): void {
    if (this.failure !== null) throw this.failure
  }

  /** Reads everything, and compares. */
  async audit(stateOlder = false): Promise<void> {
    await this.world.settle()
    this.checkLedger(stateOlder)
    for (const [name, model] of this.streams) {
      if (model.isUncertain) continue
      for (let partition = 0; partition < model.partitions.length; partition++)
        await this.auditPartition(this.log(name), model, partition as PartitionId, stateOlder)
    }
    this.throwFailure()
  }

  private async auditPartition(
    log: LogStream,
    model: ModelStream,
    partition: PartitionId,
    stateOlder: boolean,
  ): Promise<void> {
    const one = model.partitions[partition]
    const readable = new Ranges()
    let next = log.logStartOffset(partition)
    let epoch = -1
    while (next < log.highWatermark(partition)) {
      next = Math.max(next, log.logStartOffset(partition)) as Offset
      const limits = { maxBytes: 16_000, fromDisk: true }
      const fetched = await this.world.until(log.fetch(partition, next, limits)).catch((error) => {
        if (next < log.logStartOffset(partition)) return null
        throw error
      })
      for (const batch of fetched?.batches ?? []) {
        assert.ok(leaderEpochOf(batch) >= epoch, 'epochs do not go down')
        epoch = leaderEpochOf(batch)
        for (const record of decodeRecords(batch, next)) {
          this.compare(one, `${model.name}/${partition}/${record.offset}`, record, batch)
          readable.add(record.offset, record.offset)
        }
      }
      if (fetched) next = fetched.nextOffset
    }
    if (one.hasJumped)
      assert.ok(
        log.epoch(partition) > epoch,
        `${model.name}/${partition}: the partition epoch is raised where an end is unknown`,
      )
    one.hasJumped = false
    const start = log.logStartOffset(partition)
    const end = log.highWatermark(partition)
    const where = `${model.name}/${partition} (${start} to ${end})`
    const lost = this.rowsOf('*', model.name, partition)
    assert.equal(readable.without(lost), readable.all, `${where}: what is there is not in the ledger as lost`)
    assert.ok((lost.all.at(-1)?.last ?? -1) < end, `${where}: the ledger names what is yet to come`)
    const missing = Ranges.of(Ranges.of([{ first: start, last: end - 1 }]).without(readable))
    assert.equal(missing.without(lost), [], `${where}: missing in silence`)
    const dropped = Ranges.of(Ranges.of([{ first: one.start, last: start - 1 }]).without(lost))
    for (const destination of DESTINATIONS) {
      const unnamed = dropped.without(this.knownOf(destination, model.name, partition))
      const isNamed = stateOlder || unnamed.every(({ first, last }) => one.mayVanish(first) && one.mayVanish(last))
      assert.ok(
        isNamed,
        `${where}: ${JSON.stringify(unnamed)} were dropped in silence, and ${destination} had them not`,
      )
    }
    for (const offset of one.records.keys()) {
      if (offset >= start && missing.has(offset))
        assert.ok(one.mayBeLost(offset), `${where}: ${offset} is lost, and no fault was near it`)
      if (offset < start || missing.has(offset)) one.records.delete(offset)
    }
    one.start = start
    one.exposed = null
  }

  /** What a destination has, or the ledger says it will not have. */
  private knownOf(destination: string, stream: string, partition: number): Ranges {
    const known = this.rowsOf(destination, stream, partition)
    // What it had when the records went, which may be more than it says now.
    for (const { next, acked } of this.cursors.get(`${destination}/${stream}/${partition}`)?.history ?? []) {
      known.add(0, next - 1)
      for (const range of acked) known.add(range.first, range.next - 1)
    }
    return known
  }

  /** What was in it stays; rows of one line lie apart. */
  private checkLedger(stateOlder: boolean): void {
    const lines = new Map<string, Ranges>()
    for (const row of this.running.ledger.list()) {
      const line = `${row.destination}/${row.stream}/${row.partition}`
      assert.ok(row.stream !== 'keep' || row.destination === '*', `${line} was given up, and no policy lets it go`)
      const ranges = lines.get(line) ?? new Ranges()
      for (const { first, last } of ranges.all)
        assert.ok(last < row.firstOffset || row.lastOffset < first, `rows of ${line} overlap: ${this.ledgerText()}`)
      assert.is(row.records, row.lastOffset - row.firstOffset + 1, `the records of ${line}: ${this.ledgerText()}`)
      ranges.add(row.firstOffset, row.lastOffset)
      lines.set(line, ranges)
    }
    if (!stateOlder)
      for (const [line, ranges] of this.named)
        assert.equal(ranges.without(lines.get(line) ?? new Ranges()), [], `the ledger has forgotten of ${line}`)
    this.named = lines
  }

  private async checkedFetch(
    model: ModelStream,
    log: LogStream,
    partition: PartitionId,
    from: number,
    highWatermark: number,
    limits: FetchLimits,
    wanted: string | null,
  ): Promise<void> {
    const where = `${model.name}/${partition} from ${from}`
    const one = model.partitions[partition]
    const start = log.logStartOffset(partition)
    try {
      const { batches, nextOffset } = await log.fetch(partition, from as Offset, limits)
      assert.ok(from >= start && from <= highWatermark, `${where} is out of range`)
      model.seen(partition, nextOffset)
      const lost = this.rowsOf('*', model.name, partition)
      let next = from
      for (const batch of batches) {
        for (const record of decodeRecords(batch, from as Offset)) {
          this.compare(one, `${where}: ${record.offset}`, record, batch)
          assert.ok(record.offset >= next, `${where}: in order`)
          lost.add(record.offset, record.offset)
          next = record.offset + 1
        }
      }
      const passedOver = Ranges.of([{ first: from, last: nextOffset - 1 }]).without(lost)
      for (const { first, last } of passedOver)
        for (let offset = first; offset <= last; offset++) {
          const isUnwanted = wanted !== null && one.records.get(offset)?.mqttTopic !== wanted
          assert.ok(isUnwanted, `${where}: ${first} to ${last} are passed over`)
        }
      const bytes = batches.reduce((sum, batch) => sum + batch.length, 0)
      assert.ok(bytes <= limits.maxBytes || batches.length === 1, `${where}: ${bytes} bytes for ${limits.maxBytes}`)
      assert.ok(nextOffset > from || from >= highWatermark, `${where}: nothing is found`)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      if (this.mayRefuse(error)) return
      assert.is(error.code, 'OFFSET_OUT_OF_RANGE', `${where}: ${error.message}`)
      assert.ok(from < log.logStartOffset(partition) || from > highWatermark, `${where}: ${error.message}`)
    }
  }

  private compare(
    one: ModelPartition,
    where: string,
    record: {
      readonly offset: number
      readonly value: Buffer | null
      readonly timestampMs: number
      readonly key: Buffer | null
    },
    batch: Buffer,
  ): void {
    const found = {
      value: record.value?.toString(),
      timestampMs: record.timestampMs,
      mqttTopic: record.key?.toString(),
      epoch: leaderEpochOf(batch),
    }
    assert.equal(found, one.records.get(record.offset), where)
  }

  // ---- parts

  get running(): TestLog {
    assert.ok(this.node)
    return this.node as TestLog
  }

  trace: (what: string) => void = () => {}

  private settle(): void {
    for (const [name, model] of this.streams) model.settle(this.log(name), null)
    this.settleCursors(false)
  }

  private forgetState(): void {
    this.named = new Map()
  }

  /** The last value, or the one before where the last was under way; any of them in a state database that has gone back. */
  private settleCursors(stateOlder: boolean): void {
    for (const [key, { history, open }] of this.cursors) {
      const [destination, stream, partition] = key.split('/')
      const next = this.running.cursors.get(destination, stream, Number(partition)) ?? 0
      const acked = this.running.cursors.acked(destination, stream, Number(partition))
      const found = {
        next: Number(next),
        acked: acked.map((range) => ({ first: Number(range.first), next: Number(range.next) })),
      }
      const possible = stateOlder ? [NOWHERE, ...history, ...open] : [...history.slice(-1), ...open]
      const isPossible = possible.some((one) => JSON.stringify(one) === JSON.stringify(found))
      assert.ok(isPossible, `the cursor ${key} is ${JSON.stringify(found)}; ${JSON.stringify(possible)}`)
      this.cursors.set(key, { history: [...history, found], open: [], isMoving: false })
    }
  }

  /** Follows work that goes on beside the steps. */
  private spawn(work: Promise<void>): void {
    const { life } = this
    work.catch((error) => {
      if (life === this.life && !(error instanceof NodeEnded)) this.failure ??= error
    })
  }

  private tryWriting(model: ModelStream, write: () => void): void {
    try {
      write()
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      const isFullByPolicy = model.name === 'keep' && error.code === 'STORAGE_FULL'
      assert.ok(isFullByPolicy || this.mayRefuse(error), `${model.name}: ${error.message}`)
    }
  }

  private refuseWrongSequence(
    log: LogStream,
    producer: ProducerSequence,
    partition: PartitionId,
    isKnown: boolean,
  ): void {
    if (!isKnown || this.random.chance(0.8)) return
    const wrong = { ...producer, sequence: producer.sequence + 1 + this.random.below(3) }
    try {
      log.appendFrom(wrong, partition, this.inputs(1))
      assert.unreachable('a sequence was left out')
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      assert.is(error.code, 'OUT_OF_ORDER_SEQUENCE')
    }
  }

  private mayRefuse(error: SluiceError): boolean {
    return (
      (error.code === 'STORAGE_FULL' && this.wasFull) ||
      (error.code === 'STORAGE_FAILED' && this.world.disk.failed !== null)
    )
  }

  /** Looks at what is left of a failed commit first. */
  private isWritable(model: ModelStream, log: LogStream): boolean {
    if (!model.isUncertain) return true
    if (log.refused !== null || log.stats().pendingBytes > 0) return false
    model.settle(log, null)
    return true
  }

  private newRecord(model: ModelStream, log: LogStream, partition: PartitionId, ahead = 0) {
    const offset = log.nextOffset(partition) + ahead
    assert.is(offset, model.nextOffset(partition) + ahead, `${model.name}/${partition}: the next offset`)
    const size = this.random.chance(0.1) ? this.random.below(RECORD_BYTES) : this.random.below(300)
    const record: ModelRecord = {
      value: `${model.name}/${partition}/${offset}:${++this.written}:${'x'.repeat(size)}`,
      timestampMs: this.randomTime(),
      mqttTopic: TOPICS[this.random.below(TOPICS.length)],
      epoch: model.partitions[partition].epoch,
    }
    return {
      offset,
      record,
      input: recordOf(record.value, { timestampMs: record.timestampMs, key: Buffer.from(record.mqttTopic) }),
    }
  }

  private inputs(count: number) {
    return Array.from({ length: count }, () => recordOf('again'))
  }

  /** Devices' clocks are in no order, but for a trend. */
  private randomTime(): number {
    return 1e12 + this.written * 10 + this.random.below(2000)
  }

  private anyPartition(): { model: ModelStream; log: LogStream; partition: PartitionId } {
    const { name, partitions } = STREAMS[this.random.below(STREAMS.length)]
    const partition = Math.min(this.random.below(partitions), this.random.below(partitions)) as PartitionId
    return { model: this.streams.get(name) as ModelStream, log: this.log(name), partition }
  }

  private log(name: string): LogStream {
    return this.running.log.stream(name) as LogStream
  }

  private rowsOf(destination: string, stream: string, partition: number): Ranges {
    const isHere = (row: LedgerRow): boolean =>
      row.destination === destination && row.stream === stream && row.partition === partition
    const rows = this.running.ledger.list().filter(isHere)
    return Ranges.of(rows.map(({ firstOffset, lastOffset }) => ({ first: firstOffset, last: lastOffset })))
  }

  private ledgerText(): string {
    return this.running.ledger
      .list()
      .map(
        (row) =>
          `${row.destination}/${row.stream}/${row.partition} ${row.firstOffset}-${row.lastOffset} ${row.reason} ${row.records}`,
      )
      .join('; ')
  }
}
