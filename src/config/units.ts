// Sizes, durations and rates as they are written in a configuration. KB, MB, GB and TB are powers of 1024 (as are KiB, MiB …): what
// they measure here are blocks of memory and disk.

const BYTE_UNITS: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3, tb: 1024 ** 4 }
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** As regular expressions of JSON Schema, which knows no flag for case. */
export const BYTES_PATTERN = '^\\d+(\\.\\d+)? ?([KkMmGgTt]i?)?[Bb]?$'
export const DURATION_PATTERN = '^(\\d+(\\.\\d+)?(ms|s|m|h|d|w) ?)+$'
export const BYTE_RATE_PATTERN = '^\\d+(\\.\\d+)? ?([KkMmGgTt]i?)?[Bb]/s$'

/** `"64KB"`, `"1.5 GB"`, `"512"` -> bytes, a whole number; null for what is no size. */
export function parseBytes(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgt])i?)?b?$/i.exec(text.trim())
  if (match === null) return null
  return Math.round(Number(match[1]) * BYTE_UNITS[`${(match[2] ?? '').toLowerCase()}b`])
}

/** `"500ms"`, `"7d"`, `"1h30m"` -> milliseconds, a whole number; null for what is no duration. */
export function parseDuration(text: string): number | null {
  if (!new RegExp(DURATION_PATTERN).test(text.trim())) return null
  let ms = 0
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhdw])/g))
    ms += Number(count) * DURATION_UNITS[unit]
  return Math.round(ms)
}

/** `"50KB/s"` -> bytes per second, a whole number; null for what is no rate. */
export function parseByteRate(text: string): number | null {
  return new RegExp(BYTE_RATE_PATTERN).test(text.trim()) ? parseBytes(text.trim().slice(0, -2)) : null
}

/** The shortest exact way to write a size: 65536 -> `64KB`. */
export function formatSize(bytes: number): string {
  for (const unit of ['TB', 'GB', 'MB', 'KB'])
    if (bytes > 0 && bytes % BYTE_UNITS[unit.toLowerCase()] === 0)
      return `${bytes / BYTE_UNITS[unit.toLowerCase()]}${unit}`
  return `${bytes}B`
}
