import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { SluiceError } from '../../src/base/errors.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { openLog, readAll, recordOf, type TestLog } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

const P0 = 0 as PartitionId
const records = (...values: string[]) => values.map((value) => recordOf(value))
const by = (sequence: number, epoch = 0) => ({ producerId: 7, epoch, sequence })
const values = async (node: TestLog): Promise<string[]> => (await readAll(node.log, 's')).map((r) => String(r.value))
const codeOf = (run: () => unknown): string => {
  try {
    run()
    return 'none'
  } catch (error) {
    return (error as SluiceError).code
  }
}

test('a batch that is sent again is appended once, and answered with where it went, also across a restart', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's' }])
  const stream = node.log.stream('s')
  const first = stream.appendFrom(by(0), P0, records('a', 'b'))
  const again = stream.appendFrom(by(0), P0, records('a', 'b'))
  assert.equal([first.firstOffset, first.duplicate], [0, false])
  assert.equal([again.firstOffset, again.duplicate, again.commit === first.commit], [0, true, true])
  stream.append(P0, recordOf('between'))
  await stream.appendFrom(by(2), P0, records('c')).commit.durable()
  await node.close()

  node = await openLog(directory, [{ name: 's' }])
  const after = node.log.stream('s').appendFrom(by(2), P0, records('c'))
  assert.equal([after.firstOffset, after.duplicate, after.commit.state], [3, true, 'durable'])
  await node.log.stream('s').appendFrom(by(3), P0, records('d')).commit.durable()
  assert.equal(await values(node), ['a', 'b', 'between', 'c', 'd'])
  await node.close()
})

test('a gap, an overlap and a fenced epoch are refused; a new epoch begins at 0', async () => {
  const node = await openLog(tempDir(), [{ name: 's' }])
  const stream = node.log.stream('s')
  await stream.appendFrom(by(0), P0, records('a', 'b')).commit.durable()
  assert.is(
    codeOf(() => stream.appendFrom(by(3), P0, records('x'))),
    'OUT_OF_ORDER_SEQUENCE',
  )
  assert.is(
    codeOf(() => stream.appendFrom(by(1), P0, records('x', 'y'))),
    'OUT_OF_ORDER_SEQUENCE',
  )
  assert.is(
    codeOf(() => stream.appendFrom(by(1, 1), P0, records('x'))),
    'OUT_OF_ORDER_SEQUENCE',
  )
  await stream.appendFrom(by(0, 1), P0, records('new')).commit.durable()
  assert.is(
    codeOf(() => stream.appendFrom(by(2), P0, records('old'))),
    'FENCED_EPOCH',
  )
  assert.equal(await values(node), ['a', 'b', 'new'])
  await node.close()
})

test('the stored batches of a producer carry its id, epoch and sequence; others carry none', async () => {
  const node = await openLog(tempDir(), [{ name: 's' }])
  const stream = node.log.stream('s')
  stream.append(P0, recordOf('plain'))
  stream.appendFrom(by(0), P0, records('a', 'b'))
  await stream.append(P0, recordOf('plain')).durable()
  const { batches } = await stream.fetch(P0, 0 as Offset, { maxBytes: 1 << 20 })
  const fields = batches.map((b) => [b.readBigInt64BE(43), b.readInt16BE(51), b.readInt32BE(53), b.readInt32BE(57)])
  assert.equal(fields, [
    [-1n, -1, -1, 1],
    [7n, 0, 0, 2],
    [-1n, -1, -1, 1],
  ])
  await node.close()
})

test.run()
