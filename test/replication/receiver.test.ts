import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { systemClock } from '../../src/base/clock.js'
import { Logger, silentLogger } from '../../src/base/logger.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { decodeDown, encodeUp } from '../../src/replication/node-codec.js'
import type { DownMessage, UpMessage } from '../../src/replication/node-protocol.js'
import { Origins } from '../../src/replication/origins.js'
import { Receiver } from '../../src/replication/receiver.js'
import type { Reception } from '../../src/replication/reception.js'
import { recordTip } from '../../src/replication/record-tip.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { openLog, readAll, recordOf, type TestLog } from '../helpers/open-log.js'
import { withSeed } from '../helpers/seeded-random.js'
import { tempDir } from '../helpers/temp-dir.js'

const [A, B, C, D, E] = [1, 2, 3, 4, 5].map((byte) => Buffer.alloc(16, byte))

function batch(base: number, count: number, epoch = 0): Buffer {
  const records = Array.from({ length: count }, (_, i) => recordOf(`${base + i}`))
  return encodeRecordBatch(base as Offset, records, epoch)
}

class Bench {
  readonly told: DownMessage[] = []
  readonly reception: Reception
  closed: string | null = null
  /** Origins whose records the login may not bring. */
  readonly forbidden = new Set<string>()
  private wake = (): void => {}

  constructor(
    readonly node: TestLog,
    readonly origins: Origins,
    readonly receiver: Receiver,
    readonly committed: unknown[][],
    private readonly closeState: () => Promise<void>,
  ) {
    this.reception = receiver.open({
      send: (payload) => this.tell(decodeDown(payload)),
      mayBring: (origin) => !this.forbidden.has(origin),
      admitted: () => {},
      close: (reason) => {
        this.closed = reason
      },
    })
  }

  static async open(): Promise<Bench> {
    const node = await openLog(tempDir(), [{ name: 'telemetry' }])
    const committed: unknown[][] = []
    const state = await LevelStateStore.open({ directory: tempDir(), logger: silentLogger, onFatal: () => {} })
    const origins = await Origins.open(state, systemClock, silentLogger)
    const { log, ledger } = node
    const receiver = new Receiver({
      nodeId: 'cloud',
      mirrors: log.mirrors,
      origins,
      ledger,
      commitGroup: async (...commit) => void committed.push(commit),
      maxFrameBytes: 1 << 20,
      clock: systemClock,
      logger: silentLogger,
    })
    return new Bench(node, origins, receiver, committed, () => state.close())
  }

  /** One more connection to the same node. */
  another(): Bench {
    return new Bench(this.node, this.origins, this.receiver, this.committed, async () => {})
  }

  /** Says something and waits for the answer to it. */
  async say(message: UpMessage): Promise<DownMessage> {
    const before = this.told.length
    await this.reception.receive(encodeUp(message))
    while (this.told.length === before)
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    return this.told[this.told.length - 1]
  }

  hello(current = A, next = B, nodeId = 'gw-17'): Promise<DownMessage> {
    return this.say({ type: 'hello', version: 1, nodeId, current, next })
  }

  openLane(
    end: number,
    { start = 0, cursor = 0, fresh = false, lane = 0, origin = 'gw-17', tip = null as number | null } = {},
  ): Promise<DownMessage> {
    const partitions = [{ start, cursor, end, epoch: 0, tip }]
    return this.say({ type: 'open', lane, origin, stream: 'telemetry', fresh, partitions })
  }

  frame(...batches: Buffer[]): Promise<DownMessage> {
    return this.say({ type: 'frame', lane: 0, gaps: [], batches })
  }

  async offsets(stream = 'gw-17.telemetry'): Promise<number[]> {
    return (await readAll(this.node.log, stream)).map(({ offset }) => offset)
  }

  async close(): Promise<void> {
    this.reception.end()
    await this.closeState()
    await this.node.close()
  }

  private tell(message: DownMessage): void {
    this.told.push(message)
    this.wake()
  }
}

