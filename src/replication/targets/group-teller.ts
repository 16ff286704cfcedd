// Tells an upstream node the committed offsets of consumer groups as they move, never beyond what it has: a consumer can then go on there.

import { type GroupPosition, MAX_TOLD_GROUPS } from '../node-protocol.js'
import type { Source } from './target.js'

/** Committed offsets of consumer groups. */
export interface GroupPositions {
  groups(): readonly string[]
  ofGroup(group: string): readonly {
    readonly stream: string
    readonly partition: number
    readonly offset: number
    readonly metadata: string
  }[]
}

export interface ToldLane {
  readonly source: Source
  /** One past what the upstream has. */
  readonly ackedEnd: number
}

/** For one connection. */
export class GroupTeller {
  /** Lane and group -> what was told last. */
  private readonly told = new Map<string, number>()

  constructor(private readonly groups: GroupPositions) {}

  /** What has moved since, lane by lane; each list fits into one message, the rest comes with the next call. */
  *moved(lanes: ReadonlyMap<number, ToldLane>): Iterable<{ lane: number; groups: GroupPosition[] }> {
    const rows = new Map<string, GroupPosition[]>()
    for (const group of this.groups.groups())
      for (const { stream, partition, offset, metadata } of this.groups.ofGroup(group)) {
        const key = `${stream}/${partition}`
        const ofLane = rows.get(key) ?? []
        rows.set(key, ofLane)
        ofLane.push({ group, offset, metadata })
      }
    for (const [lane, { source, ackedEnd }] of lanes) {
      const moved: GroupPosition[] = []
      for (const { group, offset, metadata } of rows.get(`${source.stream}/${source.partition}`) ?? []) {
        const reached = Math.min(offset, ackedEnd)
        if (this.told.get(`${lane}/${group}`) === reached || moved.length === MAX_TOLD_GROUPS) continue
        this.told.set(`${lane}/${group}`, reached)
        moved.push({ group, offset: reached, metadata })
      }
      if (moved.length > 0) yield { lane, groups: moved }
    }
  }
}
