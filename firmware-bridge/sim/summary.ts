// How a simulation is getting on, in a few lines: drawn again and again on a terminal, written every ten seconds elsewhere.

import type { DeviceStatus } from '../devices/device-registry.js'
import type { SimulatedDevice } from './fleet.js'

const CLEAR_SCREEN = '\x1b[H\x1b[2J'
/** Devices that are shown one by one. */
const MAX_ROWS = 20

/** Acknowledged by then, of all devices together. */
export interface Progress {
  readonly atMs: number
  readonly acked: number
}

export class Summary {
  private last: Progress = { atMs: performance.now(), acked: 0 }

  constructor(
    private readonly title: string,
    private readonly isTerminal: boolean,
  ) {}

  /** @param seenByNode Null where the node is elsewhere. */
  text(devices: readonly SimulatedDevice[], seenByNode: readonly DeviceStatus[] | null): string {
    const rows = devices.slice(0, MAX_ROWS).map((device) => rowOf(device, seenByNode))
    const lines = [this.title, '', ...table([HEADINGS, ...rows])]
    if (devices.length > MAX_ROWS) lines.push(`… and ${devices.length - MAX_ROWS} more`)
    return `${this.isTerminal ? CLEAR_SCREEN : ''}${[...lines, '', this.totals(devices)].join('\n')}\n`
  }

  private totals(devices: readonly SimulatedDevice[]): string {
    const sum = (value: (device: SimulatedDevice) => number) => devices.reduce((total, one) => total + value(one), 0)
    const now = { atMs: performance.now(), acked: sum(({ traffic }) => traffic.counters.acked) }
    const perSecond = ((now.acked - this.last.acked) * 1000) / (now.atMs - this.last.atMs)
    this.last = now
    const connected = devices.filter((device) => device.connected).length
    const latencies = devices.flatMap(({ traffic }) => traffic.latenciesMs).sort((a, b) => a - b)
    const at = (share: number) => `${(latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(1)} ms`
    const frames = sum(({ sentFrames }) => sentFrames)
    const harmed = sum(({ harmedFrames }) => harmedFrames)
    const share = frames === 0 ? 0 : (100 * harmed) / frames
    return [
      `${connected} of ${devices.length} connected; ${now.acked} messages acknowledged, ${perSecond.toFixed(0)}/s`,
      `from published to acknowledged p50 ${at(0.5)}, p99 ${at(0.99)}`,
      `${frames} frames sent, ${harmed} of them harmed (${share.toFixed(1)}%)`,
    ].join('\n')
  }
}

const HEADINGS = ['DEVICE', 'STATE', 'PUBLISHED', 'ACKED', 'REFUSED', 'RESETS', 'FRAMES', 'HARMED', 'GAPS', 'RESENDS']

function rowOf(device: SimulatedDevice, seenByNode: readonly DeviceStatus[] | null): string[] {
  const { id, connected, sentFrames, harmedFrames, traffic } = device
  const { published, acked, refused, resets } = traffic.counters
  const seen = seenByNode?.find((status) => status.id === id)
  const counts = [published, acked, refused, resets, sentFrames, harmedFrames].map(String)
  return [id, connected ? 'connected' : 'away', ...counts, String(seen?.gaps ?? '-'), String(seen?.resends ?? '-')]
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows.map((row) =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  )
}
