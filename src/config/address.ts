// Addresses to listen on: `127.0.0.1:1883`, `[::1]:1883`, `localhost:0`, `*:1883` (every address of the machine), with a protocol
// in front where it is not the usual one: `mqtts://*:8883`.

import { quote, Unfit } from './unfit.js'

export interface ListenAddress<P extends string = string> {
  readonly protocol: P
  /** A name or IP address without brackets; `::` stands for every address, of both versions. */
  readonly host: string
  /** 0: the system chooses. */
  readonly port: number
}

export interface Protocols<P extends string> {
  /** Where none is written. */
  readonly usual: P
  /** Others that can be written in front. */
  readonly others?: readonly P[]
  readonly unavailable: readonly string[]
}

/** @returns what is wrong as Unfit. */
export function parseListenAddress<P extends string>(
  written: string,
  protocols: Protocols<P>,
): ListenAddress<P> | Unfit {
  const { usual, others = [], unavailable } = protocols
  const match = /^(?:([a-z]+):\/\/)?(\[[0-9a-fA-F:.]+\]|[^\s:/[\]]*):(\d{1,5})\/?$/.exec(written)
  const fix = 'write "HOST:PORT", as in "127.0.0.1:1883", "[::1]:1883" or "*:1883"'
  if (match === null || Number(match[3]) > 65_535)
    return new Unfit(`has ${quote(written)}, which is not an address`, fix)
  const [, scheme = usual, bracketed, port] = match
  if (unavailable.includes(scheme))
    return new Unfit(
      `has ${quote(written)}: listening with ${scheme}:// is not available in this version`,
      `use ${usual}://, with a TLS-terminating proxy in front where the network is not trusted`,
    )
  const protocol = [usual, ...others].find((known) => known === scheme)
  if (protocol === undefined) {
    const known = [usual, ...others].map((each) => `${each}://`).join(' or ')
    return new Unfit(`has ${quote(written)}: ${scheme}:// is no protocol to listen with`, `use ${known}`)
  }
  const host = bracketed.replace(/^\[|\]$/g, '')
  return { protocol, host: host === '' || host === '*' ? '::' : host, port: Number(port) }
}

/** Whether only this machine can reach it. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host)
}

/** `mqtt://127.0.0.1:1883`, `http://[::1]:7883`. */
export function formatAddress({ protocol, host, port }: ListenAddress): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`
}
