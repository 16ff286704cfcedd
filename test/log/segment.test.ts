import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Segment } from '../../src/log/segment.js'
import { SEGMENT_FORMAT } from '../../src/log/segment-index.js'
import { prepareSegment } from '../../src/log/segment-writer.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

async function sealedSegment(sequence: number): Promise<Segment> {
  const directory = join(tempDirInMemory(), String(sequence).padStart(12, '0'))
  const prepared = await prepareSegment(directory, { writeBufferBytes: 1024 * 1024, laidOutBytes: 0 })
  const header = { format: SEGMENT_FORMAT, stream: 's', sequence, createdAtMs: 0, poweredOnMs: 0 } as const
  const segment = await Segment.birth(prepared, { ...header, bases: [0], epochs: [0] }, new Map())
  await segment.seal()
  return segment
}

test('a reader that names damage in a segment loses the race with retention, which removes it, and nobody is told of a failure', async () => {
  for (let round = 1; round <= 20; round++) {
    const segment = await sealedSegment(round)
    const named = segment.addGap(0, 5, 7)
    const dropped = segment.drop()
    await Promise.all([named, dropped])
    assert.is(segment.state, 'dropped')
  }
})

test('a segment is dropped once its readers have let go of it, and read by nobody who comes later', async () => {
  const segment = await sealedSegment(1)
  let letGo = (): void => {}
  const reading = segment.use(() => new Promise<void>((resolve) => (letGo = resolve)))
  // Opening it takes a moment.
  await segment.use(async () => {})
  const dropping = segment.drop()
  const late = codeOf(segment.use(async () => {}))
  assert.is(segment.state, 'sealed')
  letGo()
  await Promise.all([reading, dropping])
  assert.is(await late, 'OFFSET_OUT_OF_RANGE')
})

test.run()