const ack = (next: number, epoch = 0) => ({ type: 'ack', acks: [{ lane: 0, epoch, next }] })
const range = (end: number, start = 0) => Array.from({ length: end - start }, (_, i) => start + i)

async function withLane(body: (bench: Bench) => Promise<void>, end = 100): Promise<void> {
  const bench = await Bench.open()
  assert.is((await bench.hello()).type, 'welcome')
  assert.equal(await bench.openLane(end), { type: 'opened', lane: 0, positions: [{ epoch: 0, next: 0, tip: null }] })
  await body(bench)
  await bench.close()
}

test('what begins at the end of the mirror is appended, and acknowledged once durable', () =>
  withLane(async (bench) => {
    assert.equal(await bench.frame(batch(0, 5), batch(5, 5)), ack(10))
    assert.equal(await bench.frame(batch(10, 1)), ack(11))
    assert.equal(await bench.offsets(), range(11))
  }))

test('what it has already is acknowledged again and appended once', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    assert.equal(await bench.frame(batch(0, 10)), ack(10))
    assert.equal(await bench.frame(batch(0, 5), batch(5, 5), batch(10, 5)), ack(15))
    assert.equal(await bench.offsets(), range(15))
  }))

test('a gap is refused by naming what is lacking, and nothing is taken from the lane until it is opened anew', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    assert.equal(await bench.frame(batch(11, 5)), { type: 'lacks', lane: 0, next: 10 })
    assert.is(bench.reception.receive(encodeUp({ type: 'frame', lane: 0, gaps: [], batches: [batch(10, 5)] })), null)
    const opened = await bench.openLane(100)
    assert.is(opened.type === 'opened' && opened.positions?.[0].next, 10)
    assert.equal(await bench.frame(batch(10, 5)), ack(15))
    assert.equal(await bench.offsets(), range(15))
  }))

test('a batch that reaches across the end is not taken: only the sender cuts', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    assert.equal(await bench.frame(batch(5, 10)), { type: 'lacks', lane: 0, next: 10 })
  }))

test('a gap that is told is entered in the ledger and passed over, also when nothing follows it yet', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    const gap = { first: 10, last: 19, reason: 'retention' }
    assert.equal(await bench.say({ type: 'frame', lane: 0, gaps: [gap], batches: [] }), ack(20))
    const opened = await bench.openLane(100)
    assert.is(opened.type === 'opened' && opened.positions?.[0].next, 20)
    assert.equal(await bench.frame(batch(20, 5)), ack(25))
    const [row] = bench.node.ledger.list()
    assert.equal(
      [row.destination, row.stream, row.firstOffset, row.lastOffset, row.reason],
      ['*', 'gw-17.telemetry', 10, 19, 'retention'],
    )
    assert.equal(await bench.offsets(), [...range(10), ...range(25, 20)])
  }))

test('a gap that is told of offsets it has does not enter the ledger', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    const gap = { first: 5, last: 19, reason: 'retention' }
    await bench.say({ type: 'frame', lane: 0, gaps: [gap], batches: [batch(20, 1)] })
    assert.equal(
      bench.node.ledger.list().map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset]),
      [[10, 19]],
    )
  }))

test('an overlap under a later epoch is no duplicate: the connection ends, the next one gets a new mirror, an alarm is raised', async () => {
  const bench = await Bench.open()
  await bench.hello()
  await bench.openLane(100)
  await bench.frame(batch(0, 10))
  const refused = await bench.frame(batch(5, 5, 1))
  assert.is(refused.type === 'refused' && refused.code, 'FENCED_EPOCH')
  await bench.close()
})

test('an origin that ends before its mirror does has other records: a new mirror is begun where it starts', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    const opened = await bench.openLane(6, { start: 2 })
    assert.is(opened.type === 'opened' && opened.positions?.[0].next, 2)
    assert.equal(await bench.frame(batch(2, 4, 1)), ack(6, 1))
    assert.equal(await bench.offsets(), range(6, 2))
    assert.equal(await bench.offsets('gw-17.telemetry.1'), range(10))
    assert.match(bench.origins.statusOf('gw-17').alarm ?? '', /new mirror/)
  }))

