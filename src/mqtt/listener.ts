// Accepts connections on the addresses of the configuration. Used by the front.

import { createServer, type Server, type Socket } from 'node:net'
import { SluiceError } from '../base/errors.js'

export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** @throws SluiceError INVALID_CONFIG unless it is `host:port`, `[v6]:port`, or either after `mqtt://`. */
export function parseListenAddress(text: string): ListenAddress {
  const match = /^(?:mqtt:\/\/)?(?:\[([0-9a-fA-F:.]+)\]|([^:/[\]]*)):(\d{1,5})$/.exec(text)
  const port = match === null ? -1 : Number(match[3])
  if (match === null || port > 65_535)
    throw new SluiceError('INVALID_CONFIG', `cannot listen on "${text}": use host:port, for example 127.0.0.1:1883`, {
      address: text,
    })
  const host = match[1] ?? match[2]
  return { host: host === '' || host === '*' ? '::' : host, port }
}

export interface Listener {
  /** As bound: `127.0.0.1:1883`, with the real port where 0 was asked for. */
  readonly address: string
  /** Accepts nothing more; resolves when the port is free. Connections live on. */
  close(): Promise<void>
}

/**
 * @param text An address as in the configuration.
 * @throws SluiceError ADDRESS_IN_USE, INVALID_CONFIG.
 */
export async function listen(text: string, accept: (socket: Socket) => void): Promise<Listener> {
  const { host, port } = parseListenAddress(text)
  // Without noDelay, an acknowledgement would wait for the peer's delayed TCP ack of the one before.
  const server = createServer({ noDelay: true, highWaterMark: 64 * 1024 }, accept)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(text, error)))
    server.listen(port, host, resolve)
  })
  server.on('error', () => {}) // accept failed, for want of descriptors: the next one may do
  return { address: boundAddress(server), close: () => new Promise((resolve) => server.close(() => resolve())) }
}

function boundAddress(server: Server): string {
  const bound = server.address()
  if (bound === null || typeof bound === 'string') return String(bound)
  return bound.family === 'IPv6' ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`
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
