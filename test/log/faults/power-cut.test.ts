// Cuts the power of a disk under a writer, again and again. `node dist/test/log/faults/power-cut.test.js --cuts 50` for a longer run;
// SLUICE_TEST_SEED repeats the moments, as far as the disk's own timing allows.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LoopDisk } from '../../helpers/loop-disk.js'
import { Program } from '../../helpers/program.js'
import { SeededRandom } from '../../helpers/seeded-random.js'
import { unlessSkipped } from '../../helpers/skip.js'
import { assertKept, Promised } from './written.js'

const flag = process.argv.indexOf('--cuts')
const CUTS = flag === -1 ? 8 : Number(process.argv[flag + 1])
/** Every so many cuts a new data directory is begun: half of all cuts come while one is young. */
const LIVES = 4
const MAX_YOUNG_MS = 300
const MAX_LIFE_MS = 1200

const made = LoopDisk.make(96)
const whereDisksCanBeMade = unlessSkipped(test, typeof made === 'string' ? made : null)
const disk = made as LoopDisk

whereDisksCanBeMade(`${CUTS} power cuts lose nothing that was acked, and no offset is used twice`, async () => {
  const random = new SeededRandom()
  console.log(`seed ${random.seed} (SLUICE_TEST_SEED=${random.seed} repeats it)`)
  const directory = join(disk.path, 'data')
  let promised = new Promised()
  let kept = 0
  for (let cut = 0; cut < CUTS; cut++) {
    if (cut % LIVES === 0) {
      rmSync(directory, { recursive: true, force: true })
      mkdirSync(directory)
      promised = new Promised()
    }
    const writer = new Program(process.execPath, [
      join(import.meta.dirname, 'writer.js'),
      directory,
      String(random.seed + cut),
    ])
    // The first cut of a life may come before anything is open, the others in the midst of writing, rolling and dropping.
    const young = cut % LIVES < LIVES / 2
    if (young) await wait(100 + random.next() * MAX_YOUNG_MS)
    else await writer.waitFor(/^acked /m, 'stdout').then(() => wait(random.next() * MAX_LIFE_MS))
    // What it says later does not count: a sync that is under way at the cut may still return success from an ext4 that is shut down, while
    // with the power its caller would be gone as well.
    promised.hear(writer.stdout)
    disk.cutPower()
    await writer.stop('SIGKILL')
    disk.powerOn()
    const { records, ledger } = await assertKept(directory, promised)
    kept += records
    const corrupt = ledger.filter(({ reason }) => reason !== 'retention')
    assert.equal(corrupt, [], `cut ${cut}: a power cut damages nothing, it only tears the end off`)
  }
  console.log(`${CUTS} cuts; ${kept} records read back`)
})

test.after(() => {
  if (typeof made !== 'string') disk.remove()
})
test.run()
