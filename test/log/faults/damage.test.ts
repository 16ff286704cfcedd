// Changes bytes in, cuts short and removes every kind of file of a data directory, and opens it again. SLUICE_TEST_SEED repeats a run,
// SLUICE_TEST_DAMAGES=1000 makes a longer one.

import {
  closeSync,
  cpSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { PartitionId } from '../../../src/record/record.js'
import { openLog, readAll, recordOf, type TestLog } from '../../helpers/open-log.js'
import { type SeededRandom, withSeed } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'
import { witnessed } from '../../helpers/witnessed.js'

const STREAM = { name: 's', partitions: 2 }
const OPTIONS = { segmentBytes: 256 * 1024, maxBatchBytes: 4096, destinations: ['cloud'] }
const ENDS = [1200, 600]
/** Of every kind of file. */
const DAMAGES = Number(process.env['SLUICE_TEST_DAMAGES'] ?? 1)

const payload = (partition: number, offset: number): string =>
  `${partition}:${offset}:${'x'.repeat((offset * 31) % 1600)}`

/** A node killed with sealed segments, one under way, and some state. */
async function original(): Promise<string> {
  const node = await openLog(tempDirInMemory(), [STREAM], OPTIONS)
  const stream = node.log.stream('s')
  for (let i = 0; i < ENDS[0]; i++) {
    for (const partition of [0, 1] as PartitionId[]) {
      if (partition === 1 && i % 2 === 1) continue
      const commit = stream.append(partition, recordOf(payload(partition, stream.nextOffset(partition))))
      if (i % 20 === 0) await commit.durable()
    }
    if (i % 200 === 0) await node.cursors.set('cloud', 's', 0, i as never)
  }
  await stream.append(0 as PartitionId, recordOf(payload(0, ENDS[0]++))).durable()
  await witnessed(node.directory)
  const copy = tempDirInMemory()
  cpSync(node.directory, copy, { recursive: true })
  await node.close()
  return copy
}

interface Damage {
  /** Within the data directory. */
  readonly file: string
  readonly kind: 'bit' | 'cut' | 'removed'
  /** Byte changed, or where it was cut. */
  readonly at: number
}

function inflict(directory: string, { file, kind, at }: Damage): void {
  const path = join(directory, file)
  if (kind === 'removed') rmSync(path)
  else if (kind === 'cut') truncateSync(path, at)
  else {
    const bytes = readFileSync(path)
    bytes[at] ^= 1 << (at % 8)
    writeFileSync(path, bytes)
  }
}

/** Some damages to each kind of file; kinds are told apart by name, and by whether their segment was sealed. */
function damagesOf(directory: string, random: SeededRandom): Damage[] {
  const kinds = new Map<string, string[]>()
  for (const entry of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, entry)
    if (!statSync(path).isFile() || /LOCK|LOG|ballast/.test(entry)) continue
    const sealed = readdirSync(join(path, '..')).includes('sealed')
    const kind = `${entry.split('/')[0]} ${sealed} ${entry.split('/').at(-1)?.replace(/\d+/, '')}`
    kinds.set(kind, [...(kinds.get(kind) ?? []), entry])
  }
  const damages: Damage[] = []
  for (const files of kinds.values()) {
    for (let i = 0; i < DAMAGES; i++) {
      const file = files[random.below(files.length)]
      const { size } = statSync(join(directory, file))
      damages.push({ file, kind: 'removed', at: 0 })
      if (size === 0) continue
      // The log of the state database, cut short, cannot be told from one whose end was never written: see DATA_FORMAT.md.
      if (!/^state.*\.log$/.test(file)) damages.push({ file, kind: 'cut', at: random.below(size) })
      for (let bits = 0; bits < 4; bits++) damages.push({ file, kind: 'bit', at: random.below(size) })
    }
  }
  return [...new Map(damages.map((damage) => [JSON.stringify(damage), damage])).values()]
}

