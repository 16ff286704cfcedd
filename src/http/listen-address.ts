// Addresses to listen on, as configured: `127.0.0.1:7883`, `[::1]:7883`, `localhost:7883`.

import { SluiceError } from '../base/errors.js'

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** @throws SluiceError INVALID_CONFIG. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:http:\/\/)?(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text)
  const port = match === null ? Number.NaN : Number(match[3])
  if (match === null || port > 65_535)
    throw new SluiceError(
      'INVALID_CONFIG',
      `"${text}" is not an address to listen on: write HOST:PORT or [IPV6]:PORT`,
      {
        address: text,
      },
    )
  return { host: match[1] ?? match[2], port }
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function isLoopback(host: string): boolean {
  const address = host.toLowerCase().replace(/^::ffff:/, '')
  return address === 'localhost' || address === '::1' || /^127(\.\d{1,3}){3}$/.test(address)
}
