// What can happen to a log, and how often it does.

import type { ModelRun } from './run.js'
import { NodeEnded } from './world.js'

type Step = readonly [name: string, weight: number, take: (run: ModelRun) => Promise<void> | void]

/** A full disk is so for a while. */
const FULL_FOR_STEPS = 60

const STEPS: readonly Step[] = [
  ['append', 250, (run) => run.writer.append()],
  [
    'burst',
    40,
    (run) => {
      for (let left = 5 + run.random.below(30); left > 0; left--) run.writer.append()
    },
  ],
  ['produce', 80, (run) => run.writer.produce()],
  ['fact', 30, (run) => run.writer.setFact()],
  ['fetch', 120, (run) => run.reader.fetch()],
  ['time', 20, (run) => run.reader.findTime()],
  ['cursor', 100, (run) => run.cursors.move()],
  ['go on', 250, (run) => run.world.run(1 + run.random.below(30))],
  ['settle', 40, (run) => run.world.settle()],
  ['wait', 30, (run) => run.world.advance(run.random.below(3000))],
  ['wait long', 3, (run) => run.world.advance(run.random.below(60_000))],
  ['jump of the clock', 3, (run) => run.world.jumpWall((run.random.next() - 0.5) * 2 * 366 * 86_400_000)],
  ['full disk', 4, (run) => run.fillDisk()],
  ['failing disk', 4, (run) => run.failDisk()],
  ['audit', 4, (run) => (run.world.disk.isFull ? undefined : run.audit.everything())],
  ['restart', 6, (run) => run.restart()],
  ['kill', 20, (run) => run.kill()],
  ['damage', 25, (run) => run.damage()],
]
const WEIGHTS = STEPS.reduce((sum, [, weight]) => sum + weight, 0)

/** @returns how often each step was taken. */
export async function takeSteps(run: ModelRun, steps: number): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const take = async ([name, , step]: Step): Promise<void> => {
    counts.set(name, (counts.get(name) ?? 0) + 1)
    run.trace(name)
    try {
      await step(run)
      run.scene.throwFailure()
    } catch (error) {
      await restartedAfter(run, error, counts)
    }
  }
  await run.start()
  let fullSince = 0
  for (let step = 0; step < steps; step++) {
    if (!run.world.disk.isFull) fullSince = step
    if (step - fullSince > FULL_FOR_STEPS) await take(['room', 0, () => run.emptyDisk()])
    await take(chosen(run))
  }
  await take(['end', 0, () => run.restart()])
  await run.close()
  return counts
}

function chosen(run: ModelRun): Step {
  let dice = run.random.below(WEIGHTS)
  return STEPS.find(([, weight]) => (dice -= weight) < 0) as Step
}

/** A node that ended because its disk failed is started again, as its supervisor does. */
async function restartedAfter(run: ModelRun, error: unknown, counts: Map<string, number>): Promise<void> {
  const hasFailed = run.world.disk.failed !== null
  if (!hasFailed || !(error instanceof NodeEnded || (error as { code?: string }).code === 'STORAGE_FAILED')) throw error
  counts.set('ended', (counts.get('ended') ?? 0) + 1)
  run.trace(`ended: ${run.world.disk.failed}`)
  await run.kill()
}
