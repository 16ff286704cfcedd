import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { toOffset } from '../../src/record/record.js'
import { Ledger, type LedgerEntry, MAX_DESTINATION_BYTES } from '../../src/state/ledger.js'
import { LevelStateStore } from '../../src/state/state-store.js'
import { RefusingState } from '../helpers/refusing-state.js'
import { codeOf } from '../helpers/rejection.js'
import { tempDir } from '../helpers/temp-dir.js'

test('drops at QoS 0 are one row per partition that counts what was dropped, not what lies between', async () => {
  const directory = join(tempDir(), 'state')
  const state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  const ledger = await Ledger.open(state)
  const range = { destination: 'subscribers', stream: 's', partition: 0, reason: 'qos0_dropped', atMs: 0 } as const
  for (let i = 0; i < 50; i++) {
    const entry = { ...range, firstOffset: toOffset(1000 * i), lastOffset: toOffset(1000 * i + 99), records: 3 }
    await ledger.add([entry])
  }
  const rows = ledger.list().map(({ firstOffset, lastOffset, records }) => [firstOffset, lastOffset, records])
  assert.equal(rows, [[0, 49_099, 150]])
  await state.close()
})

test('a row whose write was refused, and is on the disk all the same, is gone after the next write', async () => {
  const state = await LevelStateStore.open({
    directory: join(tempDir(), 'state'),
    logger: silentLogger,
    onFatal: () => {},
  })
  const disk = new RefusingState(state)
  disk.takesAllTheSame = true
  const range = { destination: 'cloud', stream: 's', partition: 0, atMs: 0 } as const
  const rowsOf = (ledger: Ledger) => ledger.list().map((row) => [row.firstOffset, row.lastOffset, row.reason])
  const ledger = await Ledger.open(disk)
  await ledger.add([{ ...range, reason: 'retention', firstOffset: toOffset(0), lastOffset: toOffset(9) }])
  disk.refuses = true
  const grown = { ...range, reason: 'retention', firstOffset: toOffset(5), lastOffset: toOffset(19) } as const
  const other = { ...range, reason: 'disk_full', firstOffset: toOffset(40), lastOffset: toOffset(49) } as const
  assert.is(await codeOf(ledger.add([grown, other])), 'STORAGE_FULL')
  assert.equal(rowsOf(ledger), [[0, 9, 'retention']])
  disk.refuses = false
  await ledger.add([{ ...range, reason: 'disk_full', firstOffset: toOffset(45), lastOffset: toOffset(54) }])
  const rows = [
    [0, 9, 'retention'],
    [45, 54, 'disk_full'],
  ]
  assert.equal(rowsOf(ledger), rows)
  assert.equal(rowsOf(await Ledger.open(disk)), rows, 'the disk has what memory has')
  await state.close()
})

async function withLedger(maxRows: number, run: (ledger: Ledger, reopen: () => Promise<Ledger>) => Promise<void>) {
  const directory = join(tempDir(), 'state')
  const state = await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
  await run(await Ledger.open(state, maxRows), () => Ledger.open(state, maxRows))
  await state.close()
}

function overtaken(client: string, first: number, last: number, atMs: number, partition = 0): LedgerEntry {
  const range = { firstOffset: toOffset(first), lastOffset: toOffset(last) }
  return { destination: `session:${client}`, stream: 's', partition, ...range, reason: 'session_overtaken', atMs }
}

test('sessions that come and go do not make the ledger longer than its maximum: those that waited longest become one row, and each record counts', () =>
  withLedger(4, async (ledger, reopen) => {
    const cloud = { ...overtaken('', 0, 9, 0), destination: 'cloud', reason: 'retention' as const }
    await ledger.add([cloud, overtaken('a', 0, 9, 1), overtaken('b', 5, 19, 2), overtaken('c', 0, 4, 3)])
    assert.is(ledger.list().length, 4, 'at the maximum each has its own')
    await ledger.add([overtaken('d', 30, 39, 4)])
    const rowsOf = (one: Ledger) =>
      one.list().map((row) => [row.destination, row.firstOffset, row.lastOffset, row.records])
    const joined = [
      ['cloud', 0, 9, 10],
      ['session:*', 0, 19, 25],
      ['session:c', 0, 4, 5],
      ['session:d', 30, 39, 10],
    ]
    assert.equal(rowsOf(ledger), joined)
    assert.equal(rowsOf(await reopen()), joined)
    for (let i = 0; i < 50; i++) await ledger.add([overtaken(`e${i}`, i, i + 1, 5 + i)])
    assert.is(ledger.list().length, 4)
    assert.is(ledger.records, 10 + 25 + 5 + 10 + 50 * 2)
  }))

test('a row whose destination is longer than a key may be is entered all the same, and what comes next joins it', () =>
  withLedger(100, async (ledger, reopen) => {
    // A shared group has the whole of its filter as its name.
    const group = (end: string) => `$share/${'x'.repeat(65_000)}/${end}`
    await ledger.add([overtaken(group('a'), 0, 9, 1), overtaken(group('b'), 0, 9, 1)])
    await ledger.add([overtaken(group('a'), 10, 19, 2)])
    for (const one of [ledger, await reopen()])
      assert.equal(
        one
          .list()
          .map((row) => row.records)
          .sort((a, b) => a - b),
        [10, 20],
      )
    assert.ok(ledger.list().every(({ destination }) => Buffer.byteLength(destination) <= MAX_DESTINATION_BYTES))
    const longest = 'y'.repeat(MAX_DESTINATION_BYTES - 'session:'.length)
    await ledger.add([overtaken(longest, 0, 0, 3)])
    assert.ok(ledger.list().some(({ destination }) => destination === `session:${longest}`))
  }))

test.run()
