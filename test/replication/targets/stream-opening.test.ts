import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../../src/base/errors.js'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import type { LanePosition, Open } from '../../../src/replication/node-protocol.js'
import { recordTip } from '../../../src/replication/record-tip.js'
import { StreamOpening } from '../../../src/replication/targets/stream-opening.js'
import { MemoryStream } from '../../helpers/memory-streams.js'
import { codeOf } from '../../helpers/rejection.js'

const P0 = 0 as PartitionId
const ORIGIN = { origin: 'gw-17', stream: 'telemetry', via: null }

/** Some turns of the event loop, in which anything that is still to come would. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

class Opening {
  readonly said: Open[] = []
  readonly positions: (readonly [number, number | null])[] = []
  readonly problems: SluiceError[] = []
  readonly diverged: Set<string>
  over = false
  private readonly opening: StreamOpening

  constructor(
    readonly stream: MemoryStream,
    diverged: readonly string[] = [],
    cursor = 0,
  ) {
    this.diverged = new Set(diverged)
    const lanes = Array.from({ length: stream.partitions }, (_, partition) => ({
      ...{ stream: stream.name, partition: partition as PartitionId, reader: stream, cursor: cursor as Offset },
    }))
    this.opening = new StreamOpening({
      ...{ lane: 5, lanes, origin: ORIGIN, diverged: this.diverged },
      say: (message) => this.said.push(message),
      onPosition: (index, next) => this.positions.push([index, next]),
      onProblem: (error) => this.problems.push(error),
      isOver: () => this.over,
    })
  }

  async open(): Promise<Opening> {
    await this.opening.open()
    return this
  }

  /** The upstream has answered. */
  opened(...positions: (readonly [next: number, tip: number | null])[]): Promise<boolean> {
    const answer = positions.map(([next, tip]): LanePosition => ({ epoch: 0, next, tip }))
    return this.opening.opened({ type: 'opened', lane: 5, positions: answer })
  }

  notWanted(): Promise<boolean> {
    return this.opening.opened({ type: 'opened', lane: 5, positions: null })
  }
}

async function stored(values: readonly string[], partitions = 1): Promise<{ stream: MemoryStream; tips: number[] }> {
  const stream = new MemoryStream('telemetry', partitions)
  for (const value of values) for (let partition = 0; partition < partitions; partition++) stream.add(partition, value)
  const tips = await Promise.all(values.map((_, offset) => recordTip(stream, P0, offset)))
  return { stream, tips: tips.map((tip) => tip ?? 0) }
}

test('a stream is offered as it is stored, with the fingerprint of its last record', async () => {
  const { stream, tips } = await stored(['a', 'b', 'c'])
  stream.dropBelow(0, 1)
  const { said } = await new Opening(stream, [], 2).open()
  const partitions = [{ start: 1, cursor: 2, end: 3, epoch: 0, tip: tips[2] }]
  assert.equal(said, [{ type: 'open', lane: 5, origin: 'gw-17', stream: 'telemetry', fresh: false, partitions }])
})

test('a cursor beyond the end of the log is not offered as one', async () => {
  const { stream } = await stored(['a'])
  assert.is((await new Opening(stream, [], 900).open()).said[0].partitions[0].cursor, 1)
})

test('where the upstream ends on a record that is stored here, the partition goes on', async () => {
  const { stream, tips } = await stored(['a', 'b', 'c'], 2)
  const opening = await new Opening(stream).open()
  assert.ok(await opening.opened([2, tips[1]], [0, null]))
  assert.equal(opening.positions, [
    [0, 2],
    [1, 0],
  ])
})

test('where it ends on another record, all of the stream is opened once more, as fresh, and its answer is taken as it is', async () => {
  const { stream, tips } = await stored(['a', 'b', 'c'], 2)
  const opening = await new Opening(stream).open()
  assert.not(await opening.opened([3, tips[2]], [2, tips[1] ^ 1]))
  assert.equal(opening.positions, [])
  assert.equal(
    opening.said.map(({ fresh }) => fresh),
    [false, true],
  )
  assert.ok(await opening.opened([0, null], [0, 12345]))
  assert.equal(opening.positions, [
    [0, 0],
    [1, 0],
  ])
})

test('what retention has taken here cannot be compared and is taken for the same', async () => {
  const { stream, tips } = await stored(['a', 'b', 'c'])
  stream.dropBelow(0, 3)
  const opening = await new Opening(stream).open()
  assert.ok(await opening.opened([2, tips[1] ^ 1]))
  assert.equal(opening.positions, [[0, 2]])
})

test('an upstream that is further is waited for, and then compared: it goes on where the records are the same', async () => {
  const { stream } = await stored(['a'])
  const { tips } = await stored(['a', 'b', 'c'])
  const opening = await new Opening(stream).open()
  assert.ok(await opening.opened([3, tips[2]]))
  stream.add(0, 'b')
  await settle()
  assert.equal(opening.positions, [])
  stream.add(0, 'c')
  await settle()
  assert.equal([opening.positions, opening.problems, [...opening.diverged]], [[[0, 3]], [], []])
  assert.is(stream.listenerCount, 0)
})

test('an upstream that was further with other records is found out, and the next connection begins a new mirror', async () => {
  const { stream } = await stored(['a'])
  const { tips } = await stored(['a', 'b', 'other'])
  const opening = await new Opening(stream).open()
  assert.ok(await opening.opened([3, tips[2]]))
  stream.add(0, 'b', 'c')
  await settle()
  assert.equal(opening.positions, [])
  assert.match(opening.problems[0].message, /another telemetry/)
  assert.equal([...opening.diverged], ['telemetry'])
  const next = await new Opening(stream, [...opening.diverged]).open()
  assert.ok(next.said[0].fresh)
  assert.equal([...next.diverged], [], 'said once')
})

test('while one partition waits for the upstream, the others go on', async () => {
  const { stream } = await stored(['a', 'b'], 2)
  const opening = await new Opening(stream).open()
  assert.ok(await opening.opened([7, 99], [1, null]))
  assert.equal(opening.positions, [[1, 1]])
})

test('after the end of the connection nothing is said any more', async () => {
  const { stream, tips } = await stored(['a'])
  const opening = await new Opening(stream).open()
  assert.ok(await opening.opened([2, 1]))
  opening.over = true
  stream.add(0, 'b')
  await settle()
  assert.equal([opening.positions, opening.problems], [[], []])
  const late = new Opening(stream)
  late.over = true
  await late.open()
  assert.ok(await late.opened([1, tips[0] ^ 1]))
  assert.equal([late.said, late.positions], [[], []])
})

test('a stream that the upstream does not want is not sent, and an answer for other partitions is refused', async () => {
  const { stream } = await stored(['a'], 2)
  const opening = await new Opening(stream).open()
  assert.ok(await opening.notWanted())
  assert.equal(opening.positions, [
    [0, null],
    [1, null],
  ])
  const other = await new Opening(stream).open()
  assert.is(await codeOf(other.opened([0, null])), 'CORRUPT_MESSAGE')
})

test.run()
