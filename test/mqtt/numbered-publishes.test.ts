import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { NumberedPublishes } from '../../src/mqtt/numbered-publishes.js'
import type { PartitionId } from '../../src/record/record.js'
import { openLog, readAll, recordOf } from '../helpers/open-log.js'
import { tempDir } from '../helpers/temp-dir.js'

const by = (sequence: number, id = 'pump', epoch = 1) => ({ id, epoch, sequence })

test('numbers rise over partitions with gaps, and each is stored once however late it comes again', async () => {
  const directory = tempDir()
  let node = await openLog(directory, [{ name: 's', partitions: 2 }])
  const send = (numbered: NumberedPublishes, sequence: number) => {
    const stream = node.log.stream('s')
    return numbered.publish(by(sequence), stream, 0, () =>
      stream.append((sequence % 2) as PartitionId, recordOf(String(sequence))),
    )
  }
  const before = new NumberedPublishes()
  for (let sequence = 1; sequence <= 40; sequence += 3) await send(before, sequence).commit.durable()
  await node.close()
  node = await openLog(directory, [{ name: 's', partitions: 2 }])
  const after = new NumberedPublishes()
  for (const sequence of [1, 22, 40]) assert.is(send(after, sequence).duplicate, true)
  assert.is(send(after, 41).duplicate, false)
  await send(after, 41).commit.durable()
  assert.is((await readAll(node.log, 's', 0)).length + (await readAll(node.log, 's', 1)).length, 15)
  await node.close()
})

test('a message that the log refuses leaves no trace: the same number is taken later', async () => {
  const node = await openLog(tempDir(), [{ name: 's' }])
  const stream = node.log.stream('s')
  const numbered = new NumberedPublishes()
  const append = () => stream.append(0 as PartitionId, recordOf('x'))
  await numbered.publish(by(1), stream, 0, append).commit.durable()
  assert.throws(() =>
    numbered.publish(by(2), stream, 0, () => {
      throw new SluiceError('STORAGE_FULL', 'full')
    }),
  )
  const anew = new NumberedPublishes()
  await append().durable()
  for (const each of [numbered, anew]) assert.is(each.publish(by(1), stream, 0, append).duplicate, true)
  assert.is(anew.publish(by(2), stream, 0, append).duplicate, false)
  await node.close()
})

test('producers do not know of each other, and a new epoch begins anew', async () => {
  const node = await openLog(tempDir(), [{ name: 's' }])
  const stream = node.log.stream('s')
  const numbered = new NumberedPublishes()
  const append = () => stream.append(0 as PartitionId, recordOf('x'))
  const duplicates = [by(5), by(5, 'pump2'), by(4, 'pump', 2), by(4, 'pump', 2)].map(
    (each) => numbered.publish(each, stream, 0, append).duplicate,
  )
  assert.equal(duplicates, [false, false, false, true])
  for (const wrong of [by(-1), by(2 ** 32), by(1, ''), by(1, 'x'.repeat(300))])
    assert.throws(
      () => numbered.publish(wrong, stream, 0, append),
      (error: unknown) => error instanceof RangeError,
    )
  await node.close()
})

test.run()
