// Accepts connections on the addresses of the configuration, plain or under TLS and WebSocket, whose code is loaded only where an
// address asks for it. Used by the front.
//
//   socket ─▶ door ─┬─ mqtt ──────────────────────────────▶ accept
//                   ├─ mqtts ─▶ TLS ──────────────────────▶ accept
//                   ├─ ws ────────────▶ HTTP ▶ WebSocket ─▶ accept
//                   └─ wss ───▶ TLS ──▶ HTTP ▶ WebSocket ─▶ accept

import { createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SluiceError } from '../base/errors.js'
import type { Door } from './door.js'
import type { TlsOptions } from './tls-identity.js'

export type Protocol = 'mqtt' | 'mqtts' | 'ws' | 'wss'

export interface ListenAddress {
  readonly protocol: Protocol
  readonly host: string
  readonly port: number
}

/** A stream of MQTT packets. */
export interface Accepted {
  readonly stream: Duplex
  readonly remoteAddress: string
  /** The common name of the client's certificate, empty if it has none, where one was shown and found good. */
  readonly certificateName?: string
}

export interface ListenOptions {
  readonly door: Door
  readonly accept: (accepted: Accepted) => void
  /** Needed for mqtts:// and wss://. */
  readonly tls: TlsOptions | undefined
  /** For ws:// and wss://: web pages, besides those of this host, that may connect; `*` stands for all. */
  readonly allowedOrigins: readonly string[]
  /** Largest WebSocket message, bytes. */
  readonly maxMessageBytes: number
}

export interface Listener {
  /** As bound: `127.0.0.1:1883`, with the real port where 0 was asked for; other protocols than mqtt stand in front. */
  readonly address: string
  /** See Upgrade. */
  reloadCertificate?(): Promise<boolean>
  /** Accepts nothing more; resolves when the port is free. Connections live on. */
  close(): Promise<void>
}

/** What takes over sockets that were let in. */
export interface Upgrade {
  take(socket: Socket, remoteAddress: string): void
  /**
   * Reads the certificate, and those that clients' rest on, again, for new connections.
   * @returns whether the clients' may rest on others now than before.
   * @throws SluiceError INVALID_CONFIG: then all stays as it was.
   */
  reloadCertificate?(): Promise<boolean>
}

/**
 * Connections that the kernel may hold until they are accepted; it takes its own maximum (net.core.somaxconn) where that is less. Beyond, it drops
 * what they begin with, and each tries again after 1, 3, 7 … s: all devices at once, after a power cut, must not come to that.
 */
const BACKLOG = 16_384

/** @throws SluiceError INVALID_CONFIG unless it is `host:port` or `[v6]:port`, or either after `mqtt://`, `mqtts://`, `ws://` or `wss://`. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:(mqtts?|wss?):\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]*)):(\d{1,5})$/.exec(text)
  const port = match === null ? -1 : Number(match[4])
  if (match === null || port > 65_535)
    throw new SluiceError('INVALID_CONFIG', `cannot listen on "${text}": use host:port, for example 127.0.0.1:1883`, {
      address: text,
    })
  const host = match[2] ?? match[3]
  return { protocol: (match[1] ?? 'mqtt') as Protocol, host: host === '' || host === '*' ? '::' : host, port }
}

/**
 * @param text An address as in the configuration.
 * @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG.
 */
export async function listen(text: string, options: ListenOptions): Promise<Listener> {
  const { protocol, host, port } = parseListenAddress(text)
  const upgrade = await upgradeFor(protocol, options)
  // Without noDelay, an acknowledgement would wait for the peer's delayed TCP ack of the one before.
  const server = createServer({ noDelay: true, highWaterMark: 64 * 1024 }, (socket) => {
    const remoteAddress = options.door.admit(socket)
    if (remoteAddress !== null) upgrade.take(socket, remoteAddress)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(text, error)))
    server.listen({ port, host, backlog: BACKLOG }, resolve)
  })
  server.on('error', () => {}) // accept failed, for want of descriptors: the next one may do
  return {
    address: boundAddress(protocol, server),
    reloadCertificate: upgrade.reloadCertificate,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

async function upgradeFor(protocol: Protocol, options: ListenOptions): Promise<Upgrade> {
  if (protocol === 'mqtt') return plain(options)
  if (protocol === 'mqtts') return (await import('./tls-listener.js')).tlsUpgrade(options)
  return (await import('./websocket-listener.js')).webSocketUpgrade(options, protocol === 'wss')
}

function plain({ door, accept }: ListenOptions): Upgrade {
  return {
    take(socket, remoteAddress) {
      door.handshakeDone(socket)
      accept({ stream: socket, remoteAddress })
    },
  }
}

function boundAddress(protocol: Protocol, server: Server): string {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return String(bound)
  const address = bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`
  return protocol === 'mqtt' ? address : `${protocol}://${address}`
}

function listenError(address: string, error: NodeJS.ErrnoException): SluiceError {
  if (error.code === 'EADDRINUSE')
    return new SluiceError(
      'ADDRESS_IN_USE',
      `${address} is taken by another program, perhaps another MQTT broker: stop it, or set mqtt.listen to a free port`,
      { address },
      error,
    )
  return new SluiceError(
    'INVALID_CONFIG',
    `cannot listen on ${address}: ${error.message}; check mqtt.listen`,
    { address },
    error,
  )
}
