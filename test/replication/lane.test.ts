import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import type { Fetched, FetchLimits, StreamReader } from '../../src/log/types.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { Lane } from '../../src/replication/lane.js'
import type { Shipment } from '../../src/replication/targets/target.js'
import type { LedgerEntry, LedgerRow } from '../../src/state/ledger.js'
import { FakeClock } from '../helpers/fake-clock.js'

/** A log of one partition whose batches are single bytes naming how many records they hold; `gap` leaves offsets out. */
class FakeStream implements StreamReader {
  readonly name = 'telemetry'
  readonly partitions = 1
  start = 0
  end = 0
  failure: SluiceError | null = null
  fetches = 0
  private readonly batches: { base: number; count: number }[] = []
  private readonly listeners = new Set<() => void>()

  add(count: number): void {
    this.batches.push({ base: this.end, count })
    this.end += count
  }
  gap(offsets: number): void {
    this.end += offsets
  }
  dropBelow(offset: number): void {
    while (this.batches.length > 0 && this.batches[0].base < offset) this.batches.shift()
    this.start = offset
    for (const listener of this.listeners) listener()
  }
  logStartOffset(): Offset {
    return this.start as Offset
  }
  highWatermark(): Offset {
    return this.end as Offset
  }
  async fetch(_partition: PartitionId, from: Offset, { maxBytes }: FetchLimits): Promise<Fetched> {
    this.fetches += 1
    if (this.failure !== null) throw this.failure
    if (from < this.start || from > this.end) throw new SluiceError('OFFSET_OUT_OF_RANGE', 'out of range')
    const found = this.batches.filter(({ base, count }) => base + count > from).slice(0, maxBytes)
    const last = found.at(-1)
    const nextOffset = (
      last === undefined || last === this.batches.at(-1) ? this.end : last.base + last.count
    ) as Offset
    return {
      batches: found.map(({ base, count }) => Buffer.from(JSON.stringify({ base, count }))),
      nextOffset,
      logStartOffset: this.start as Offset,
      highWatermark: this.end as Offset,
    }
  }
  async offsetForTime(): Promise<Offset> {
    return this.end as Offset
  }
  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}

function pack(batch: Buffer, from: Offset, rejects: (offset: number) => boolean): Shipment[] {
  const { base, count } = JSON.parse(batch.toString()) as { base: number; count: number }
  return Array.from({ length: count }, (_, i) => base + i)
    .filter((offset) => offset >= from)
    .map((offset) => ({
      offset: offset as Offset,
      nextOffset: (offset + 1) as Offset,
      records: 1,
      messages: 1,
      bytes: 10,
      timestampMs: offset * 1000,
      ...(rejects(offset) && { rejected: 'has no MQTT topic' }),
    }))
}

interface Bench {
  readonly stream: FakeStream
  readonly clock: FakeClock
  readonly lane: Lane<Shipment>
  readonly entries: LedgerEntry[]
  ledgerFails: boolean
  rejects: (offset: number) => boolean
  /** Sends and acknowledges whatever there is, until nothing comes any more. */
  deliver(): Promise<number[]>
}

