// Forgets the offsets of groups that nobody uses any more (KIP-211): without members, and without a commit, for the retention time. That is
// powered-on time (D11): neither a jump of the clock nor a year on the shelf costs a group its place. When a group was last in use is stored at
// each sweep, so that a crash makes one forgotten later, never earlier.

import type { Clock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import type { StateOperation, StateStore, StateTable } from '../state/types.js'
import type { GroupCoordinator } from './group-coordinator.js'

const SWEEPS_PER_RETENTION = 24
const MAX_SWEEP_INTERVAL_MS = 60 * 60_000

interface Use {
  /** Powered-on time, milliseconds, of the sweep that last found it in use. */
  readonly atMs: number
  /** Wall clock of its newest commit then: another one is use. */
  readonly commit: number
}

export interface OffsetExpiryOptions {
  readonly state: StateStore
  readonly coordinator: GroupCoordinator
  readonly poweredOnMs: () => number
  readonly retentionMs: number
  readonly clock: Clock
  readonly logger: Logger
}

export class OffsetExpiry {
  private readonly sweepMs: number
  private cancel = (): void => {}
  private sweeping: Promise<void> = Promise.resolve()
  private stopped = false

  private constructor(
    private readonly options: OffsetExpiryOptions,
    private readonly table: StateTable<Use>,
    private readonly uses: Map<string, Use>,
  ) {
    this.sweepMs = Math.min(MAX_SWEEP_INTERVAL_MS, options.retentionMs / SWEEPS_PER_RETENTION)
  }

  static async start(options: OffsetExpiryOptions): Promise<OffsetExpiry> {
    const table = options.state.table<Use>('group-use')
    const uses = new Map<string, Use>()
    for await (const [group, use] of table.entries()) uses.set(group, use)
    const expiry = new OffsetExpiry(options, table, uses)
    expiry.sweepLater()
    return expiry
  }

  /** Resolves once no write of its own is on its way. */
  async stop(): Promise<void> {
    this.stopped = true
    this.cancel()
    await this.sweeping
  }

  private sweepLater(): void {
    if (this.stopped) return
    this.cancel = this.options.clock.after(this.sweepMs, () => {
      this.sweeping = this.sweep()
        .catch((error) => this.options.logger.warn('groups not looked through', { reason: messageOf(error) }))
        .then(() => this.sweepLater())
    })
  }

  private async sweep(): Promise<void> {
    const { coordinator, poweredOnMs, retentionMs, logger } = this.options
    const nowMs = poweredOnMs()
    const operations: StateOperation<Use>[] = []
    const groups = new Set(coordinator.withOffsets())
    for (const group of groups) {
      const { members, offsets } = coordinator.describe(group)
      const commit = Math.max(...offsets.map(({ committedAtMs }) => committedAtMs))
      const use = this.uses.get(group)
      if (members.length > 0 || use === undefined || use.commit !== commit) {
        this.uses.set(group, { atMs: nowMs, commit })
        operations.push({ put: group, value: { atMs: nowMs, commit } })
        // It may have been in use until just before this sweep.
      } else if (nowMs - use.atMs > retentionMs + this.sweepMs) {
        await coordinator.remove(group)
        groups.delete(group)
        logger.info('consumer group forgotten, nobody has used it', { group, offsets: offsets.length })
      }
    }
    for (const group of this.uses.keys())
      if (!groups.has(group)) {
        this.uses.delete(group)
        operations.push({ delete: group })
      }
    if (operations.length > 0) await this.table.write(operations)
  }
}
