// Connections that begin as an HTTP request and go on as something else (RFC 9110, section 7.8). A request for a protocol that is not spoken here, as
// some clients send for HTTP/2, is answered as if it had not asked.

import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { SluiceError } from '../base/errors.js'
import { rawAnswer } from './error-answers.js'
import type { HttpReply } from './route.js'

/** A peer that has gone without a word is noticed after some 40 s. */
const KEEPALIVE_MS = 30_000

export interface UpgradeHost {
  /** @returns the other end of what the connection becomes. @throws SluiceError when it may not. */
  open(message: IncomingMessage): Duplex
  errorReply(error: unknown, message: IncomingMessage): HttpReply
}

/** @param connectionEvent By which the server learns of a connection: `secureConnection` for TLS. */
export function takeUpgrades(
  server: Server,
  protocol: string,
  connectionEvent: 'connection' | 'secureConnection',
  host: UpgradeHost,
): void {
  server.on('upgrade', (message: IncomingMessage, stream: Duplex, head: Buffer) => {
    const socket = stream as Socket
    if (message.headers.upgrade?.toLowerCase() !== protocol) {
      socket.unshift(Buffer.concat([headWithoutUpgrade(message), head]))
      server.emit(connectionEvent, socket)
      return
    }
    socket.on('error', () => {})
    let other: Duplex
    try {
      other = host.open(message)
    } catch (error) {
      if (!(error instanceof SluiceError)) throw error
      socket.end(rawAnswer(host.errorReply(error, message)))
      return
    }
    socket.setTimeout(0)
    socket.setKeepAlive(true, KEEPALIVE_MS)
    socket.setNoDelay(true)
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: ${protocol}\r\n\r\n`)
    if (head.length > 0) socket.unshift(head)
    other.on('error', () => {})
    socket.pipe(other).pipe(socket)
    socket.once('close', () => other.destroy())
    other.once('close', () => socket.destroy())
  })
}

/** The request again, for the server to read. */
function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (!/^(upgrade|connection|http2-settings)$/i.test(rawHeaders[i]))
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`)
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}