function benchOf(stream: FakeStream, cursor: number, known: LedgerEntry[] = []): Bench {
  const clock = new FakeClock()
  const entries: LedgerEntry[] = [...known]
  const bench = { stream, clock, entries, ledgerFails: false, rejects: () => false } as unknown as Bench
  const lane = new Lane<Shipment>({
    upstream: 'cloud',
    stream,
    partition: 0 as PartitionId,
    cursor: cursor as Offset,
    maxInFlight: 4,
    fetchBytes: 3,
    target: {
      packBatches: 1,
      messagesAtOnce: 1,
      tellsPositions: false,
      pack: (_source, [batch], from) => pack(batch, from, bench.rejects),
    },
    ledger: {
      async add(added) {
        if (bench.ledgerFails) throw new SluiceError('STORAGE_FULL', 'no room')
        entries.push(...added)
      },
      list: () => entries as LedgerRow[],
    },
    clock,
    logger: silentLogger,
    onReady: () => {},
    onPassed: () => {},
  })
  const deliver = async (): Promise<number[]> => {
    const delivered: number[] = []
    for (let idle = 0; idle < 10; idle++) {
      for (let shipment = lane.next(); shipment !== undefined; shipment = lane.next()) {
        delivered.push(shipment.offset)
        lane.acks.acked(lane.sent(shipment))
        idle = 0
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    return delivered
  }
  return Object.assign(bench, { lane, deliver })
}

const rowsOf = (entries: readonly LedgerEntry[]): string[] =>
  entries.map((e) => `${e.destination} ${e.firstOffset}-${e.lastOffset} ${e.reason}`)
const upTo = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

test('a lane delivers everything from its cursor on, in order, and what comes later', async () => {
  const stream = new FakeStream()
  for (let i = 0; i < 10; i++) stream.add(5)
  const { lane, deliver } = benchOf(stream, 7)
  lane.open()
  assert.equal(await deliver(), upTo(7, 50))
  stream.add(3)
  lane.wake()
  assert.equal(await deliver(), [50, 51, 52])
  assert.is(lane.cursor, 53)
  assert.is(lane.backlog, 0)
  assert.is(lane.oldestTimestampMs, null)
})

test('after a lost connection everything from the first unacknowledged record is given again, in order', async () => {
  const stream = new FakeStream()
  stream.add(10)
  const { lane, deliver } = benchOf(stream, 0)
  lane.open()
  await new Promise((resolve) => setImmediate(resolve))
  const [first, second] = [lane.next()!, null]
  assert.is(second, null)
  const flights = [lane.sent(first)]
  for (let i = 0; i < 3; i++) flights.push(lane.sent(lane.next()!))
  assert.is(lane.next(), undefined, 'the window is full')
  lane.acks.acked(flights[0])
  lane.acks.acked(flights[2])
  assert.is(lane.oldestTimestampMs, 1000)
  lane.restart()
  assert.equal(await deliver(), upTo(1, 10))
})

test('what retention took before it was sent is entered in the ledger, and the rest is delivered', async () => {
  const stream = new FakeStream()
  for (let i = 0; i < 4; i++) stream.add(5)
  stream.dropBelow(10)
  const { lane, deliver, entries } = benchOf(stream, 3)
  lane.open()
  assert.equal(await deliver(), upTo(10, 20))
  assert.equal(rowsOf(entries), ['cloud 3-9 retention'])
  assert.is(lane.cursor, 20)
})

test('what retention has entered itself is not entered twice', async () => {
  const stream = new FakeStream()
  for (let i = 0; i < 4; i++) stream.add(5)
  stream.dropBelow(10)
  const known = { stream: 'telemetry', partition: 0, reason: 'retention', atMs: 0 } as const
  const { lane, deliver, entries } = benchOf(stream, 3, [
    { ...known, destination: 'cloud', firstOffset: 3 as Offset, lastOffset: 6 as Offset },
    { ...known, destination: '*', firstOffset: 9 as Offset, lastOffset: 12 as Offset },
    { ...known, destination: 'other', firstOffset: 0 as Offset, lastOffset: 19 as Offset },
  ])
  lane.open()
  await deliver()
  assert.equal(rowsOf(entries.slice(3)), ['cloud 7-8 retention'])
})

test('retention that overtakes what was read ahead keeps it from being sent', async () => {
  const stream = new FakeStream()
  for (let i = 0; i < 4; i++) stream.add(5)
  const { lane, deliver, entries } = benchOf(stream, 0)
  lane.open()
  await new Promise((resolve) => setImmediate(resolve))
  const flight = lane.sent(lane.next()!)
  stream.dropBelow(10)
  assert.is(lane.next(), undefined)
  assert.equal(await deliver(), [10, 11], 'no more than the window holds')
  assert.equal(rowsOf(entries), ['cloud 1-9 retention'])
  assert.is(lane.cursor, 0, 'the record under way is still waited for')
  lane.acks.acked(flight)
  assert.is(lane.cursor, 12)
  assert.equal(await deliver(), upTo(12, 20))
})

test('records the destination can never take are entered in the ledger before they are passed over', async () => {
  const stream = new FakeStream()
  stream.add(10)
  const bench = benchOf(stream, 0)
  bench.rejects = (offset) => offset >= 3 && offset < 6
  bench.ledgerFails = true
  bench.lane.open()
  assert.equal(await bench.deliver(), [0, 1, 2])
  assert.is(bench.lane.cursor, 3)
  assert.match(bench.lane.problem ?? '', /ledger/)
  bench.ledgerFails = false
  await bench.clock.advance(10_000)
  assert.equal(await bench.deliver(), [6, 7, 8, 9])
  assert.equal(rowsOf(bench.entries), ['cloud 3-5 rejected'])
  assert.is(bench.lane.rejected, 3)
  assert.is(bench.lane.problem, null)
})

test('a connection lost while the ledger is written neither enters twice nor skips', async () => {
  const stream = new FakeStream()
  stream.add(5)
  const bench = benchOf(stream, 0)
  bench.rejects = (offset) => offset === 2
  bench.ledgerFails = true
  bench.lane.open()
  await bench.deliver()
  bench.lane.restart()
  assert.equal(await bench.deliver(), [], 'nothing before the ledger has it')
  bench.ledgerFails = false
  await bench.clock.advance(10_000)
  assert.equal(await bench.deliver(), [3, 4])
  assert.equal(rowsOf(bench.entries), ['cloud 2-2 rejected'])
})

test('offsets that damage has taken out of the log are passed, also at its end, and are in the ledger', async () => {
  const stream = new FakeStream()
  stream.add(3)
  stream.gap(4)
  stream.add(3)
  stream.gap(2)
  const known = { stream: 'telemetry', partition: 0, reason: 'corruption', atMs: 0, destination: '*' } as const
  const { lane, deliver, entries } = benchOf(stream, 0, [
    { ...known, firstOffset: 3 as Offset, lastOffset: 6 as Offset },
  ])
  lane.open()
  assert.equal(await deliver(), [0, 1, 2, 7, 8, 9])
  assert.is(lane.cursor, 12)
  assert.is(lane.backlog, 0)
  assert.equal(rowsOf(entries), ['* 3-6 corruption', 'cloud 10-11 corruption'])
})

test('a cursor beyond the end of the log stops the lane until it is rewound, also when the log grows past it', async () => {
  const stream = new FakeStream()
  stream.add(5)
  const { lane, deliver, clock } = benchOf(stream, 8)
  lane.open()
  assert.match(lane.problem ?? '', /beyond the end.*rewind/)
  stream.add(10)
  lane.wake()
  await clock.advance(60_000)
  assert.equal(await deliver(), [])
  lane.restart(0 as Offset)
  assert.is(lane.problem, null)
  assert.equal(await deliver(), upTo(0, 15))
})

test('a log that cannot be read is reported, and tried again later', async () => {
  const stream = new FakeStream()
  stream.add(5)
  stream.failure = new SluiceError('CORRUPT_MESSAGE', 'the batch at offset 0 fails its CRC-32C')
  const { lane, deliver, clock } = benchOf(stream, 0)
  lane.open()
  assert.equal(await deliver(), [])
  assert.match(lane.problem ?? '', /CRC/)
  const { fetches } = stream
  lane.wake()
  assert.is(stream.fetches, fetches, 'does not hammer')
  stream.failure = null
  await clock.advance(10_000)
  assert.equal(await deliver(), upTo(0, 5))
})

test('reading ahead holds no more than one fetch and a batch', async () => {
  const stream = new FakeStream()
  for (let i = 0; i < 100; i++) stream.add(1)
  const { lane } = benchOf(stream, 0)
  lane.open()
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  assert.is(stream.fetches, 1)
})

test.run()
