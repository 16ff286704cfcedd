// What a stream does on a full disk while something else happens to it, in an order that only the simulated world gives for certain: cases that the
// model has found (model.test.ts).

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PartitionId } from '../../../src/record/record.js'
import { SeededRandom } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'

// The hooks come before the log: see io-hooks.ts.
const { closeEverything } = await import('./io-hooks.js')
const { World } = await import('./world.js')
const { openLog, recordOf } = await import('../../helpers/open-log.js')
type TestLog = Awaited<ReturnType<typeof openLog>>
type World = InstanceType<typeof World>

const P0 = 0 as PartitionId
const SEGMENT_BYTES = 6 * 1024
/** Less than a flush asks for in the simulated world, more than some commits take. */
const NO_ROOM_FOR_A_FLUSH = 12_000
const retention = { maxBytes: 8 * SEGMENT_BYTES, maxAgeMs: null, onFull: 'drop_oldest' as const }

async function inWorld(body: (world: World, node: TestLog) => Promise<void>): Promise<void> {
  const world = new World(new SeededRandom(1))
  const options = { segmentBytes: SEGMENT_BYTES, ballastBytes: 0, clock: world }
  try {
    const node = await world.until(openLog(join(tempDirInMemory(), 'data'), [{ name: 's', retention }], options))
    await body(world, node)
    assert.equal(node.fatal, [])
  } finally {
    World.current = null
    await closeEverything()
  }
}

/** @returns whether the record was acknowledged. */
async function append(world: World, node: TestLog): Promise<boolean> {
  try {
    await world.until(
      node.log
        .stream('s')
        .append(P0, recordOf('x'.repeat(1000)))
        .durable(),
    )
    return true
  } catch {
    return false
  }
}

test('a segment that could not be sealed and was dropped to make room is not looked for once there is some', async () => {
  await inWorld(async (world, node) => {
    // The next segment is ready before the disk fills.
    for (let i = 0; i < 4; i++) await append(world, node)
    await world.settle()
    world.disk.fill(NO_ROOM_FOR_A_FLUSH)
    while (await append(world, node));
    const stream = node.log.stream('s')
    await world.advance(3000)
    assert.ok(stream.logStartOffset(P0) > 0, 'the oldest was dropped')
    world.disk.empty()
    await world.advance(5000)
    assert.is(stream.stats().refusal, null)
    assert.ok(await append(world, node))
    await world.until(node.close())
  })
})

/** What a first write needs before it is refused its ceiling: the segment is there by then, and was not written to. */
const ROOM_FOR_A_SEGMENT = 5000
const RETRY_MS = 1000

for (const [what, roomBytes] of [
  ['there is room again', Number.POSITIVE_INFINITY],
  ['there is room to close a database and none to open it', 20_000],
] as const)
  test(`a stream that is closed while it is read back, when ${what}, is not sealed out of what is being read`, async () => {
    for (let moment = 0; moment < 100; moment += 2)
      await inWorld(async (world, node) => {
        await world.settle()
        world.disk.fill(ROOM_FOR_A_SEGMENT + moment)
        world.disk.refuses = (path) => path.endsWith('state')
        assert.not.ok(await append(world, node))
        world.disk.refuses = () => false
        world.disk.fill(roomBytes)
        world.pass(RETRY_MS)
        await world.run(moment)
        await world.until(node.close())
      })
  })

test.run()
