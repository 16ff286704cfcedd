// Keeps strange web pages away from MQTT over WebSocket: a page in a browser near the gateway could otherwise speak to it in its user's name.
// A program other than a browser sends no Origin. Used by the WebSocket listener.

import type { IncomingHttpHeaders } from 'node:http'
import { hostname } from 'node:os'

/** @param allowedOrigins As `https://panel.example`; `*` stands for all. Pages that came from this very host are always welcome. */
export function isWelcomePage({ origin, host }: IncomingHttpHeaders, allowedOrigins: readonly string[]): boolean {
  if (origin === undefined || allowedOrigins.includes('*') || allowedOrigins.includes(origin)) return true
  const page = nameIn(origin)
  return host !== undefined && page !== null && page === nameIn(`ws://${host}`) && provesItself(page)
}

/** A name can be made to point here by whoever owns it (DNS rebinding); an address and this machine's own name cannot. */
function provesItself(name: string): boolean {
  const ours = hostname().toLowerCase()
  return /^[\d.]+$/.test(name) || name.startsWith('[') || ['localhost', ours, `${ours}.local`].includes(name)
}

function nameIn(url: string): string | null {
  return URL.canParse(url) ? new URL(url).hostname.toLowerCase() : null
}