/** Asserts that each offset below the ends is readable as it was written, or named. @returns how many are named. */
async function assertReadableOrNamed(node: TestLog): Promise<number> {
  let missing = 0
  for (let partition = 0; partition < ENDS.length; partition++) {
    const stream = node.log.stream('s')
    const records = await readAll(node.log, 's', partition)
    const rows = node.ledger.list().filter((row) => row.partition === partition && row.destination === '*')
    const named = (offset: number) => rows.some((row) => row.firstOffset <= offset && offset <= row.lastOffset)
    let next = 0
    for (const { offset, value, timestampMs } of records) {
      for (; next < offset; next++) {
        if (next < ENDS[partition]) missing += 1
        assert.ok(named(next), `${partition}/${next} is missing in silence`)
      }
      assert.is(offset, next)
      if (offset < ENDS[partition]) assert.is(value?.toString(), payload(partition, offset), `${partition}/${offset}`)
      assert.is(timestampMs, recordOf('').timestampMs)
      next += 1
    }
    for (; next < ENDS[partition]; next++, missing++)
      assert.ok(named(next), `${partition}/${next} is missing in silence`)
    assert.ok(stream.nextOffset(partition as PartitionId) >= ENDS[partition], 'an offset would be used twice')
  }
  return missing
}

/** @returns how many records are missing, all of them named. */
async function openAndCheck(directory: string): Promise<number> {
  const node = await openLog(directory, [STREAM], OPTIONS)
  try {
    const missing = await assertReadableOrNamed(node)
    const stream = node.log.stream('s')
    await stream.append(0 as PartitionId, recordOf('after')).durable()
    assert.equal(node.fatal, [])
    return missing
  } finally {
    await node.close()
  }
}

test('whatever happens to one file, the node starts, returns nothing wrong, and names what is missing', async () => {
  const source = await original()
  await withSeed(async (random) => {
    const damages = damagesOf(source, random)
    let worst = 0
    for (const damage of damages) {
      const directory = tempDirInMemory()
      cpSync(source, directory, { recursive: true })
      inflict(directory, damage)
      try {
        const missing = await openAndCheck(directory)
        // What the first start has found holds for the next.
        if (missing > 0) assert.is(await openAndCheck(directory), missing)
        if (damage.kind === 'bit') worst = Math.max(worst, missing)
      } catch (error) {
        console.log('with', damage, 'of', statSync(join(source, damage.file)).size, 'bytes:')
        throw error
      }
      rmSync(directory, { recursive: true })
    }
    console.log(`${damages.length} damages; one changed bit took at most ${worst} records`)
  })
})

test('what happens to files under a running node is named when a read meets it, and writing goes on', async () => {
  const directory = tempDirInMemory()
  cpSync(await original(), directory, { recursive: true })
  await withSeed(async (random) => {
    const node = await openLog(directory, [STREAM], OPTIONS)
    await assertReadableOrNamed(node)
    assert.equal(node.ledger.list(), [])
    const stream = node.log.stream('s')
    const next = stream.nextOffset(0 as PartitionId)
    await stream.append(0 as PartitionId, recordOf('after')).durable()
    const tables = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((one) => one.endsWith('.ldb'))
    assert.ok(tables.length >= 4)
    for (const file of tables.slice(0, 2)) {
      // In place: a node that has it open sees the change.
      const handle = openSync(join(directory, file), 'r+')
      const at = random.below(statSync(join(directory, file)).size)
      const byte = Buffer.alloc(1)
      readSync(handle, byte, 0, 1, at)
      byte[0] ^= 1 << random.below(8)
      writeSync(handle, byte, 0, 1, at)
      closeSync(handle)
    }
    // Mapped into memory, this would end the process as soon as somebody reads there.
    truncateSync(join(directory, tables[2]), Math.floor(statSync(join(directory, tables[2])).size / 2))
    rmSync(join(directory, tables[3]))
    const missing = await assertReadableOrNamed(node)
    await stream.append(0 as PartitionId, recordOf('after')).durable()
    assert.is(stream.nextOffset(0 as PartitionId), next + 2)
    assert.equal(node.fatal, [])
    await node.close()
    const again = await openLog(directory, [STREAM], OPTIONS)
    assert.ok((await assertReadableOrNamed(again)) >= missing)
    await again.close()
  })
})

test.run()
