// A mirror takes the place of another, and the node ends at any moment of it: whatever is known by name is of the records that have the name then.

import { cpSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import type { Offset, PartitionId } from '../../src/record/record.js'
import { encodeRecordBatch } from '../../src/record/record-batch-builder.js'
import { openLog, recordOf, type TestLog } from '../helpers/open-log.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDirInMemory } from '../helpers/temp-dir.js'

const NAME = 'gw-17.telemetry'
const FORMER = `${NAME}.1`
const BEGIN = [{ base: 0, epoch: 0 }]
const RECORDS = 12
const SENT = 3
const DONE = 7
const LOST_TO_ALL = { destination: '*', partition: 0, firstOffset: 20 as Offset, lastOffset: 29 as Offset, atMs: 1 }
/** One upstream has come some way, one has not begun. */
const OPTIONS = { destinations: ['cloud', 'other'] }

const open = (directory: string, more = {}) => openLog(directory, [{ name: 'telemetry' }], { ...OPTIONS, ...more })

async function withMirror(directory: string, more = {}): Promise<TestLog> {
  const node = await open(directory, more)
  const mirror = await node.log.mirrors.open('gw-17', 'telemetry', BEGIN, 'gw-17')
  const records = Array.from({ length: RECORDS }, (_, i) => recordOf(`A ${i}`))
  await mirror.appendBatch(0 as PartitionId, encodeRecordBatch(0 as Offset, records, 0)).durable()
  await node.cursors.set('cloud', NAME, 0, SENT as Offset, [{ first: 5 as Offset, next: 8 as Offset }])
  await node.groupOffsets.commit('work', [{ stream: NAME, partition: 0, offset: DONE as Offset }])
  await node.ledger.add([{ ...LOST_TO_ALL, stream: NAME, reason: 'retention' }])
  return node
}

const beginAnother = (node: TestLog) => node.log.mirrors.begin('gw-17', 'telemetry', BEGIN, 'gw-17')

/** What is known under a name of a mirror. */
function knownAs(node: TestLog, stream: string) {
  const { cursors, groupOffsets, ledger } = node
  return {
    cursors: cursors.ofStream(stream).map(({ destination, next, acked }) => [destination, next, acked.length]),
    done: groupOffsets.get('work', stream, 0)?.offset,
    ledger: ledger
      .list()
      .filter((row) => row.stream === stream)
      .map(({ destination, firstOffset, lastOffset, reason }) => [destination, firstOffset, lastOffset, reason]),
  }
}

const NOTHING = { cursors: [], done: undefined, ledger: [] }
const LOST = ['*', 20, 29, 'retention']
const REPLACED = {
  cursors: [],
  done: DONE,
  ledger: [LOST, ['cloud', 3, 4, 'replaced'], ['cloud', 8, 11, 'replaced'], ['other', 0, 11, 'replaced']],
}

function assertReplaced(node: TestLog): void {
  assert.equal(knownAs(node, NAME), NOTHING)
  assert.equal(knownAs(node, FORMER), REPLACED)
}

/** Nothing has happened yet, as far as anybody can tell. */
function assertNotReplaced(node: TestLog): void {
  assert.equal(knownAs(node, FORMER), NOTHING)
  const known = knownAs(node, NAME)
  assert.equal([known.done, known.ledger], [DONE, [LOST]])
  const [cloud, other = ['other', 0, 0]] = known.cursors
  assert.equal(
    [cloud, other],
    [
      ['cloud', SENT, 1],
      ['other', 0, 0],
    ],
  )
}

test('killed at any moment, what groups, upstreams and the ledger know stays with its records', async () => {
  const directory = tempDirInMemory()
  const node = await withMirror(directory)
  const crashed: string[] = []
  let done = false
  const begun = beginAnother(node).then(() => {
    done = true
  })
  while (!done) {
    // Nothing but the write that runs can go on meanwhile: what a kill would leave.
    crashed.push(tempDirInMemory())
    cpSync(directory, crashed.at(-1) as string, { recursive: true })
    await new Promise((resolve) => setImmediate(resolve))
  }
  await begun
  assertReplaced(node)
  await node.close()
  const incarnations = new Set<number>()
  for (const left of crashed) {
    let again = await open(left)
    const { incarnation } = again.log.mirrors.find('gw-17', 'telemetry')!
    incarnations.add(incarnation)
    if (incarnation === 1) {
      assertNotReplaced(again)
      // The gateway comes again.
      await beginAnother(again)
    }
    assertReplaced(again)
    await again.close()
    again = await open(left)
    assertReplaced(again)
    await again.close()
  }
  assert.ok(incarnations.has(1), 'moments before the new one is durable')
})

test('a disk that takes nothing while a mirror is replaced: what is known goes with it once it can be written', async () => {
  const directory = tempDirInMemory()
  const full = new SluiceError('STORAGE_FULL', 'full')
  let failures = 1
  const node = await withMirror(directory)
  const { renameStream } = node.groupOffsets
  node.groupOffsets.renameStream = async (from, to) => {
    if (failures-- > 0) throw full
    await renameStream.call(node.groupOffsets, from, to)
  }
  assert.is(await codeOf(beginAnother(node)), full.code)
  // The gateway comes again, and asks for what it finds there.
  const mirror = await node.log.mirrors.open('gw-17', 'telemetry', BEGIN, 'gw-17')
  assert.is(mirror.incarnation, 2)
  assertReplaced(node)
  await node.close()
  const again = await open(directory)
  assertReplaced(again)
  await again.close()
})

test('two connections ask at once: nothing of the new mirror is durable before its name is its own', async () => {
  const node = await withMirror(tempDirInMemory())
  let renamed = false
  const { renameStream } = node.groupOffsets
  node.groupOffsets.renameStream = async (from, to) => {
    await renameStream.call(node.groupOffsets, from, to)
    renamed = true
  }
  const begun = beginAnother(node)
  await new Promise((resolve) => setImmediate(resolve))
  const opened = node.log.mirrors.open('gw-17', 'telemetry', BEGIN, 'site').then((mirror) => {
    assert.ok(renamed)
    return mirror
  })
  assert.is(await opened, await begun)
  assertReplaced(node)
  await node.close()
})

test.run()
