// A log against a model of it (run.ts), through thousands of random steps in a world where one thing happens at a time and a seed says which
// (world.ts): appends, reads, cursors, retention, kills, torn writes, full and failing disks, and damage to any file. The same seed gives the same
// run, to the byte. SLUICE_MODEL_SEED=random takes one that nobody has tried, SLUICE_MODEL_STEPS sets the length, and a long run is
//
//   SLUICE_MODEL_SEED=1 SLUICE_MODEL_RUNS=200 SLUICE_MODEL_STEPS=5000 node --import ./dist/scripts/test-report.js dist/test/log/model/model.test.js

import { randomInt } from 'node:crypto'
import { test } from 'uvu'
import { SeededRandom } from '../../helpers/seeded-random.js'

// The hooks come before the log: see io-hooks.ts.
await import('./io-hooks.js')
const { ModelRun } = await import('./run.js')
const { takeSteps } = await import('./steps.js')

const STEPS = Number(process.env['SLUICE_MODEL_STEPS'] ?? 2000)
const RUNS = Number(process.env['SLUICE_MODEL_RUNS'] ?? 1)
const SEED = process.env['SLUICE_MODEL_SEED'] ?? '1'
const LAST_STEPS = 40

for (let i = 0; i < RUNS; i++) {
  const random = new SeededRandom(SEED === 'random' ? randomInt(2 ** 31) : Number(SEED) + i)
  test(`a log does what its model does, for ${STEPS} random steps of seed ${random.seed}`, async () => {
    const run = new ModelRun(random)
    const trace: string[] = []
    run.trace = (what) => {
      trace.push(what)
    }
    const startedAtMs = Date.now()
    try {
      const counts = await takeSteps(run, STEPS)
      console.log(
        `${[...counts].map(([name, count]) => `${count} ${name}`).join(', ')}; ${run.world.happenings} happenings; ${Date.now() - startedAtMs} ms`,
      )
    } catch (error) {
      console.log(`the last of ${trace.length} steps: ${trace.slice(-LAST_STEPS).join(', ')}`)
      console.log(`the log said:\n${run.said.join('')}`)
      console.log(`SLUICE_MODEL_SEED=${random.seed} SLUICE_MODEL_STEPS=${STEPS} repeats it`)
      throw error
    } finally {
      await run.abandon()
    }
  })
}

test.run()
