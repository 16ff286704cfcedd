// Addresses to listen on, as configured: `127.0.0.1:7883`, `[::1]:7883`, `localhost:7883`; with TLS `https://*:7883`, where `*` stands for all.

import { SluiceError } from '../base/errors.js'

export interface ListenAddress {
  readonly host: string
  readonly port: number
  readonly isTls: boolean
}

/** @throws SluiceError INVALID_CONFIG. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:(https?):\/\/)?(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text)
  const port = match === null ? Number.NaN : Number(match[4])
  if (match === null || port > 65_535)
    throw new SluiceError(
      'INVALID_CONFIG',
      `"${text}" is not an address to listen on: write HOST:PORT or [IPV6]:PORT`,
      {
        address: text,
      },
    )
  const host = match[2] ?? match[3]
  return { host: host === '*' ? '::' : host, port, isTls: match[1] === 'https' }
}

export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

export function isLoopback(host: string): boolean {
  const address = host.toLowerCase().replace(/^::ffff:/, '')
  return address === 'localhost' || address === '::1' || /^127(\.\d{1,3}){3}$/.test(address)
}
