// TLS under MQTT, version 1.2 and above. Loaded only where an address asks for it.

import { createServer, type Server, type TlsOptions as ServerOptions, type TLSSocket } from 'node:tls'
import { messageOf, SluiceError } from '../base/errors.js'
import type { ListenOptions, Upgrade } from './listener.js'
import { certificateNameOf, readIdentity, type TlsOptions } from './tls-identity.js'

/** What both kinds of TLS server are made with. @throws SluiceError INVALID_CONFIG. */
export async function tlsServerOptions(tls: TlsOptions | undefined): Promise<ServerOptions> {
  if (tls === undefined)
    throw new SluiceError('INVALID_CONFIG', 'listening with TLS needs mqtt.cert_file and mqtt.key_file')
  return {
    ...(await readIdentity(tls)),
    requestCert: tls.caFile !== undefined,
    // One that is shown must be good, even where none need be shown: see `isGood`.
    rejectUnauthorized: tls.requireClientCert,
  }
}

/** Whether the client may go on: it showed no certificate or a good one. */
export function isGood(socket: TLSSocket): boolean {
  return socket.authorized || Object.keys(socket.getPeerCertificate() ?? {}).length === 0
}

/** Makes the certificate in the files the one of new connections. @throws SluiceError INVALID_CONFIG: then the one before stays. */
export async function reload(server: Server, tls: TlsOptions): Promise<void> {
  const identity = await readIdentity(tls)
  try {
    server.setSecureContext(identity)
  } catch (error) {
    const message = `${tls.certFile} and ${tls.keyFile} do not make a TLS identity: ${messageOf(error)}`
    throw new SluiceError('INVALID_CONFIG', message, {}, error)
  }
}

export async function tlsUpgrade({ door, accept, tls }: ListenOptions): Promise<Upgrade> {
  const server = createServer(await tlsServerOptions(tls), (socket) => {
    socket.on('error', () => {}) // the gate has a listener of its own, once there is a gate
    door.handshakeDone(socket)
    const { remoteAddress } = socket
    if (remoteAddress === undefined || !isGood(socket)) {
      door.handshakeFailed(remoteAddress, `its certificate is not good: ${socket.authorizationError}`)
      socket.destroy()
      return
    }
    accept({ stream: socket, remoteAddress, certificateName: certificateNameOf(socket) })
  })
  server.on('tlsClientError', (error, socket) => door.handshakeFailed(socket.remoteAddress, error.message))
  return {
    take: (socket) => server.emit('connection', socket),
    reloadCertificate: () => reload(server, tls!),
  }
}
