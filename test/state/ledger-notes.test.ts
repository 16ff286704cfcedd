import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { SluiceError } from '../../src/base/errors.js'
import { toOffset } from '../../src/record/record.js'
import type { LedgerEntry } from '../../src/state/ledger.js'
import { LedgerNotes } from '../../src/state/ledger-notes.js'
import { FakeClock, settle } from '../helpers/fake-clock.js'

const RETRY_MS = 1000

function bench(maxRows?: number) {
  const clock = new FakeClock()
  const entered: LedgerEntry[][] = []
  const fatal: string[] = []
  const bench = { clock, entered, fatal, refusal: null as SluiceError | null }
  const ledger = {
    async add(entries: readonly LedgerEntry[]) {
      if (bench.refusal) throw bench.refusal
      entered.push([...entries])
    },
  }
  const notes = new LedgerNotes({ ledger, clock, onFatal: ({ code }) => fatal.push(code), maxRows })
  const drop = (first: number, last: number, partition = 0): void =>
    notes.note({
      ...{ destination: 'subscribers', stream: 's', partition, reason: 'qos0_dropped', atMs: 0 },
      ...{ firstOffset: toOffset(first), lastOffset: toOffset(last), records: 2 },
    })
  return Object.assign(bench, { notes, drop })
}

const rangesOf = (rows: readonly LedgerEntry[] | undefined) =>
  rows?.map(({ partition, firstOffset, lastOffset, records }) => [partition, firstOffset, lastOffset, records]).sort()

test('what a full disk refuses is joined, and entered once there is room', async () => {
  const site = bench()
  site.refusal = new SluiceError('STORAGE_FULL', 'full')
  for (let i = 0; i < 100; i++) site.drop(10 * i, 10 * i + 5)
  site.drop(7, 9, 1)
  await site.clock.advance(10 * RETRY_MS)
  assert.equal([site.entered, site.fatal, site.notes.waiting], [[], [], 2])
  site.refusal = null
  await site.clock.advance(RETRY_MS)
  assert.equal(site.entered.length, 1)
  assert.equal(rangesOf(site.entered[0]), [
    [0, 0, 995, 200],
    [1, 7, 9, 2],
  ])
  site.drop(5000, 5001)
  await settle()
  assert.equal(rangesOf(site.entered[1]), [[0, 5000, 5001, 2]], 'at once where there is room')
})

test('no more rows wait than the ledger may have', async () => {
  const site = bench(3)
  site.refusal = new SluiceError('STORAGE_READ_ONLY', 'read only')
  for (let i = 0; i < 20; i++)
    site.notes.note({
      ...{ destination: `session:${i}`, stream: 's', partition: 0, reason: 'session_overtaken', atMs: i },
      ...{ firstOffset: toOffset(i), lastOffset: toOffset(i) },
    })
  await site.clock.advance(RETRY_MS)
  assert.is(site.notes.waiting, 3)
  site.refusal = null
  await site.notes.stop()
  assert.is(
    site.entered[0].reduce((sum, { records = 0 }) => sum + records, 0),
    20,
  )
})

test('after any other failure the node has to end', async () => {
  const site = bench()
  site.refusal = new SluiceError('STORAGE_FAILED', 'EIO')
  site.drop(0, 1)
  await settle()
  assert.equal(site.fatal, ['STORAGE_FAILED'])
})

test('a stop tries once more, and does not wait for room', async () => {
  const site = bench()
  site.refusal = new SluiceError('STORAGE_FULL', 'full')
  site.drop(0, 1)
  await settle()
  await site.notes.stop()
  assert.equal(site.entered, [])
})

test.run()
