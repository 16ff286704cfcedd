// Consumer groups in a world of its own, as far as the core goes: time, network and crashes come from a seed, so that a run can be had again.
// Members are killed, stall, leave and come; requests and answers take their time or are lost; the node is killed and loses all but what is
// durable. What the members saw is the result. Parts of the node can be replaced by ones that lie.

import { SluiceError } from '../../src/base/errors.js'
import { GroupCoordinator, type OffsetStore } from '../../src/consumer/group-coordinator.js'
import { PullGroups } from '../../src/consumer/pull-groups.js'
import type { StreamCatalog } from '../../src/log/types.js'
import { toOffset } from '../../src/record/record.js'
import type { GroupOffset } from '../../src/state/group-offsets.js'
import { FakeClock } from '../helpers/fake-clock.js'
import type { GroupEvent } from '../helpers/group-history.js'
import { type MemberApi, runMember } from '../helpers/group-member.js'
import { MemoryStream, memoryCatalog } from '../helpers/memory-streams.js'
import { SeededRandom } from '../helpers/seeded-random.js'

const GROUP = 'g'
const PARTITIONS = 4
const SESSION_MS = 1_000
const STATIC_IDS = ['pump', 'valve']
/** Simulated, milliseconds: of trouble, and at most until all is read afterwards. */
const WILD_MS = 12_000
const CALM_MS = 60_000

/** Parts of the node, for replacing. */
export interface NodeParts {
  readonly offsets: (durable: Map<string, GroupOffset>, world: World) => CrashingOffsets
  readonly coordinator: (streams: StreamCatalog, offsets: OffsetStore, clock: FakeClock) => GroupCoordinator
  readonly groups: (coordinator: GroupCoordinator, streams: StreamCatalog, offsets: OffsetStore) => PullGroups
}

export const REAL_NODE: NodeParts = {
  offsets: (durable, world) => new CrashingOffsets(durable, world),
  coordinator: (streams, offsets, clock) => new GroupCoordinator({ streams, offsets, clock }),
  groups: (coordinator, streams, offsets) => new PullGroups(coordinator, streams, offsets),
}

export interface World {
  readonly random: SeededRandom
  sleep(ms: number): Promise<void>
}

/** Committed offsets on a disk that takes its time: a crash keeps those written, and perhaps some of those on their way, in order. */
export class CrashingOffsets implements OffsetStore {
  private readonly rows: Map<string, GroupOffset>
  private crashed = false
  private onItsWay: Promise<void> = Promise.resolve()
  private waiting = 0

  constructor(
    private readonly durable: Map<string, GroupOffset>,
    private readonly world: World,
  ) {
    this.rows = new Map(durable)
  }

  get(_group: string, stream: string, partition: number): GroupOffset | undefined {
    return this.rows.get(`${stream}/${partition}`)
  }

  commit(_group: string, commits: Parameters<OffsetStore['commit']>[1]): Promise<void> {
    this.waiting += 1
    this.onItsWay = this.onItsWay.then(async () => {
      // Now and then the disk stalls for longer than a session.
      await this.world.sleep(this.world.random.below(this.world.random.chance(0.05) ? 1_500 : 40))
      if (this.crashed && this.world.random.chance(0.5)) return new Promise(() => {})
      const rows = commits.map(({ stream, partition, offset }) => {
        const row = { stream, partition, offset, metadata: '', leaderEpoch: null, committedAtMs: 0 }
        return [`${stream}/${partition}`, row] as const
      })
      this.store(rows)
      for (const [key, row] of rows) this.rows.set(key, row)
      this.waiting -= 1
    })
    return this.onItsWay
  }

  protected store(rows: readonly (readonly [string, GroupOffset])[]): void {
    for (const [key, row] of rows) this.durable.set(key, row)
  }

  ofGroup(): readonly GroupOffset[] {
    return [...this.rows.values()]
  }

  groups(): readonly string[] {
    return this.rows.size === 0 ? [] : [GROUP]
  }

  async remove(): Promise<void> {}

  /** What is on its way is on disk, or not, before the next node looks. */
  async crash(): Promise<void> {
    this.crashed = true
    for (let i = 0; i < 200 && this.waiting > 0; i++) await this.world.sleep(10)
    this.store = () => {}
  }
}

export interface SimulationResult {
  readonly history: readonly GroupEvent[]
  readonly ends: readonly number[]
  readonly kills: number
  readonly members: number
}

