// test-run: limit 240 s
// Kills a writer, again and again. `node dist/test/log/faults/killed.test.js --kills 200` for a longer run; SLUICE_TEST_SEED repeats the moments,
// as far as the machine's own timing allows.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Program } from '../../helpers/program.js'
import { SeededRandom } from '../../helpers/seeded-random.js'
import { tempDir } from '../../helpers/temp-dir.js'
import { assertKept, Promised } from './written.js'

const flag = process.argv.indexOf('--kills')
const KILLS = flag === -1 ? 20 : Number(process.argv[flag + 1])
/** Every so many kills a new data directory is begun, and the first kill of it may come before anything is open. */
const LIVES = 10
/** On a busy machine a life is short of them: further kills follow until retention has been seen at work so often. */
const MIN_DROPS = 50
const MAX_KILLS = 5 * KILLS
const MAX_LIFE_MS = 350

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b)

test('kills of a writer whose segments roll and drop all the time leave every record readable, delivered or in the ledger', async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  let directory = ''
  let promised = new Promised()
  let dropped = 0
  let acked = 0
  for (let kill = 0; kill < KILLS || (dropped <= MIN_DROPS && kill < MAX_KILLS); kill++) {
    if (kill % LIVES === 0) {
      if (directory !== '') rmSync(directory, { recursive: true })
      directory = join(tempDir(), 'data')
      promised = new Promised()
    }
    const before = sum(promised.ends)
    const args = [join(import.meta.dirname, 'writer.js'), directory, String(random.seed + kill)]
    const writer = new Program(process.execPath, args)
    if (random.next() < 0.8 && kill % LIVES > 0) await writer.waitFor(/^acked /m, 'stdout')
    await wait(random.next() * MAX_LIFE_MS)
    const { signal } = await writer.stop('SIGKILL')
    assert.is(signal, 'SIGKILL', writer.stderr)
    promised.hear(writer.stdout)
    acked += sum(promised.ends) - before
    dropped += writer.stdout.match(/^dropped /gm)?.length ?? 0
    const { ledger } = await assertKept(directory, promised)
    assert.equal(
      ledger.filter(({ reason }) => reason !== 'retention'),
      [],
      `kill ${kill}: nothing is damaged by a kill`,
    )
  }
  console.log(`${acked} records acked; ${dropped} moves of log starts`)
  assert.ok(dropped > MIN_DROPS, 'retention was at work')
})

test.run()
