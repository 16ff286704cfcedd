import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { silentLogger } from '../../src/base/logger.js'
import type { Offset } from '../../src/record/record.js'
import { Cursors, notAcked } from '../../src/state/cursors.js'
import { GroupOffsets, MAX_OFFSET_METADATA_LENGTH } from '../../src/state/group-offsets.js'
import { Ledger, type LedgerEntry } from '../../src/state/ledger.js'
import { LevelStateStore, MAX_STATE_KEY_BYTES, MAX_STATE_VALUE_BYTES } from '../../src/state/state-store.js'
import { codeOf } from '../helpers/rejection.js'
import { unlessSkipped } from '../helpers/skip.js'
import { SmallDisk } from '../helpers/small-disk.js'
import { tempDir } from '../helpers/temp-dir.js'
import { until } from '../helpers/until.js'

const whereDisksCanBeMade = unlessSkipped(test, process.getuid?.() === 0 ? null : 'mounting a small tmpfs needs root')

async function withStore(run: (open: () => Promise<LevelStateStore>) => Promise<void>): Promise<void> {
  const directory = tempDir()
  let store: LevelStateStore | undefined
  const onFatal = (error: SluiceError): void => assert.unreachable(error.message)
  try {
    await run(async () => {
      await store?.close()
      store = await LevelStateStore.open({ directory, logger: silentLogger, onFatal })
      return store
    })
  } finally {
    await store?.close()
  }
}

const lost = (firstOffset: number, lastOffset: number, more: Partial<LedgerEntry> = {}): LedgerEntry => ({
  destination: 'cloud',
  stream: 'telemetry',
  partition: 0,
  firstOffset: firstOffset as Offset,
  lastOffset: lastOffset as Offset,
  reason: 'retention',
  atMs: 1000,
  ...more,
})
const ranges = (ledger: Ledger): string[] =>
  ledger.list().map((r) => `${r.firstOffset}-${r.lastOffset}:${r.records}:${r.reason}`)

test('tables keep their rows apart, in order, across a reopening', () =>
  withStore(async (open) => {
    let store = await open()
    await store.table('one').write([
      { put: 'b', value: { n: 2 } },
      { put: 'a', value: 1 },
      { put: 'a/x', value: [1, 'é'] },
    ])
    await store.table('one-more').put('a', 'other')
    await store.table('one').delete('b')
    store = await open()
    const rows: unknown[] = []
    for await (const row of store.table('one').entries()) rows.push(row)
    assert.equal(rows, [
      ['a', 1],
      ['a/x', [1, 'é']],
    ])
    assert.is(await store.table('one-more').get('a'), 'other')
    assert.is(await store.table('one').get('b'), undefined)
  }))

whereDisksCanBeMade(
  'after a write was refused for want of room, rows are what the disk holds, and are written again',
  async () => {
    const disk = SmallDisk.make(4)
    if (disk === null) return
    const directory = join(disk.path, 'state')
    const open = () =>
      LevelStateStore.open({ directory, logger: silentLogger, onFatal: (e) => assert.unreachable(e.message) })
    let store = await open()
    await disk.fillUp()
    const acked = new Map<string, string>()
    const value = 'x'.repeat(20_000)
    let refused = 0
    for (let i = 0; refused === 0; i++) {
      const put = async (key: string) => {
        const refusal = await store
          .table('t')
          .put(key, value)
          .then(
            () => null,
            (error: SluiceError) => error.code,
          )
        if (refusal === null) acked.set(key, value)
        else assert.is(refusal, 'STORAGE_FULL')
        if (refusal !== null) refused += 1
      }
      // The second and the third go together.
      await Promise.all([put(`${i}/0`), put(`${i}/1`), put(`${i}/2`)])
    }
    assert.is(
      await codeOf(store.table('t').get('0/0')),
      'STORAGE_FULL',
      'not out of a memory that is not to be trusted',
    )
    assert.is(await codeOf(store.table('t').put('more', value)), 'STORAGE_FULL')
    disk.free()
    const putAfter = () =>
      store
        .table('t')
        .put('after', 'there')
        .then(
          () => true,
          () => false,
        )
    await until('a write is taken again', putAfter, (taken) => taken)
    acked.set('after', 'there')
    const rows = async () => {
      const found = new Map<string, unknown>()
      for await (const [key, row] of store.table('t').entries()) found.set(key, row)
      return found
    }
    const running = await rows()
    for (const [key, row] of acked) assert.is(running.get(key), row, `${key} was acknowledged`)
    await store.close()
    store = await open()
    assert.equal(await rows(), running, 'the next start finds what the running node had read back')
    await store.close()
    disk.remove()
  },
)