test('a node in between that is merely behind does not begin a new mirror, one that has other records does', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    const mirror = bench.node.log.stream('gw-17.telemetry')
    const tip = (await recordTip(mirror, 0 as PartitionId, 5)) ?? 0
    const site = bench.another()
    await site.hello(A, B, 'site')
    const behind = await site.openLane(6, { tip })
    assert.is(behind.type === 'opened' && behind.positions?.[0].next, 10)
    const unknown = await site.openLane(0)
    assert.is(unknown.type === 'opened' && unknown.positions?.[0].next, 10)
    assert.is(bench.node.log.stream('gw-17.telemetry'), mirror)
    const other = await site.openLane(6, { tip: tip ^ 1 })
    assert.is(other.type === 'opened' && other.positions?.[0].next, 0)
    assert.equal(await bench.offsets('gw-17.telemetry.1'), range(10))
    assert.match(bench.origins.statusOf('site').alarm ?? '', /new mirror/)
  }))

test('what the ledger says and groups have committed of a mirror that was replaced is not said of the new one, and keeps the old name', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    await bench.node.groupOffsets.commit('app', [{ stream: 'gw-17.telemetry', partition: 0, offset: 7 as Offset }])
    const gap = { first: 10, last: 99, reason: 'retention' }
    await bench.say({ type: 'frame', lane: 0, gaps: [gap], batches: [batch(100, 1)] })
    await bench.openLane(50, { fresh: true })
    assert.equal(await bench.frame(batch(0, 20)), ack(20))
    assert.equal(
      bench.node.ledger.list().map(({ stream, firstOffset, lastOffset }) => [stream, firstOffset, lastOffset]),
      [['gw-17.telemetry.1', 10, 99]],
    )
    assert.equal(
      bench.node.groupOffsets.ofGroup('app').map(({ stream, offset }) => [stream, offset]),
      [['gw-17.telemetry.1', 7]],
    )
  }))

test('of two connections of one node the later one counts: nothing more is taken on the earlier', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    // A copy that was made before the welcome was written down is as good as the original, to begin with.
    const copy = bench.another()
    assert.is((await copy.hello(B, C)).type, 'welcome')
    assert.match(bench.closed ?? '', /connected anew/)
    assert.is(bench.reception.receive(encodeUp({ type: 'frame', lane: 0, gaps: [], batches: [batch(10, 5)] })), null)
    await copy.openLane(100)
    assert.equal(await copy.frame(batch(10, 2)), ack(12))
    // And then it is the original that is refused.
    const refused = await bench.another().hello(B, D)
    assert.is(refused.type === 'refused' && refused.code, 'FENCED_EPOCH')
    assert.ok(bench.origins.statusOf('gw-17').connected)
    copy.reception.end()
    assert.not(bench.origins.statusOf('gw-17').connected)
  }))

test('gaps that contradict themselves, or what follows them, cost the connection and enter nothing', async () => {
  const frames: readonly (readonly [readonly [number, number][], Buffer[]])[] = [
    [[[20, 10]], []],
    [
      [
        [10, 19],
        [15, 25],
      ],
      [],
    ],
    [[[10, 19]], [batch(15, 10)]],
    [[[0, 2 ** 53 - 1]], []],
    [[], [batch(10, 5), batch(16, 1)]],
    [[], [batch(2 ** 53 - 2, 5)]],
  ]
  for (const [gaps, batches] of frames) {
    await withLane(async (bench) => {
      await bench.frame(batch(0, 10))
      const told = gaps.map(([first, last]) => ({ first, last, reason: 'retention' }))
      const answer = await bench.say({ type: 'frame', lane: 0, gaps: told, batches })
      assert.is(answer.type === 'refused' && answer.code, 'CORRUPT_MESSAGE')
      assert.equal(bench.node.ledger.list(), [])
      assert.equal(await bench.offsets(), range(10))
    })
  }
})

