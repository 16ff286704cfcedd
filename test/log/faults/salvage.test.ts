// A segment that was not sealed and in whose files bytes have changed costs what they held and no more: everything else is read, what is gone
// is in the ledger, to the record. SLUICE_TEST_SEED repeats a run; SLUICE_TEST_DAMAGES=10 changes so many bits in each 4 KB instead of one.

import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Offset, PartitionId } from '../../../src/record/record.js'
import { baseOffsetOf, lastOffsetOf, leaderEpochOf } from '../../../src/record/record-batch.js'
import { openLevel } from '../../../src/state/level-database.js'
import { TableIndex } from '../../../src/state/table-index.js'
import { openLog, readAll, recordOf, type TestLog } from '../../helpers/open-log.js'
import { type SeededRandom, withSeed } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { witnessed } from '../../helpers/witnessed.js'

const STREAM = { name: 's', partitions: 3 }
const OPTIONS = { maxBatchBytes: 4096 }
const SEGMENT = join('streams', 's', '000000000001')
/** Partition 2 is never written. */
const ENDS = [120, 60, 0]
const STRETCH_BYTES = 4096
const DAMAGES = Number(process.env['SLUICE_TEST_DAMAGES'] ?? 1)
/** One in so many batches holds three records. */
const LARGE_EVERY = 10

const payload = (partition: number, offset: number): string =>
  `${partition}:${offset}:${'xyz'.repeat((offset * 31 + partition) % 300)}`

interface Stored {
  readonly partition: number
  readonly first: number
  readonly last: number
  readonly bytes: Buffer
}

interface Original {
  readonly directory: string
  readonly batches: readonly Stored[]
}

/** A data directory as a killed node leaves it, with one segment, and what is in that. */
async function killedNode(): Promise<Original> {
  const node = await openLog(tempDirInMemory(), [STREAM], OPTIONS)
  const stream = node.log.stream('s')
  const next = ENDS.map(() => 0)
  while (next.some((offset, partition) => offset < ENDS[partition])) {
    for (const partition of [0, 1, 0]) {
      if (next[partition] >= ENDS[partition]) continue
      const count = next[partition] % LARGE_EVERY === 0 ? Math.min(3, ENDS[partition] - next[partition]) : 1
      let commit = null
      for (let i = 0; i < count; i++)
        commit = stream.append(partition as PartitionId, recordOf(payload(partition, next[partition]++)))
      if (next[partition] % 8 === 0) stream.setFact('numbered/serial/meter', Buffer.from(String(next[partition])))
      await commit?.durable()
    }
  }
  const batches: Stored[] = []
  for (const partition of [0, 1]) {
    const { batches: read } = await stream.fetch(partition as PartitionId, 0 as Offset, { maxBytes: 1 << 24 })
    for (const bytes of read)
      batches.push({ partition, first: baseOffsetOf(bytes), last: lastOffsetOf(bytes), bytes: Buffer.from(bytes) })
  }
  await witnessed(node.directory)
  const directory = tempDirInMemory()
  cpSync(node.directory, directory, { recursive: true })
  await node.close()
  return { directory, batches }
}

function fileOf(directory: string, ending: string): string {
  const name = readdirSync(join(directory, SEGMENT)).find((one) => one.endsWith(ending))
  assert.ok(name, `a ${ending} file`)
  return join(directory, SEGMENT, name)
}

/** Killed while its start made a table of the log. */
async function withTable({ directory, batches }: Original): Promise<Original> {
  const copy = copyOf(directory)
  await (await openLevel(join(copy, SEGMENT), { writeBufferBytes: 1 << 24, createIfMissing: false })).close()
  return { directory: copy, batches }
}

/** Killed in the last moment of its seal. */
async function withIndex({ directory, batches }: Original): Promise<Original> {
  const copy = copyOf(directory)
  await (await openLog(copy, [STREAM], OPTIONS)).close()
  rmSync(join(copy, SEGMENT, 'sealed'))
  return { directory: copy, batches }
}

function copyOf(directory: string): string {
  const copy = tempDirInMemory()
  cpSync(directory, copy, { recursive: true })
  return copy
}

/** Where a batch lies in a file, about: the header of a fragment may cut it in two. */
function placeOf(file: Buffer, { bytes, partition, first }: Stored): { readonly start: number; readonly end: number } {
  const head = file.indexOf(bytes.subarray(0, 24))
  const text = `${partition}:${first}:`
  const start = head >= 0 ? head : file.indexOf(text) - bytes.indexOf(text)
  return { start, end: start + bytes.length + 8 }
}

/** What a changed byte of a log may cost: the batch it lies in, or that comes next. */
function ownerInLog(file: Buffer, batches: readonly Stored[], at: number): Stored | null {
  const behind = batches
    .map((batch) => ({ batch, ...placeOf(file, batch) }))
    .filter(({ end }) => end > at)
    .sort((a, b) => a.end - b.end)
  return behind[0]?.batch ?? null
}

