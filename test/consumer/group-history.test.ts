// What consumer groups promise, held against histories: of simulated groups (SLUICE_TEST_RUNS=1000 looks at more of them), and of nodes that lie in
// one way each, to show that the judge would notice.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assignBy } from '../../src/consumer/assignment.js'
import { GroupCoordinator } from '../../src/consumer/group-coordinator.js'
import { PullGroups } from '../../src/consumer/pull-groups.js'
import { type Violation, violationsOf } from '../helpers/group-history.js'
import { SeededRandom } from '../helpers/seeded-random.js'
import { CrashingOffsets, type NodeParts, REAL_NODE, simulate } from './group-simulation.js'

const RUNS = Number(process.env['SLUICE_TEST_RUNS'] ?? 8)
/** A lie must show in one of so many runs. */
const RUNS_OF_A_LIE = 30

test(`in ${RUNS} groups in trouble every record is delivered, in order, to the one member that owns its partition`, async () => {
  const random = new SeededRandom()
  for (let run = 0; run < RUNS; run++) {
    const seed = (random.seed + run) >>> 0
    const { history, ends, kills, members } = await simulate(seed)
    const violations = violationsOf(history, ends)
    assert.equal(violations, [], `SLUICE_TEST_SEED=${seed} SLUICE_TEST_RUNS=1 repeats it`)
    assert.ok(history.length > 100, `seed ${seed}: ${history.length} events`)
    if (run === 0)
      console.log(
        `seed ${random.seed}: ${history.length} events of ${members} members, ${ends.join(' + ')} records, ${kills} kills of the node`,
      )
  }
})

const LIES: Readonly<
  Record<string, { readonly parts: Partial<NodeParts>; readonly rules: readonly Violation['rule'][] }>
> = {
  'commits that are acknowledged and not durable': {
    rules: ['a member begins where its group has committed, or later'],
    parts: {
      offsets: (durable, world) =>
        new (class extends CrashingOffsets {
          protected override store(...args: Parameters<CrashingOffsets['store']>): void {
            if (world.random.chance(0.5)) super.store(...args)
          }
        })(durable, world),
    },
  },
  'commits of members whose time is over': {
    rules: ['a member whose partition is another’s neither gets records of it nor commits it'],
    parts: {
      groups: (coordinator, streams, offsets) =>
        new (class extends PullGroups {
          override commit(...[group, commits]: Parameters<PullGroups['commit']>): Promise<void> {
            return offsets.commit(group, commits)
          }
        })(coordinator, streams, offsets),
    },
  },
  'commits that are overtaken by the next generation': {
    rules: ['a member begins where its group has committed, or later', 'nothing is delivered after a commit past it'],
    parts: {
      coordinator: (streams, offsets, clock) =>
        new (class extends GroupCoordinator {
          override async commitsSettled(): Promise<void> {}
        })({ streams, offsets, clock }),
    },
  },
  'fetches of members whose time is over': {
    rules: ['a member whose partition is another’s neither gets records of it nor commits it'],
    parts: {
      coordinator: (streams, offsets, clock) =>
        new (class extends GroupCoordinator {
          override heartbeat(): void {}
          override isCurrent(): boolean {
            return true
          }
          override isMember(): boolean {
            return true
          }
        })({ streams, offsets, clock }),
    },
  },
  'a partition given to two': {
    rules: ['no two members of a generation own one partition'],
    parts: {
      coordinator: (streams, offsets, clock) =>
        new (class extends GroupCoordinator {
          override sync(...[group, identity, assignments]: Parameters<GroupCoordinator['sync']>): Promise<Uint8Array> {
            const all = assignBy(
              'range',
              [{ memberId: 'all', streams: ['s'] }],
              () => 1,
              () => [],
            ).get('all')
            const wrong = new Map([...(assignments ?? [])].map(([id]) => [id, Buffer.from(JSON.stringify(all))]))
            return super.sync(group, identity, wrong)
          }
        })({ streams, offsets, clock }),
    },
  },
  'a partition given to nobody': {
    rules: ['every record is delivered'],
    parts: {
      coordinator: (streams, offsets, clock) =>
        new (class extends GroupCoordinator {
          override sync(...[group, identity, assignments]: Parameters<GroupCoordinator['sync']>): Promise<Uint8Array> {
            const wrong = new Map(
              [...(assignments ?? [])].map(([id, bytes]) => {
                const share = JSON.parse(Buffer.from(bytes).toString()) as { partition: number }[]
                return [id, Buffer.from(JSON.stringify(share.filter(({ partition }) => partition !== 3)))]
              }),
            )
            return super.sync(group, identity, wrong)
          }
        })({ streams, offsets, clock }),
    },
  },
  'an answer that is lost and not said again': {
    rules: ['a member reads on in order, without a gap'],
    parts: {
      groups: (coordinator, streams, offsets) =>
        new (class extends PullGroups {
          override fetch(...[group, id, request, wait]: Parameters<PullGroups['fetch']>) {
            return super.fetch(group, id, { ...request, after: undefined }, wait)
          }
        })(coordinator, streams, offsets),
    },
  },
  'a group that begins again from the beginning': {
    rules: ['nothing is delivered after a commit past it'],
    parts: {
      groups: (coordinator, streams) => new PullGroups(coordinator, streams, { get: () => undefined }),
    },
  },
}

for (const [lie, { parts, rules }] of Object.entries(LIES))
  test(`it would be noticed: ${lie}`, async () => {
    const random = new SeededRandom()
    for (let run = 0; run < RUNS_OF_A_LIE; run++) {
      const { history, ends } = await simulate((random.seed + run) >>> 0, { ...REAL_NODE, ...parts })
      if (violationsOf(history, ends).some(({ rule }) => rules.includes(rule))) return
    }
    assert.unreachable(`${RUNS_OF_A_LIE} runs from seed ${random.seed} look right`)
  })

test.run()
