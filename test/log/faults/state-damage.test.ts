// Changes bytes in, cuts short and removes files of the state database. SLUICE_TEST_SEED repeats a run, SLUICE_TEST_DAMAGES=50 makes a
// longer one.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Logger } from '../../../src/base/logger.js'
import { openState } from '../../../src/state/data-directory.js'
import { CEILING_STEP, OffsetCeilings } from '../../../src/state/offset-ceilings.js'
import type { LevelStateStore } from '../../../src/state/state-store.js'
import { readWitness } from '../../../src/state/witness-file.js'
import { codeOf } from '../../helpers/rejection.js'
import { withSeed } from '../../helpers/seeded-random.js'
import { tempDirInMemory } from '../../helpers/temp-dir.js'

const DAMAGES = Number(process.env['SLUICE_TEST_DAMAGES'] ?? 10)
const ROWS = 300

async function open(directory: string): Promise<{ state: LevelStateStore; said: string }> {
  let said = ''
  const logger = new Logger('state', 'warn', (line) => {
    said += line
  })
  const state = await openState(directory, { logger, onFatal: (error) => assert.unreachable(error.message) })
  return { state, said }
}

/** A state database with tables and a log, as a killed node leaves it: each row holds its own name and the number of its last change. */
async function original(): Promise<string> {
  const directory = tempDirInMemory()
  mkdirSync(join(directory, 'streams', 's'), { recursive: true })
  // The second life finds the log of the first made into a table.
  for (let life = 0; life < 3; life++) {
    const { state } = await open(directory)
    const table = state.table<unknown[]>('rows')
    for (let i = 0; i < ROWS; i++) await table.put(`row-${i}`, [`row-${i}`, life, 'x'.repeat(i)])
    for (let i = 0; i < ROWS; i += 3) await table.delete(`row-${i}`)
    if (life === 2) break
    await state.close()
  }
  const copy = tempDirInMemory()
  cpSync(directory, copy, { recursive: true })
  return copy
}

/** @returns true if everything is there as it was written last; false if it all began anew. */
async function isWhole(state: LevelStateStore): Promise<boolean> {
  const found = new Map<string, unknown[]>()
  for await (const [key, value] of state.table<unknown[]>('rows').entries()) found.set(key, value)
  if (found.size === 0) return false
  for (let i = 0; i < ROWS; i++) {
    const expected = i % 3 === 0 ? undefined : [`row-${i}`, 2, 'x'.repeat(i)]
    assert.equal(found.get(`row-${i}`), expected, `row ${i} is neither right nor lost with all others`)
  }
  return true
}

test('a damaged state database is set aside whole and a new one begun, and it is said what that means', async () => {
  const source = await original()
  const files = readdirSync(join(source, 'state')).filter((name) => name !== 'LOCK' && !/^LOG/.test(name))
  assert.ok(files.some((name) => name.endsWith('.ldb')) && files.some((name) => name.endsWith('.log')))
  await withSeed(async (random) => {
    let begunAnew = 0
    for (const file of files) {
      for (let i = 0; i < DAMAGES; i++) {
        const directory = tempDirInMemory()
        cpSync(source, directory, { recursive: true })
        const path = join(directory, 'state', file)
        const at = random.below(statSync(path).size)
        // A log cut short cannot be told from one whose end was never written; nor the end of the list of tables.
        const kind = i === 0 ? 'removed' : i === 1 && !/log|MANIFEST/.test(file) ? 'cut' : 'bit'
        if (kind === 'removed') rmSync(path)
        else if (kind === 'cut') truncateSync(path, at)
        else {
          const bytes = readFileSync(path)
          bytes[at] ^= 1 << random.below(8)
          writeFileSync(path, bytes)
        }
        try {
          const { state, said } = await open(directory)
          const whole = await isWhole(state)
          assert.is(/set aside.*meaning=/.test(said), !whole, said)
          if (!whole) begunAnew += 1
          await state.table('rows').put('a', 1)
          await state.close()
          const again = await open(directory)
          assert.is(again.said, '')
          await again.state.close()
        } catch (error) {
          console.log(`with ${kind} at ${at} of ${file}:`)
          throw error
        }
        rmSync(directory, { recursive: true })
      }
    }
    console.log(`${files.length * DAMAGES} damages; ${begunAnew} times it began anew`)
  })
})

/** Where each write of a LevelDB log ends; the log is shorter than a block. */
function endsOf(log: Buffer): number[] {
  const ends = [0]
  for (let at = 0; at + 7 <= log.length && log.readUInt16LE(at + 4) > 0; )
    ends.push((at += 7 + log.readUInt16LE(at + 4)))
  return ends
}

