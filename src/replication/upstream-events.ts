// What an upstream tells of itself while it runs: `$SYS/sluice/upstream/NAME/…` to whoever subscribes here, at once when its state changes, and a line
// in the log for changes that no other line tells.

import type { Clock } from '../base/clock.js'
import type { Logger } from '../base/logger.js'
import type { UpstreamState, UpstreamStatus } from './upstream-options.js'

export interface UpstreamEventsOptions {
  readonly status: () => readonly UpstreamStatus[]
  /** Something worth telling at once has changed. */
  readonly onChange: () => void
  readonly clock: Clock
  readonly logger: Logger
}

const ROOT = '$SYS/sluice/upstream/'
const WATCH_EVERY_MS = 1_000
/** Connections and pauses have log lines of their own; idle and flowing change with every message. */
const LOGGED: readonly UpstreamState[] = ['stalled', 'over_budget']

/** MQTT topics and their values. */
export function* sysValuesOf(statuses: readonly UpstreamStatus[]): Iterable<[mqttTopic: string, value: string]> {
  for (const status of statuses) {
    const values: Record<string, string | number | null> = {
      state: status.state,
      'backlog/records': status.backlogRecords,
      'backlog/bytes': status.backlogBytes,
      'backlog/oldest_ms': status.oldestWaitingTimestampMs,
      rate: status.ratePerSecond,
      in_flight: status.inFlight,
      delivered: status.deliveredTotal,
      lost: status.lostRecords,
      rejected: status.rejectedTotal,
      drain_ms: status.drainForecastMs,
      error: status.lastError ?? null,
    }
    for (const [name, value] of Object.entries(values)) yield [`${ROOT}${status.name}/${name}`, String(value ?? '')]
  }
}

export class UpstreamEvents {
  private readonly states = new Map<string, UpstreamState>()
  private cancel: () => void

  constructor(private readonly options: UpstreamEventsOptions) {
    this.cancel = this.watchLater()
  }

  stop(): void {
    this.cancel()
  }

  private watchLater(): () => void {
    return this.options.clock.after(WATCH_EVERY_MS, () => {
      this.watch()
      this.cancel = this.watchLater()
    })
  }

  private watch(): void {
    const { status, onChange, logger } = this.options
    let changed = false
    for (const { name, state, backlogRecords, lastError, daily } of status()) {
      const before = this.states.get(name)
      if (before === state) continue
      this.states.set(name, state)
      changed = true
      if (before === undefined || !(LOGGED.includes(state) || LOGGED.includes(before))) continue
      const fields = { from: before, to: state, backlog_records: backlogRecords, reason: lastError }
      const endsInMs = state === 'over_budget' ? daily?.endsInMs : undefined
      logger.child(`upstream/${name}`).info('state has changed', { ...fields, day_ends_in_ms: endsInMs })
    }
    if (changed) onChange()
  }
}