/** What a changed byte of a table may cost: what its block holds. */
async function ownersInTable(path: string, batches: readonly Stored[], at: number): Promise<Stored[]> {
  const handle = await open(path)
  const index = await TableIndex.read(handle)
  await handle.close()
  const file = readFileSync(path)
  const blocks = Array.from({ length: index?.count ?? 0 }, (_, i) => index!.block(i))
  const block = blocks.find(({ offset, size }) => offset <= at && at < offset + size)
  if (block === undefined) return []
  return batches.filter((batch) => {
    const { start } = placeOf(file, batch)
    return start >= block.offset && start < block.offset + block.size
  })
}

interface Outcome {
  readonly missing: readonly [partition: number, offset: number][]
  readonly next: readonly number[]
  readonly reasons: readonly string[]
}

/** Opens the directory and asserts that each record is either read, as it was written, or named, and not both. */
async function outcomeOf(directory: string): Promise<Outcome> {
  const node = await openLog(directory, [STREAM], OPTIONS)
  try {
    assert.equal(node.fatal, [])
    const stream = node.log.stream('s')
    const missing: [number, number][] = []
    for (const partition of ENDS.keys()) {
      const found = new Map((await readAll(node.log, 's', partition)).map((one) => [one.offset as number, one]))
      for (let offset = 0; offset < ENDS[partition]; offset++) {
        const value = found.get(offset)?.value?.toString()
        const isNamed = names(node, partition, offset)
        assert.is(value === undefined, isNamed, `${partition}/${offset}: ${value ? 'read and named' : 'missing'}`)
        if (value === undefined) missing.push([partition, offset])
        else assert.is(value, payload(partition, offset))
      }
    }
    const next = [...ENDS.keys()].map((partition) => stream.nextOffset(partition as PartitionId) as number)
    const rows = node.ledger.list()
    const lost = rows.reduce((sum, { partition, firstOffset, lastOffset }) => {
      return sum + Math.max(0, Math.min(lastOffset + 1, ENDS[partition]) - firstOffset)
    }, 0)
    assert.is(lost, missing.length, 'the sum of the ledger, below where the partitions ended')
    return { missing, next, reasons: rows.map(({ reason }) => reason) }
  } finally {
    await node.close()
  }
}

function names(node: TestLog, partition: number, offset: number): boolean {
  return node.ledger
    .list()
    .some((row) => row.partition === partition && row.firstOffset <= offset && offset <= row.lastOffset)
}

/** Changes bits in each 4 KB of a file, one at a time. @returns how many, and how many records they cost together. */
async function eachStretch(
  { directory }: Original,
  ending: string,
  random: SeededRandom,
  check: (at: number, outcome: Outcome) => void | Promise<void>,
): Promise<{ bits: number; lost: number }> {
  const sound = readFileSync(fileOf(directory, ending))
  const used = sound.findLastIndex((byte) => byte !== 0) + 1
  const counts = { bits: 0, lost: 0 }
  for (let start = 0; start < used; start += STRETCH_BYTES) {
    for (let i = 0; i < DAMAGES; i++) {
      const at = start + random.below(Math.min(STRETCH_BYTES, used - start))
      const bit = random.below(8)
      const copy = copyOf(directory)
      const changed = Buffer.from(sound)
      changed[at] ^= 1 << bit
      writeFileSync(fileOf(copy, ending), changed)
      try {
        const outcome = await outcomeOf(copy)
        await check(at, outcome)
        assert.ok(
          outcome.next.every((next, partition) => next >= ENDS[partition]),
          'no offset is given twice',
        )
        assert.equal(await outcomeOf(copy), outcome, 'at the next start')
        counts.bits += 1
        counts.lost += outcome.missing.length
      } catch (error) {
        console.log(`with bit ${bit} of byte ${at} of ${used} changed in a ${ending} file:`)
        throw error
      }
      rmSync(copy, { recursive: true })
    }
  }
  return counts
}

const belongsTo =
  (owners: readonly Stored[]) =>
  ([partition, offset]: readonly [number, number]): boolean =>
    owners.some((one) => one.partition === partition && one.first <= offset && offset <= one.last)

test('a changed bit anywhere in the log of a killed node costs the batch it lies in', async () => {
  const original = await killedNode()
  await withSeed(async (random) => {
    const log = readFileSync(fileOf(original.directory, '.log'))
    const counts = await eachStretch(original, '.log', random, (at, { missing }) => {
      const owner = ownerInLog(log, original.batches, at)
      assert.ok(missing.every(belongsTo(owner ? [owner] : [])), `${missing} are missing`)
    })
    console.log(`log: ${JSON.stringify(counts)}`)
    assert.ok(counts.lost > 0)
  })
})