test('a committed offset is taken over as far as the mirror goes, under a sound name only', () =>
  withLane(async (bench) => {
    await bench.frame(batch(0, 10))
    const position = { group: 'app', offset: 500, metadata: 'm' }
    await bench.reception.receive(encodeUp({ type: 'groups', lane: 0, groups: [position] }))
    assert.equal(bench.committed, [['app', 'gw-17.telemetry', 0, 10, 'm']])
    const refused = await bench.say({ type: 'groups', lane: 0, groups: [{ ...position, group: 'a/b' }] })
    assert.is(refused.type === 'refused' && refused.code, 'CORRUPT_MESSAGE')
  }))

test('whatever a node sends costs at most its connection, and the mirror stays a contiguous beginning', () =>
  withSeed(async (random) => {
    const bench = await Bench.open()
    const current = { epoch: A }
    let [end, taken, incarnations] = [0, 0, 1]
    for (let round = 0; round < 150; round++) {
      const link = bench.another()
      const next = Buffer.from(Array.from({ length: 16 }, () => random.below(256)))
      await link.hello(current.epoch, next)
      current.epoch = next
      await link.openLane(1000)
      const sent = [batch(end, 1 + random.below(5)), batch(end + random.below(3), 2), batch(random.below(end + 1), 3)]
      for (const one of sent) {
        const message = encodeUp({ type: 'frame', lane: 0, gaps: [], batches: [one] })
        for (let flips = random.below(4); flips > 0; flips--)
          message[random.below(message.length)] ^= 1 << random.below(8)
        const cut = random.below(5) === 0 ? message.subarray(0, random.below(message.length)) : message
        await link.reception.receive(cut)
      }
      await link.reception.receive(Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256))))
      link.reception.end()
      const offsets = await bench.offsets()
      assert.equal(offsets, range(offsets.length))
      // The epoch of a batch lies outside its checksum: a flipped bit there makes another life of it.
      const { incarnation } = bench.node.log.mirrors.find('gw-17', 'telemetry') as { incarnation: number }
      assert.ok(incarnation > incarnations || offsets.length >= end)
      incarnations = incarnation
      taken += Math.max(0, offsets.length - end)
      end = offsets.length
    }
    assert.ok(taken > 50, 'what was sound was taken')
    assert.equal(bench.node.fatal, [])
    await bench.close()
  }))

test('a mirror that is new begins where the sender is, so that what is owed before is told as a gap', async () => {
  const bench = await Bench.open()
  await bench.hello()
  const opened = await bench.openLane(900, { start: 500, cursor: 100 })
  assert.is(opened.type === 'opened' && opened.positions?.[0].next, 100)
  const gap = { first: 100, last: 499, reason: 'retention' }
  assert.equal(await bench.say({ type: 'frame', lane: 0, gaps: [gap], batches: [batch(500, 1)] }), ack(501))
  await bench.close()
})

test('its own stream that comes back round is not wanted', () =>
  withLane(async (bench) => {
    assert.equal(await bench.openLane(10, { origin: 'cloud', lane: 7 }), { type: 'opened', lane: 7, positions: null })
  }))

test('nothing is taken before hello, for a lane that is not open, or after a refusal', async () => {
  const first = await Bench.open()
  assert.is((await first.openLane(1)).type, 'refused')
  assert.ok(first.closed !== null)
  assert.is(first.reception.receive(encodeUp({ type: 'frame', lane: 0, gaps: [], batches: [] })), null)
  await first.close()
  const second = await Bench.open()
  await second.hello()
  const refused = await second.frame(batch(0, 1))
  assert.is(refused.type === 'refused' && refused.code, 'INVALID_REQUEST')
  await second.close()
})

test('a damaged batch ends the connection, and nothing of its frame is stored', () =>
  withLane(async (bench) => {
    const damaged = batch(0, 5)
    damaged[damaged.length - 1] ^= 1
    const refused = await bench.frame(damaged)
    assert.is(refused.type === 'refused' && refused.code, 'CORRUPT_MESSAGE')
    assert.equal(await bench.offsets(), [])
  }))

