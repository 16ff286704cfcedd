// Tells an MQTT broker what it will never be sent: the ledger of this upstream as one retained message, anew with each connection and whenever
// it has changed, so that whoever reads over there knows what is missing and why.

import type { Clock } from '../../base/clock.js'
import { concerns, type LedgerRow } from '../../state/ledger.js'

export interface LedgerReportOptions {
  readonly node: string
  readonly upstream: string
  readonly mqttTopic: string
  /** Largest message, bytes. */
  readonly maxBytes: number
  /** Another number whenever the ledger has changed. */
  readonly version: () => number
  readonly rows: () => readonly LedgerRow[]
  readonly clock: Clock
}

const LOOK_EVERY_MS = 1_000
/** Rows told at most; the rest is counted. */
const MAX_ROWS = 200

export class LedgerReport {
  constructor(private readonly options: LedgerReportOptions) {}

  /** Tells it over one connection, until the returned function is called. @param publish Retained, QoS 1. */
  start(publish: (mqttTopic: string, payload: Buffer) => void): () => void {
    const { clock, version, mqttTopic } = this.options
    let told: number | null = null
    let cancel = (): void => {}
    const look = (): void => {
      if (version() !== told) {
        told = version()
        publish(mqttTopic, this.message())
      }
      cancel = clock.after(LOOK_EVERY_MS, look)
    }
    look()
    return () => cancel()
  }

  /** The latest rows, as many as there is room for. */
  message(): Buffer {
    const { node, upstream, rows, maxBytes } = this.options
    const ours = rows().filter((row) => concerns(row, upstream))
    const latest = [...ours].sort((a, b) => b.atMs - a.atMs).slice(0, MAX_ROWS)
    const records = ours.reduce((sum, row) => sum + row.records, 0)
    for (;;) {
      const told = latest.map((row) => ({
        stream: row.stream,
        partition: row.partition,
        first_offset: row.firstOffset,
        last_offset: row.lastOffset,
        records: row.records,
        reason: row.reason,
        at_ms: row.atMs,
      }))
      const leftOut = ours.length - latest.length
      const text = JSON.stringify({ node, upstream, records, rows: told, rows_left_out: leftOut })
      const payload = Buffer.from(text)
      if (payload.length <= maxBytes || latest.length === 0) return payload
      latest.length = Math.floor(latest.length / 2)
    }
  }
}
