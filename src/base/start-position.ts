// Where to begin reading, as it is written in a query, in a body and on the command line.

export type StartPosition =
  | { readonly at: 'earliest' }
  | { readonly at: 'latest' }
  | { readonly at: 'offset'; readonly offset: number }
  | { readonly at: 'time'; readonly timestampMs: number }

/** What parseStartPosition takes, as a phrase that follows "use". */
export const START_POSITION_HELP = 'earliest, latest, an offset, or @ and a time (ISO 8601 or milliseconds since 1970)'

/**
 * Reads `earliest`, `latest`, an offset, or `@` and a time. An ISO time without a zone is local.
 * @returns null if it is none of these.
 */
export function parseStartPosition(text: string): StartPosition | null {
  if (text === 'earliest' || text === 'latest') return { at: text }
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return { at: 'offset', offset: Number(text) }
  if (!text.startsWith('@')) return null
  const timestampMs = parseTime(text.slice(1))
  return timestampMs === null ? null : { at: 'time', timestampMs }
}

/** ISO 8601 (at least a date), or milliseconds since 1970-01-01 UTC. @returns null if it is neither. */
export function parseTime(text: string): number | null {
  const timestampMs = /^\d{1,15}$/.test(text) ? Number(text) : /^\d{4}-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(timestampMs) ? null : timestampMs
}