test('a node with the id of this one, and one of another version, are refused', async () => {
  const same = await Bench.open()
  assert.is((await same.hello(A, B, 'cloud')).type, 'refused')
  await same.close()
  const newer = await Bench.open()
  const hello = { type: 'hello', version: 2, nodeId: 'gw', current: A, next: B } as const
  assert.is((await newer.say(hello)).type, 'refused')
  await newer.close()
})

test('of two lives of a node only the one that was there goes on, until an operator accepts the other', async () => {
  const state = await LevelStateStore.open({ directory: tempDir(), logger: silentLogger, onFatal: () => {} })
  const clock = new FakeClock()
  const lines: string[] = []
  const origins = await Origins.open(state, clock, new Logger('test', 'info', (line) => lines.push(line)))
  const hello = (current: Buffer, next: Buffer) => ({ type: 'hello', version: 1, nodeId: 'gw', current, next }) as const
  await origins.admit(hello(A, B))
  // Its welcome was lost: it says the same again.
  await origins.admit(hello(A, B))
  await origins.admit(hello(B, C))
  const refused = async (current: Buffer, next: Buffer) => {
    try {
      await origins.admit(hello(current, next))
    } catch (error) {
      return (error as { code?: string }).code
    }
    return null
  }
  assert.is(await refused(A, D), 'FENCED_EPOCH')
  assert.is(await refused(D, A), 'FENCED_EPOCH')
  assert.match(origins.statusOf('gw').alarm ?? '', /refused/)
  const said = () => lines.filter((line) => line.includes('ERROR') && line.includes('refused')).length
  assert.is(said(), 1, 'once, however often it comes')
  // The one that goes on comes back: the other has taken over its MQTT session, and will again.
  origins.alarm('gw', 'a new mirror was begun')
  await origins.admit(hello(C, E))
  await clock.advance(10 * 60_000)
  assert.match(origins.statusOf('gw').alarm ?? '', /refused.*; a new mirror/, 'none takes the place of another')
  await clock.advance(10 * 60_000)
  assert.is(origins.statusOf('gw').alarm, 'a new mirror was begun', 'the other has not come for long')
  assert.is(await refused(D, A), 'FENCED_EPOCH')
  assert.is(said(), 2, 'and again after a while')
  await origins.accept('gw')
  assert.is(origins.statusOf('gw').alarm, null)
  const again = await Origins.open(state, clock, silentLogger)
  await again.admit(hello(A, D))
  await state.close()
})

test('a login that may not bring the records of a node is refused at hello, at open, and when that is taken from it', async () => {
  const bench = await Bench.open()
  const [second, third, fourth] = [bench.another(), bench.another(), bench.another()]
  try {
    bench.forbidden.add('gw-17')
    const refused = await bench.hello()
    assert.is(refused.type === 'refused' && refused.code, 'FORBIDDEN')
    assert.match(bench.closed ?? '', /may not bring records of gw-17.*\$sluice\/origin\/gw-17/)

    second.forbidden.add('gw-18')
    assert.is((await second.hello()).type, 'welcome')
    const forwarded = await second.openLane(0, { origin: 'gw-18' })
    assert.is(forwarded.type === 'refused' && forwarded.code, 'FORBIDDEN')
    assert.is(bench.node.log.mirrors.find('gw-18', 'telemetry'), undefined, 'no mirror was made')

    assert.is((await third.hello(B, C)).type, 'welcome')
    third.reception.accessChanged()
    assert.is(third.closed, null)
    third.forbidden.add('gw-17')
    third.reception.accessChanged()
    assert.match(third.closed ?? '', /may not bring records of gw-17/)

    assert.is((await fourth.hello(C, D)).type, 'welcome')
    assert.is((await fourth.openLane(0)).type, 'opened')
  } finally {
    await bench.close()
  }
})

test.run()
