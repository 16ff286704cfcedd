// WebSocket under MQTT, MQTT 3.1.1 section 6, plain or over TLS. Loaded only where an address asks for it. HTTP requests that are no upgrade
// are answered with 426.

import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { WebSocketServer } from 'ws'
import type { ListenOptions, Upgrade } from './listener.js'
import { certificateNameOf } from './tls-identity.js'
import { isGood, notGood, reloading, tellFailures, tlsServerOptions } from './tls-listener.js'
import { isWelcomePage } from './web-page-origin.js'
import { WebSocketStream } from './websocket-stream.js'

/** What clients of MQTT 3.1 asked for; 3.1.1 has `mqtt` [MQTT-6.0.0-3]. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1']
const MAX_HEADER_BYTES = 8 * 1024
/** Of one message. Each costs some hundred bytes, however small it is. */
const MAX_FRAGMENTS = 1024

export async function webSocketUpgrade(options: ListenOptions, secure: boolean): Promise<Upgrade> {
  const { door, accept, tls, allowedOrigins, maxMessageBytes } = options
  const limits = { maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: 1 }
  const tlsOptions = secure ? await tlsServerOptions(tls) : null
  const tlsServer = tlsOptions === null ? null : createTlsServer({ ...tlsOptions, ...limits })
  const server = tlsServer ?? createServer(limits)
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    maxFragments: MAX_FRAGMENTS,
    handleProtocols: (offered) => SUBPROTOCOLS.find((known) => offered.has(known)) ?? false, // [MQTT-6.0.0-4]
  })
  server.on('request', (_request, response) => {
    response.writeHead(426, { Upgrade: 'websocket', Connection: 'close' }).end('MQTT over WebSocket is spoken here.\n')
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {}) // from here on it is not the HTTP server's any more
    const refuse = (status: number, reason: string): void => {
      door.handshakeFailed(request.socket.remoteAddress, reason)
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    }
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
    if (tlsServer !== null && !isGood(request.socket as TLSSocket)) refuse(403, notGood(request.socket as TLSSocket))
    else if (!isWelcomePage(request.headers, allowedOrigins))
      refuse(403, `a web page at ${request.headers.origin} is not among mqtt.allowed_origins`)
    else if (!SUBPROTOCOLS.some((known) => offered.includes(known)))
      refuse(400, 'it did not ask for the WebSocket subprotocol mqtt')
    else
      sockets.handleUpgrade(request, socket, head, (webSocket) => {
        door.handshakeDone(request.socket)
        accept({
          stream: new WebSocketStream(webSocket, socket),
          remoteAddress: request.socket.remoteAddress ?? '',
          certificateName: tlsServer === null ? undefined : certificateNameOf(request.socket as TLSSocket),
        })
      })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  if (tlsServer !== null) tellFailures(tlsServer, door)
  return {
    take: (socket) => server.emit('connection', socket),
    reloadCertificate: tlsServer === null ? undefined : reloading(tlsServer, tls!, tlsOptions!),
  }
}