test('wherever the log of a state database is cut short, it is said how much is gone, and no offset can be given twice', async () => {
  const live = tempDirInMemory()
  const { state } = await open(live)
  const ceilings = await OffsetCeilings.open(state)
  const reached: number[] = []
  for (let end = 1; reached.length < 20; end += CEILING_STEP + 50_000) {
    await ceilings.cover('s', [[0, end]])
    reached.push(end)
    await state.table('rows').put('last', end)
  }
  const witness = join(live, 'state', 'live')
  while ((await readWitness(witness))?.count !== 2 * reached.length) await wait(1)
  const source = tempDirInMemory()
  cpSync(live, source, { recursive: true })
  await state.close()
  const [log] = readdirSync(join(source, 'state')).filter((name) => name.endsWith('.log'))
  const sound = readFileSync(join(source, 'state', log))
  const ends = endsOf(sound)
  assert.is(ends.length, 2 * reached.length + 1)
  for (const [writes, end] of ends.entries()) {
    const directory = tempDirInMemory()
    cpSync(source, directory, { recursive: true })
    const lost = 2 * reached.length - writes
    truncateSync(join(directory, 'state', log), end)
    // A disk that has lost a write may give zeros in its place.
    if (writes % 2 === 0) truncateSync(join(directory, 'state', log), sound.length)
    const { state, said } = await open(directory)
    if (lost === 0) assert.is(said, '')
    else assert.match(said, new RegExp(`gone back.* lostWrites=${lost} `), `cut after ${writes} writes`)
    const last = writes < 2 ? undefined : reached[Math.floor(writes / 2) - 1]
    assert.is(await state.table('rows').get('last'), last)
    const found = await OffsetCeilings.open(state)
    await found.hideEnds('s', [[0, 0]])
    if (writes > 0) assert.ok(found.floorOf('s', 0) >= (reached.at(-1) as number), `cut after ${writes} writes`)
    await state.close()
    const again = await open(directory)
    assert.is(again.said, '', 'said once')
    await again.state.close()
  }
})

test('a state database that an older copy has taken the place of is noticed, and so is one without its witness', async () => {
  const directory = tempDirInMemory()
  const first = await open(directory)
  await first.state.table('rows').put('a', 1)
  await first.state.close()
  const older = tempDirInMemory()
  cpSync(join(directory, 'state'), older, { recursive: true })
  const second = await open(directory)
  for (let i = 0; i < 3; i++) await second.state.table('rows').put('a', 2)
  await second.state.close()
  const witness = readFileSync(join(directory, 'state', 'live'))
  rmSync(join(directory, 'state'), { recursive: true })
  cpSync(older, join(directory, 'state'), { recursive: true })
  writeFileSync(join(directory, 'state', 'live'), witness)
  const third = await open(directory)
  assert.match(third.said, /gone back.* lostWrites=3 /)
  await third.state.table('rows').put('a', 3)
  await third.state.close()
  rmSync(join(directory, 'state', 'live'))
  const fourth = await open(directory)
  assert.match(fourth.said, /as it was cannot be told/)
  assert.is(await fourth.state.table('rows').get('a'), 3)
  await fourth.state.close()
})

test('one that a kill has left is not damaged, also when its last write was torn', async () => {
  const directory = await original()
  const [log] = readdirSync(join(directory, 'state')).filter((name) => name.endsWith('.log'))
  // A fragment's header: checksum, 1,000 bytes, a whole record; then not all of them.
  const torn = Buffer.from('01234567e80301000102', 'hex')
  writeFileSync(join(directory, 'state', log), torn, { flag: 'a' })
  const { state, said } = await open(directory)
  assert.is(said, '')
  assert.ok(await isWhole(state))
  await state.close()
})

test('a state database that is gone is begun anew, and said', async () => {
  const directory = await original()
  rmSync(join(directory, 'state'), { recursive: true })
  const { state, said } = await open(directory)
  assert.match(said, /state database is gone.*meaning=/)
  await state.close()
  const first = await open(tempDirInMemory())
  assert.is(first.said, '', 'a new node has lost nothing')
  await first.state.close()
})

/** The bytes of some table, one of them changed. */
function changedTable(directory: string): Buffer {
  const [name] = readdirSync(join(directory, 'state')).filter((one) => one.endsWith('.ldb'))
  const bytes = readFileSync(join(directory, 'state', name))
  bytes[100] ^= 1
  return bytes
}

test('LevelDB does not open what is set aside for a changed table or log: its asserts would end the process', async () => {
  const source = await original()
  const state = readdirSync(join(source, 'state'))
  const table = state.find((name) => name.endsWith('.ldb')) as string
  const log = state.find((name) => name.endsWith('.log')) as string
  const changedLog = readFileSync(join(source, 'state', log))
  changedLog[100] ^= 1
  for (const [file, changed] of [
    [table, changedTable(source)],
    [log, changedLog],
  ] as const) {
    const directory = tempDirInMemory()
    cpSync(source, directory, { recursive: true })
    writeFileSync(join(directory, 'state', file), changed)
    const before = contentsOf(join(directory, 'state'))
    const { state, said } = await open(directory)
    assert.match(said, /set aside/)
    const [aside] = readdirSync(join(directory, 'quarantine'))
    assert.equal(contentsOf(join(directory, 'quarantine', aside)), before)
    await state.close()
  }
})

/** Of all files that opening a database may change. */
function contentsOf(directory: string): [name: string, bytes: string][] {
  const names = readdirSync(directory).filter((name) => name !== 'LOCK' && !/^LOG/.test(name))
  return names.map((name) => [name, readFileSync(join(directory, name), 'base64')])
}

test('a database that another node uses is left alone, whatever it looks like meanwhile', async () => {
  const directory = await original()
  const { state } = await open(directory)
  await state.table('rows').put('a', 1)
  writeFileSync(join(directory, 'state', '000099.ldb'), 'half a table')
  assert.is(await codeOf(open(directory)), 'DATA_DIR_LOCKED')
  writeFileSync(join(directory, 'state', '000098.ldb'), changedTable(directory))
  assert.is(await codeOf(open(directory)), 'DATA_DIR_LOCKED')
  assert.ok(await isWhole(state).catch(() => true))
  assert.not.ok(readdirSync(directory).includes('quarantine'))
  await state.close()
})

test.run()