test('a changed bit anywhere in a table that a start was making of a log costs what its block holds', async () => {
  const original = await withTable(await killedNode())
  await withSeed(async (random) => {
    const table = fileOf(original.directory, '.ldb')
    const counts = await eachStretch(original, '.ldb', random, async (at, { missing }) => {
      const owners = await ownersInTable(table, original.batches, at)
      assert.ok(missing.every(belongsTo(owners)), `${missing} are missing`)
    })
    console.log(`table: ${JSON.stringify(counts)}`)
    assert.ok(counts.lost > 0)
  })
})

test('where the seal had begun, the ends of all partitions are known in spite of a changed bit', async () => {
  const original = await withIndex(await killedNode())
  await withSeed(async (random) => {
    const table = fileOf(original.directory, '.ldb')
    let endsLost = 0
    const counts = await eachStretch(original, '.ldb', random, async (at, { missing, next, reasons }) => {
      const owners = await ownersInTable(table, original.batches, at)
      assert.ok(missing.every(belongsTo(owners)), `${missing} are missing`)
      if (reasons.includes('end_unknown')) endsLost += 1
      else assert.equal(next, ENDS)
    })
    console.log(`sealed table: ${JSON.stringify(counts)}`)
    // Where the index itself was hit.
    assert.ok(endsLost <= DAMAGES)
  })
})

test('several changed bits cost what they hit, and what is left is read', async () => {
  const killed = await killedNode()
  await withSeed(async (random) => {
    for (const [original, ending] of [
      [killed, '.log'],
      [await withTable(killed), '.ldb'],
    ] as const) {
      const copy = copyOf(original.directory)
      const path = fileOf(copy, ending)
      const bytes = readFileSync(path)
      const used = bytes.findLastIndex((byte) => byte !== 0) + 1
      for (let i = 0; i < 5; i++) bytes[random.below(used)] ^= 1 << random.below(8)
      writeFileSync(path, bytes)
      const { missing } = await outcomeOf(copy)
      assert.ok(missing.length < (ENDS[0] + ENDS[1]) / 2, `${missing.length} are missing`)
    }
  })
})

test('writing goes on behind a salvaged segment, in a new epoch where an end was hidden', async () => {
  const { directory } = await killedNode()
  const path = fileOf(directory, '.log')
  const bytes = readFileSync(path)
  bytes[bytes.findLastIndex((byte) => byte !== 0) - 20] ^= 4
  writeFileSync(path, bytes)
  const node = await openLog(directory, [STREAM], OPTIONS)
  const stream = node.log.stream('s')
  const next = stream.nextOffset(0 as PartitionId)
  assert.ok(next > ENDS[0])
  await stream.append(0 as PartitionId, recordOf('after')).durable()
  const { batches } = await stream.fetch(0 as PartitionId, next, { maxBytes: 1 })
  assert.is(leaderEpochOf(batches[0]), 1)
  await node.close()
  // The damaged one is kept for whoever wants to look into it.
  assert.is(readdirSync(join(directory, 'quarantine', 's')).length, 1)
})

test('a start that ended while it salvaged a segment is followed by one that goes on from there', async () => {
  const { directory } = await killedNode()
  const path = fileOf(directory, '.log')
  const bytes = readFileSync(path)
  bytes[10_000] ^= 4
  writeFileSync(path, bytes)
  const half = copyOf(directory)
  mkdirSync(join(half, `${SEGMENT}.salvaged`))
  writeFileSync(join(half, `${SEGMENT}.salvaged`, '000003.log'), 'half of it')
  const expected = await outcomeOf(directory)
  assert.is(expected.missing.length > 0, true)
  assert.equal(await outcomeOf(half), expected)
  assert.equal(readdirSync(join(half, 'streams', 's')).sort(), ['000000000001', 'retention.json'])
  // Ended after the damaged one was set aside.
  renameSync(join(directory, SEGMENT), join(directory, `${SEGMENT}.salvaged`))
  assert.equal(await outcomeOf(directory), expected)
})

test('an oldest segment of which nothing is left is named up to where the next begins', async () => {
  const directory = tempDirInMemory()
  for (let life = 0; life < 2; life++) {
    const node = await openLog(directory, [STREAM], OPTIONS)
    for (let i = 0; i < 10; i++)
      await node.log
        .stream('s')
        .append(0 as PartitionId, recordOf(`${life} ${i}`))
        .durable()
    await node.close()
  }
  rmSync(join(directory, SEGMENT, 'sealed'))
  const table = fileOf(directory, '.ldb')
  writeFileSync(table, Buffer.alloc(readFileSync(table).length))
  for (let start = 0; start < 2; start++) {
    const node = await openLog(directory, [STREAM], OPTIONS)
    assert.equal(
      node.ledger.list().map((row) => [row.partition, row.firstOffset, row.lastOffset]),
      [[0, 0, 9]],
    )
    assert.is((await readAll(node.log, 's')).length, 10)
    await node.close()
  }
})

test.run()
