// What must outlive a restart of each upstream, beside its cursors: whether an operator has paused it, what it has spent of its day's
// bytes, what it has subscribed to over there. Kept in memory as it is on disk; replication reads and writes it.

import type { StateStore, StateTable } from './types.js'

export interface FactsOfUpstream {
  readonly paused?: boolean
  /** Topic filters that the upstream holds a subscription for in the session of this node. */
  readonly subscribed?: readonly string[]
  /** When the running day of its byte budget began, in powered-on time, and what is spent of it, rounded up. */
  readonly day?: { readonly startedAtMs: number; readonly spentBytes: number }
}

export class UpstreamFacts {
  private readonly rows = new Map<string, FactsOfUpstream>()

  private constructor(private readonly table: StateTable<FactsOfUpstream>) {}

  static async open(state: StateStore): Promise<UpstreamFacts> {
    const facts = new UpstreamFacts(state.table<FactsOfUpstream>('upstreams'))
    for await (const [name, row] of facts.table.entries()) facts.rows.set(name, row)
    return facts
  }

  get(name: string): FactsOfUpstream {
    return this.rows.get(name) ?? {}
  }

  /** Keeps the other facts. `get` shows it at once; durable when it resolves. */
  set(name: string, changed: FactsOfUpstream): Promise<void> {
    const row = { ...this.get(name), ...changed }
    this.rows.set(name, row)
    return this.table.put(name, row)
  }
}