test('keys, values and metadata are taken up to their maximum, and not a byte more', () =>
  withStore(async (open) => {
    const store = await open()
    const table = store.table<string | Buffer>('t')
    const key = 'k'.repeat(MAX_STATE_KEY_BYTES - 't\0'.length)
    await table.put(key, 'v')
    assert.throws(() => table.put(`${key}k`, 'v'), /at most 1024 bytes/)
    // Five bytes say that so many follow.
    const value = Buffer.alloc(MAX_STATE_VALUE_BYTES - 5, 1)
    await table.put('large', value)
    assert.equal(await table.get('large'), value)
    assert.throws(() => table.put('large', Buffer.alloc(value.length + 1)), /at most 1048576 bytes/)
    const offsets = await GroupOffsets.open(store, () => 0)
    const commit = { stream: 's', partition: 0, offset: 1 as Offset }
    await offsets.commit('g', [{ ...commit, metadata: 'm'.repeat(MAX_OFFSET_METADATA_LENGTH) }])
    const longer = 'm'.repeat(MAX_OFFSET_METADATA_LENGTH + 1)
    assert.match(
      await offsets.commit('g', [{ ...commit, metadata: longer }]).then(
        () => '',
        (error: Error) => error.message,
      ),
      /too long/,
    )
  }))

test('a second node on the same directory is refused by name', () =>
  withStore(async (open) => {
    const store = await open()
    const directory = (store as unknown as { options: { directory: string } }).options.directory
    try {
      await LevelStateStore.open({ directory, logger: silentLogger, onFatal: () => {} })
      assert.unreachable()
    } catch (error) {
      assert.ok(error instanceof SluiceError && error.code === 'DATA_DIR_LOCKED', String(error))
    }
  }))

test('cursors and committed offsets come back after a restart', () =>
  withStore(async (open) => {
    let store = await open()
    const cursors = await Cursors.open(store)
    await Promise.all([
      cursors.set('cloud', 'telemetry', 0, 7 as Offset),
      cursors.set('cloud', 'telemetry', 1, 9 as Offset, [{ first: 12 as Offset, next: 20 as Offset }]),
    ])
    await (await GroupOffsets.open(store, () => 5)).commit('g', [
      { stream: 'telemetry', partition: 1, offset: 3 as Offset, metadata: 'x' },
    ])
    store = await open()
    assert.equal((await Cursors.open(store)).ofStream('telemetry'), [
      { destination: 'cloud', partition: 0, next: 7, acked: [] },
      { destination: 'cloud', partition: 1, next: 9, acked: [{ first: 12, next: 20 }] },
    ])
    assert.equal((await GroupOffsets.open(store, () => 6)).get('g', 'telemetry', 1), {
      stream: 'telemetry',
      partition: 1,
      offset: 3,
      metadata: 'x',
      committedAtMs: 5,
      leaderEpoch: null,
    })
  }))

test('what is left of a range is what lies between the acknowledged stretches', () => {
  const range = (first: number, last: number) => ({ first: first as Offset, last: last as Offset })
  const acked = [
    { first: 5 as Offset, next: 10 as Offset },
    { first: 20 as Offset, next: 30 as Offset },
  ]
  assert.equal(notAcked(range(0, 40), acked), [range(0, 4), range(10, 19), range(30, 40)])
  assert.equal(notAcked(range(7, 24), acked), [range(10, 19)])
  assert.equal(notAcked(range(21, 29), acked), [])
  assert.equal(notAcked(range(10, 10), acked), [range(10, 10)])
  assert.equal(notAcked(range(1, 2), []), [range(1, 2)])
})

test('what groups have committed of a stream follows it under its new name, also over a restart', () =>
  withStore(async (open) => {
    let store = await open()
    const offsets = await GroupOffsets.open(store, () => 5)
    const commit = (stream: string, offset: number) => ({ stream, partition: 1, offset: offset as Offset })
    await offsets.commit('g', [commit('gw.telemetry', 3), commit('gw.telemetry-2', 4)])
    await offsets.renameStream('gw.telemetry', 'gw.telemetry.1')
    await offsets.commit('g', [commit('gw.telemetry', 0)])
    const rows = (all: GroupOffsets) =>
      all.ofGroup('g').map(({ stream, offset, committedAtMs: at }) => [stream, offset, at])
    const expected = [
      ['gw.telemetry', 0, 5],
      ['gw.telemetry-2', 4, 5],
      ['gw.telemetry.1', 3, 5],
    ]
    assert.equal(rows(offsets).sort(), expected)
    store = await open()
    assert.equal(rows(await GroupOffsets.open(store, () => 6)).sort(), expected)
  }))

test('neighbouring ranges of the ledger merge; a range entered twice counts once', () =>
  withStore(async (open) => {
    const ledger = await Ledger.open(await open())
    await Promise.all([ledger.add([lost(0, 9)]), ledger.add([lost(10, 19)]), ledger.add([lost(10, 19)])])
    await ledger.add([lost(30, 39), lost(20, 29, { reason: 'corruption' })])
    assert.equal(ranges(ledger), ['0-19:20:retention', '20-29:10:corruption', '30-39:10:retention'])
    assert.equal(ranges(await Ledger.open(await open())), ranges(ledger))
  }))

test('at its maximum the ledger coarsens rows and drops none', () =>
  withStore(async (open) => {
    const ledger = await Ledger.open(await open(), 4)
    for (let i = 0; i < 10; i++) await ledger.add([lost(i * 100, i * 100 + i)])
    assert.is(ledger.list().length, 4)
    assert.is(ledger.records, 55)
    for (let i = 0; i < 10; i++) {
      assert.ok(
        ledger.list().some((row) => row.firstOffset <= i * 100 && row.lastOffset >= i * 100 + i),
        `range ${i} is covered`,
      )
    }
  }))

test.run()
