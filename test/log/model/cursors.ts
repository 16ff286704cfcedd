// How far destinations have come, as they say it to the log.

import * as assert from 'uvu/assert'
import type { Offset } from '../../../src/record/record.js'
import { Ranges } from './ranges.js'
import type { Scene } from './scene.js'
import { DESTINATIONS } from './settings.js'

interface ModelCursor {
  readonly next: number
  readonly acked: readonly { readonly first: number; readonly next: number }[]
}

const NOWHERE: ModelCursor = { next: 0, acked: [] }

export class ModelCursors {
  /** `destination/stream/partition` -> every value it has had, the last one last, and those that may be on disk all the same. */
  private readonly cursors = new Map<string, { history: ModelCursor[]; open: ModelCursor[]; isMoving: boolean }>()

  constructor(private readonly scene: Scene) {}

  move(): void {
    const { model, log, partition } = this.scene.anyPartition()
    const destination = DESTINATIONS[this.scene.random.below(DESTINATIONS.length)]
    const key = `${destination}/${model.name}/${partition}`
    const cursor = this.cursors.get(key) ?? { history: [NOWHERE], open: [], isMoving: false }
    this.cursors.set(key, cursor)
    if (cursor.isMoving) return
    const before = cursor.history.at(-1) as ModelCursor
    const end = log.highWatermark(partition)
    const next = before.next + this.scene.random.below(Math.max(0, end - before.next) + 1)
    const acked: { first: number; next: number }[] = []
    for (let at = next; this.scene.random.chance(0.3) && at + 3 < end && acked.length < 8; ) {
      const first = at + 1 + this.scene.random.below(3)
      at = Math.min(end, first + 1 + this.scene.random.below(20))
      if (first < at) acked.push({ first, next: at })
    }
    const moved = { next, acked }
    cursor.open.push(moved)
    cursor.isMoving = true
    const set = this.scene.running.cursors.set(destination, model.name, partition, next as Offset, acked as never)
    const settled = set.then(
      () => {
        cursor.history.push(moved)
        cursor.open = []
      },
      (error) => assert.ok(this.scene.mayRefuse(error), String(error)),
    )
    this.scene.spawn(
      settled.finally(() => {
        cursor.isMoving = false
      }),
    )
  }

  /** What a destination has had of a partition at some time, which may be more than it says now. */
  had(destination: string, stream: string, partition: number): Ranges {
    const had = new Ranges()
    for (const { next, acked } of this.cursors.get(`${destination}/${stream}/${partition}`)?.history ?? []) {
      had.add(0, next - 1)
      for (const range of acked) had.add(range.first, range.next - 1)
    }
    return had
  }

  /** The last value, or the one before where the last was under way; any of them in a state database that has gone back. */
  settle(stateOlder: boolean): void {
    for (const [key, { history, open }] of this.cursors) {
      const [destination, stream, partition] = key.split('/')
      const next = this.scene.running.cursors.get(destination, stream, Number(partition)) ?? 0
      const acked = this.scene.running.cursors.acked(destination, stream, Number(partition))
      const found = {
        next: Number(next),
        acked: acked.map((range) => ({ first: Number(range.first), next: Number(range.next) })),
      }
      const possible = stateOlder ? [NOWHERE, ...history, ...open] : [...history.slice(-1), ...open]
      const isPossible = possible.some((one) => JSON.stringify(one) === JSON.stringify(found))
      assert.ok(isPossible, `the cursor ${key} is ${JSON.stringify(found)}; ${JSON.stringify(possible)}`)
      this.cursors.set(key, { history: [...history, found], open: [], isMoving: false })
    }
  }
}
