// Keeps web pages away from a node on loopback. A page in a browser on the gateway can send requests to 127.0.0.1: with a name of
// its own that resolves there (DNS rebinding: the Host header gives it away) or plainly across sites (the Origin header does).

import type { IncomingMessage } from 'node:http'
import { hostname } from 'node:os'
import { SluiceError } from '../base/errors.js'
import { isLoopback } from './listen-address.js'
import { quote } from './parameters.js'

/** @throws SluiceError FORBIDDEN for a request that a web page of another site could have caused. */
export function guardAgainstWebPages(request: IncomingMessage, allowedHosts: readonly string[]): void {
  const { host, origin } = request.headers
  if (host !== undefined && isLoopback(request.socket.localAddress ?? '') && !isOurName(host, allowedHosts))
    throw new SluiceError(
      'FORBIDDEN',
      `the Host header says ${quote(host)}, which is not a name of this node: use localhost or its address`,
      { host },
    )
  if (origin !== undefined && request.method !== 'GET' && origin.replace(/^https?:\/\//, '') !== host)
    throw new SluiceError('FORBIDDEN', `a web page at ${quote(origin)} may not change anything here`, { origin })
}

function isOurName(host: string, allowedHosts: readonly string[]): boolean {
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase()
  // An address proves itself: a page that rebinds needs a name.
  if (/^[\d.]+$/.test(name) || name.includes(':')) return true
  if (name === 'localhost' || name.endsWith('.localhost')) return true
  const ours = hostname().toLowerCase()
  return name === ours || name === `${ours}.local` || allowedHosts.includes(name)
}
