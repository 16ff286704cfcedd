import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { messageOf } from '../../src/base/errors.js'
import { Segment } from '../../src/log/segment.js'
import { SEGMENT_FORMAT } from '../../src/log/segment-index.js'
import { prepareSegment } from '../../src/log/segment-writer.js'
import { LoopDisk } from '../helpers/loop-disk.js'
import { codeOf } from '../helpers/rejection.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

const made = LoopDisk.make(32)
const whereDisksCanBeMade = unlessSkipped(test, typeof made === 'string' ? made : null)
const disk = made as LoopDisk

async function newSegment(sequence: number, folder = tempDirInMemory()): Promise<Segment> {
  const directory = join(folder, String(sequence).padStart(12, '0'))
  const prepared = await prepareSegment(directory, { writeBufferBytes: 1024 * 1024, laidOutBytes: 0 })
  const header = { format: SEGMENT_FORMAT, stream: 's', sequence, createdAtMs: 0, poweredOnMs: 0 } as const
  return Segment.birth(prepared, { ...header, bases: [0], epochs: [0] }, new Map())
}

async function sealedSegment(sequence: number): Promise<Segment> {
  const segment = await newSegment(sequence)
  await segment.seal()
  return segment
}

async function entriesOf(segment: Segment): Promise<[string, string][]> {
  return segment.use(async (source) => {
    const found: [string, string][] = []
    for await (const entries of source.entries(Buffer.from('a'), Buffer.from('z'), () => 100))
      for (const [key, value] of entries) found.push([key.toString(), value.toString()])
    return found
  })
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

whereDisksCanBeMade(
  'a segment that is not sealed, closed on a disk turned read-only, is read all the same',
  async () => {
    const segment = await newSegment(1, disk.path)
    const put = (key: string, value: string) => ({
      type: 'put' as const,
      key: Buffer.from(key),
      value: Buffer.from(value),
    })
    const expected = Array.from({ length: 300 }, (_, i): [string, string] => [`k${1000 + i}`, `value ${i}`])
    for (const [key, value] of [...expected].reverse()) await segment.write([put(key, value)], () => {})
    await segment.write([put('k1000', 'value 0, the later one'), { type: 'del', key: Buffer.from('k1001') }], () => {})
    const left: [string, string][] = [['k1000', 'value 0, the later one'], ...expected.slice(2)]
    disk.makeReadOnly()
    const refused = await segment.write([put('k2000', 'refused')], () => {}).catch((error) => error)
    assert.match(messageOf(refused), /Read-only file system/)
    // Its witness could not be written, which is remembered; what is open is closed all the same.
    const close = async () => assert.is(await codeOf(segment.close()), 'STORAGE_READ_ONLY')
    await close()
    assert.equal(await entriesOf(segment), left)
    assert.is((await segment.use((source) => source.get(Buffer.from('k1299'))))?.toString(), 'value 299')
    await close()
    disk.powerOn()
    assert.equal(await entriesOf(segment), left, 'and once there is a writable disk again')
    await close()
  },
)

test.after(() => {
  if (typeof made !== 'string') disk.remove()
})
test.run()
