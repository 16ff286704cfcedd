// Numbers as people read them. Every result is plain ASCII, so that columns line up everywhere.

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB']
const DURATION_UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
]

/** 1536 -> `1.5 KB`. KB is 1024 bytes, as in the configuration. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (Math.abs(value) >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 || Math.abs(value) >= 99.95 ? value.toFixed(0) : trimZero(value.toFixed(1))} ${BYTE_UNITS[unit]}`
}

/** 5_025_000 -> `1h 23m`: the two largest units that say something; below a second `250ms`, below a minute `2.5s`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`
  if (ms < 10) return `${trimZero(ms.toFixed(1))}ms`
  if (ms < 999.5) return `${Math.round(ms)}ms`
  if (ms < 59_950) return `${trimZero((ms / 1000).toFixed(1))}s`
  const parts: string[] = []
  let rest = Math.round(ms / 1000) * 1000
  for (const [unit, unitMs] of DURATION_UNITS) {
    const count = Math.floor(rest / unitMs)
    rest -= count * unitMs
    if (count > 0) parts.push(`${count}${unit}`)
    else if (parts.length === 1) break
    if (parts.length === 2) break
  }
  return parts.join(' ')
}

/** 1234567 -> `1,234,567`. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ',')
}

/** `1 record`, `1,200 records`. */
export function formatRecords(count: number): string {
  return `${formatCount(count)} ${count === 1 ? 'record' : 'records'}`
}

/** Events per second: `0/s`, `0.5/s`, `12.3/s`, `15,400/s`. */
export function formatRate(perSecond: number): string {
  return `${perSecond < 99.95 ? trimZero(perSecond.toFixed(1)) : formatCount(perSecond)}/s`
}

/** `50 KB/s`. */
export function formatByteRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`
}

/** Wall-clock time in UTC, to the second: `2026-01-31 12:00:00Z`; `-` where there is none. */
export function formatTime(wallMs: number | null | undefined): string {
  if (wallMs === null || wallMs === undefined || Number.isNaN(new Date(wallMs).getTime())) return '-'
  return new Date(wallMs)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
}

function trimZero(text: string): string {
  return text.endsWith('.0') ? text.slice(0, -2) : text
}