export async function simulate(seed: number, parts: NodeParts = REAL_NODE): Promise<SimulationResult> {
  const random = new SeededRandom(seed)
  const clock = new FakeClock()
  const stream = new MemoryStream('s', PARTITIONS)
  const streams = memoryCatalog(stream)
  const durable = new Map<string, GroupOffset>()
  const history: GroupEvent[] = []
  let moment = 0
  let kills = 0
  let isWild = true
  let isOver = false
  let members = 0
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.after(ms, resolve))
  const world: World = { random, sleep }

  const start = () => {
    const offsets = parts.offsets(durable, world)
    const coordinator = parts.coordinator(streams, offsets, clock)
    let kill = (): void => {}
    const killed = new Promise<never>((_, reject) => {
      kill = () => reject(lost())
    })
    killed.catch(() => {})
    return { number: kills, offsets, coordinator, groups: parts.groups(coordinator, streams, offsets), killed, kill }
  }
  let node: ReturnType<typeof start> | null = start()

  const killNode = async (): Promise<void> => {
    const dying = node
    if (dying === null) return
    node = null
    kills += 1
    dying.kill()
    // Its timers stay in the clock, and nobody hears of them: a process that is gone.
    dying.coordinator.stop()
    await dying.offsets.crash()
    await sleep(random.below(500))
    node = start()
  }

  /** A request and its answer, each of which may be slow or lost. */
  const call = async <T>(serve: (groups: PullGroups) => Promise<T>): Promise<T> => {
    await sleep(random.below(20))
    const serving = node
    if (serving === null || (isWild && random.chance(0.02))) throw lost()
    const result = await Promise.race([serve(serving.groups), serving.killed])
    await sleep(random.below(20))
    if (node !== serving || (isWild && random.chance(0.02))) throw lost()
    return result
  }

  const startMember = (instanceId?: string): { kill(): void; done: Promise<void> } => {
    let isAlive = true
    members += 1
    const own = new SeededRandom(random.below(2 ** 31))
    const asLongAsAlive: Call = async (serve) => {
      const result = isAlive ? await call(serve) : undefined
      // A process that was killed does nothing more.
      return result === undefined || !isAlive ? new Promise(() => {}) : (result as never)
    }
    const name = `m${members}`
    const done = runMember({
      api: apiOf(asLongAsAlive, name, own, clock),
      random: own,
      instanceId,
      sessionTimeoutMs: SESSION_MS,
      sleep,
      now: () => ++moment,
      node: () => node?.number ?? -1,
      record: (event) => isAlive && history.push(event),
      isAlive: () => isAlive && !isOver,
      isWild: () => isWild,
    })
    return { kill: () => (isAlive = false), done }
  }

  const trouble = async (): Promise<void> => {
    const running = [undefined, undefined, ...STATIC_IDS].map((id) => ({ id, member: startMember(id) }))
    while (isWild) {
      await sleep(100 + random.below(400))
      const victim = random.below(running.length)
      const { id, member } = running[victim]
      const what = random.next()
      if (what < 0.1) await killNode()
      else if (what < 0.55) {
        member.kill()
        running[victim] = { id, member: startMember(id) }
        // Without the other one being killed: two processes under one static id.
      } else if (what < 0.7 && id !== undefined) running[victim] = { id, member: startMember(id) }
    }
  }

  const produce = async (): Promise<void> => {
    while (isWild) {
      for (let i = random.below(20); i > 0; i--) stream.add(random.below(PARTITIONS), 'x')
      await sleep(random.below(60))
    }
  }

  const isRead = (): boolean =>
    node !== null &&
    Array.from({ length: PARTITIONS }, (_, p) => p).every(
      (p) => (durable.get(`s/${p}`)?.offset ?? 0) === stream.highWatermark(p as never),
    )

  void trouble()
  void produce()
  await clock.advance(WILD_MS)
  isWild = false
  for (let passed = 0; passed < CALM_MS && !isRead(); passed += 500) await clock.advance(500)
  isOver = true
  const ends = Array.from({ length: PARTITIONS }, (_, p) => stream.highWatermark(p as never))
  return { history, ends, kills, members }
}

type Call = <T>(serve: (groups: PullGroups) => Promise<T>) => Promise<T>

function apiOf(call: Call, name: string, random: SeededRandom, clock: FakeClock): MemberApi {
  const strategies = (['range', 'round_robin', 'sticky'] as const).filter(() => random.chance(0.5))
  return {
    async join({ memberId, instanceId }) {
      const joined = await call((groups) =>
        groups.join(GROUP, {
          ...{ memberId, instanceId, streams: ['s'], memberName: name, offsetReset: { at: 'earliest' } },
          ...{ sessionTimeoutMs: SESSION_MS, rebalanceTimeoutMs: SESSION_MS },
          assignment: ['range', ...strategies.filter((strategy) => strategy !== 'range')],
        }),
      )
      return joined
    },
    fetch(memberId, request) {
      const waitMs = random.below(300)
      return call(async (groups) => {
        const { generation, fetchId, partitions } = await groups.fetch(
          GROUP,
          memberId,
          { ...request, maxBytes: 1_000_000 },
          (work) =>
            new Promise((resolve) => {
              const end = (): void => {
                cancel()
                unsubscribe()
                resolve(true)
              }
              const unsubscribe = work.subscribe(() => work.ready() && end())
              const cancel = clock.after(waitMs, end)
            }),
        )
        const ranges = partitions.map(({ partition, records, nextOffset }) => ({
          partition,
          first: records[0].offset,
          end: nextOffset,
        }))
        return { generation, fetchId, partitions: ranges }
      })
    },
    commit: (offsets, identity) =>
      call((groups) =>
        groups
          .commit(
            GROUP,
            offsets.map(({ partition, offset }) => ({ stream: 's', partition, offset: toOffset(offset) })),
            identity,
          )
          .then(() => true),
      ).then(() => {}),
    leave: (memberId) => call(async (groups) => groups.leave(GROUP, memberId) ?? true).then(() => {}),
  }
}

function lost(): SluiceError {
  return new SluiceError('NOT_REACHABLE', 'the connection is gone')
}
