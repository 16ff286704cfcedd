// What a start makes of a stream whose newest segment is gone, or cannot be read: the ends and facts of the one before are not taken for the last word,
// and what one start has found out holds also for one that finds the state database as it was before.

import { cpSync, readdirSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PartitionId } from '../../../src/record/record.js'
import { openLog, readAll, recordOf, type TestLog } from '../../helpers/open-log.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { witnessed } from '../../helpers/witnessed.js'

const P0 = 0 as PartitionId
const PRODUCER = { producerId: 7, epoch: 0 }
const STREAMS = [{ name: 's' }]

/** @returns the next offset. */
async function produce(node: TestLog, sequence: number): Promise<number> {
  const { firstOffset, commit } = node.log.stream('s').appendFrom({ ...PRODUCER, sequence }, P0, [recordOf('x')])
  await commit.durable()
  return firstOffset + 1
}

function segmentIn(directory: string, number: number): string {
  return join(directory, 'streams', 's', String(number).padStart(12, '0'))
}

test('facts of the segment before the newest are not believed once the newest is gone', async () => {
  const directory = tempDirInMemory()
  let node = await openLog(directory, STREAMS)
  await produce(node, 0)
  await node.log.stream('s').setFact('qos2/device/1/5', Buffer.alloc(0)).durable()
  await node.close()
  node = await openLog(directory, STREAMS)
  // The handshake ends; its packet identifier may stand for another message from now on.
  await node.log.stream('s').setFact('qos2/device/1/5', null).durable()
  await produce(node, 1)
  await node.close()
  rmSync(segmentIn(directory, 2), { recursive: true })
  for (let start = 0; start < 2; start++) {
    node = await openLog(directory, STREAMS)
    assert.equal([...node.log.stream('s').facts('').keys()], [], 'a message would be taken for one that came before')
    await node.close()
  }
  node = await openLog(directory, STREAMS)
  await produce(node, 2)
  await node.close()
})

test('where writing goes on since an end was hidden holds also without the state database, before anything is written there', async () => {
  const directory = tempDirInMemory()
  const live = await openLog(directory, STREAMS)
  for (let sequence = 0; sequence < 20; sequence++) await produce(live, sequence)
  await witnessed(directory)
  const copy = tempDirInMemory()
  cpSync(directory, copy, { recursive: true })
  await live.close()
  const stateBefore = tempDirInMemory()
  cpSync(join(copy, 'state'), stateBefore, { recursive: true })
  truncateSync(join(segmentIn(copy, 1), '000003.log'), 700)
  let node = await openLog(copy, STREAMS)
  const next = node.log.stream('s').nextOffset(P0)
  assert.ok(next > 20)
  await node.close()
  rmSync(join(copy, 'state'), { recursive: true })
  cpSync(stateBefore, join(copy, 'state'), { recursive: true })
  node = await openLog(copy, STREAMS)
  assert.is(node.log.stream('s').nextOffset(P0), next, 'an offset would be used twice')
  await node.close()
})

test('a newest segment whose table cannot be read at all does not keep a node from starting', async () => {
  const directory = tempDirInMemory()
  let node = await openLog(directory, STREAMS)
  for (let sequence = 0; sequence < 3; sequence++) await produce(node, sequence)
  await node.close()
  const segment = segmentIn(directory, 1)
  const [table] = readdirSync(segment).filter((name) => name.endsWith('.ldb'))
  truncateSync(join(segment, table), 20)
  node = await openLog(directory, STREAMS)
  assert.equal(await readAll(node.log, 's'), [])
  assert.equal(
    node.ledger.list().map((row) => [row.destination, row.firstOffset, row.lastOffset, row.reason]),
    [['*', 0, 2, 'corruption']],
  )
  assert.is(await produce(node, 3), 4)
  await node.close()
})

test.run()
