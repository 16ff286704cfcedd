// A world in which only one thing happens at a time, and a seed says which: every call of the log's to the file system and to LevelDB, every timer
// and every turn of the event loop waits here until it is picked. The files are real, so that what a crash leaves is what a crash leaves; time is not.
// So a run can be had again, step for step, and the order in which things happen is tried out instead of being the machine's.
//
// An operation happens in two picks: it is carried out, and later its caller hears of it. A kill between the two is a write that is on the disk
// and was never acknowledged. io-hooks.ts brings the operations here; disk.ts says which of them fail.

import { ManualClock } from '../../helpers/manual-clock.js'
import type { SeededRandom } from '../../helpers/seeded-random.js'
import { SimulatedDisk } from './disk.js'

/** What is asked of the file system or of LevelDB. */
export interface Operation {
  readonly kind:
    | 'read'
    | 'make'
    | 'write'
    | 'in-place'
    | 'sync'
    | 'rename'
    | 'remove'
    | 'open'
    | 'batch'
    | 'flush'
    | 'close'
  readonly path: string
  /** About what it takes of the disk. */
  readonly bytes: number
  /** Carries out a part of it, as a kill in its middle would. */
  readonly tear?: (random: SeededRandom) => Promise<void>
}

interface Pending {
  readonly operation?: Operation
  readonly happen: () => Promise<void> | void
}

/** The node has ended: the log said that the disk is not to be trusted. */
export class NodeEnded extends Error {}

const BEGIN_MS = 1000
const realImmediate = setImmediate
/** Everything that promises can do now is done when it resolves: nothing but what waits here is left. */
const quiet = (): Promise<void> => new Promise((resolve) => realImmediate(resolve))
/** Whoever waits longer than this for something waits for ever. */
const PATIENCE_MS = 3_600_000
const MOST_HAPPENINGS = 50_000
/** A disk may be so slow that so much time goes by while something is asked of it. */
const HURRIED_MS = 6

/** The log's clock too, and `performance.now`. */
export class World extends ManualClock {
  /** The one that the hooks bring operations to. */
  static current: World | null = null
  readonly disk: SimulatedDisk
  /** Set while an operation is carried out: what it calls in turn is part of it. */
  isCarryingOut = false
  private pending: Pending[] = []
  /** Turns of the event loop that somebody waits for come in order. */
  private turns: (() => void)[] = []
  private ended: Error | null = null
  happenings = 0

  constructor(private readonly random: SeededRandom) {
    super(BEGIN_MS)
    this.disk = new SimulatedDisk(random)
    World.current = this
  }

  nextTurn(callback: () => void): void {
    this.turns.push(callback)
  }

  perform<T>(operation: Operation, carryOut: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.pending.push({
        operation,
        happen: async () => {
          let tell: () => void
          try {
            const value = await this.carryOut(() => this.disk.carryOut(operation, carryOut))
            tell = () => resolve(value)
          } catch (error) {
            tell = () => reject(error as Error)
          }
          if (this.random.chance(0.5)) tell()
          else this.pending.push({ happen: tell })
        },
      })
    })
  }

  /** One thing happens. @returns false if there is none but timers. */
  async happen(): Promise<boolean> {
    await quiet()
    if (this.ended) throw this.ended
    const choices = this.pending.length + (this.turns.length > 0 ? 1 : 0)
    if (choices === 0) return false
    this.happenings += 1
    const choice = this.random.below(choices)
    if (choice < this.pending.length) await this.pending.splice(choice, 1)[0].happen()
    else this.turns.shift()?.()
    if (this.random.chance(0.03)) this.passTime(this.nowMs + HURRIED_MS)
    await quiet()
    if (this.ended) throw this.ended
    return true
  }

  /** So many things happen, or all there are. */
  async run(count: number): Promise<void> {
    while (count-- > 0 && (await this.happen()));
  }

  /** Everything happens that does not wait for a time. */
  async settle(): Promise<void> {
    for (let left = MOST_HAPPENINGS; await this.happen(); left--)
      if (left === 0)
        throw new Error(
          `it goes on for ever, with ${this.pending.map(({ operation }) => operation && `${operation.kind} ${operation.path}`).join(', ')}`,
        )
  }

  /** Things happen until the promise has settled; where nothing else does, time goes by. @throws NodeEnded. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let hasSettled = false
    const settled = (): void => {
      hasSettled = true
    }
    promise.then(settled, settled)
    const startedAtMs = this.nowMs
    await quiet()
    for (let left = MOST_HAPPENINGS; !hasSettled; left--) {
      if (left === 0)
        throw new Error(
          `what is waited for does not come, with ${this.pending.map(({ operation }) => operation && `${operation.kind} ${operation.path}`).join(', ')}`,
        )
      if (await this.happen()) continue
      if (hasSettled) break
      const next = this.nextTimerMs
      if (next > startedAtMs + PATIENCE_MS) throw new Error('what is waited for never happens')
      this.passTime(next)
    }
    return promise
  }

  /** Time goes by, in steps, and what it brings about happens. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    for (;;) {
      await this.settle()
      const next = Math.min(endMs, this.nextTimerMs)
      this.passTime(next)
      if (next >= endMs) break
    }
    await this.settle()
  }

  /** Time goes by until nothing is to happen shortly: what is written a moment later is written. */
  async comeToRest(): Promise<void> {
    do await this.advance(HURRIED_MS)
    while (this.nextTimerMs <= this.nowMs + HURRIED_MS)
  }

  /** Time goes by, and what is due has yet to happen. */
  pass(ms: number): void {
    this.passTime(this.nowMs + ms)
  }

  /** To be called by the node for a failure that ends it: from then on nothing happens any more. */
  end(reason: Error): void {
    this.ended ??= new NodeEnded(reason.message, { cause: reason })
  }

  /** As SIGKILL does: whatever was under way is left as it is. @returns the operations that were asked for and not carried out. */
  async stop(): Promise<Operation[]> {
    await quiet()
    const interrupted = this.pending.flatMap(({ operation }) => operation ?? [])
    this.pending = []
    this.turns = []
    this.takeTimers(Number.POSITIVE_INFINITY)
    this.ended = null
    return interrupted
  }

  /** For what is done to the files behind the log's back. */
  async carryOut<T>(action: () => Promise<T>): Promise<T> {
    this.isCarryingOut = true
    try {
      return await action()
    } finally {
      this.isCarryingOut = false
    }
  }

  private passTime(toMs: number): void {
    this.nowMs = Math.max(this.nowMs, toMs)
    for (const { callback } of this.takeTimers(this.nowMs)) callback()
  }
}
