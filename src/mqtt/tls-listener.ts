// TLS under MQTT, version 1.2 and above. Loaded only where an address asks for it.

import type { Socket } from 'node:net'
import {
  createServer,
  type SecureContextOptions,
  type Server,
  type TlsOptions as ServerOptions,
  type TLSSocket,
} from 'node:tls'
import { messageOf, SluiceError } from '../base/errors.js'
import type { Door } from './door.js'
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

/**
 * @param served What `server` was made with.
 * @returns how to make what is in the files hold for new connections, as Upgrade.reloadCertificate.
 */
export function reloading(server: Server, tls: TlsOptions, served: SecureContextOptions): () => Promise<boolean> {
  let before = judgesOf(served)
  return async () => {
    const identity = await readIdentity(tls)
    try {
      server.setSecureContext(identity)
    } catch (error) {
      const message = `${tls.certFile} and ${tls.keyFile} do not make a TLS identity: ${messageOf(error)}`
      throw new SluiceError('INVALID_CONFIG', message, {}, error)
    }
    const now = judgesOf(identity)
    const changed = before !== now
    before = now
    return changed
  }
}

/** What certificates of clients are judged by. */
function judgesOf({ ca, crl }: SecureContextOptions): string {
  return `${ca}\0${crl}`
}

/** Tells the door whom TLS has turned away, and why. */
export function tellFailures(server: Server, door: Door): void {
  server.on('tlsClientError', (error, socket) => {
    const { authorizationError } = socket
    const words = 'reason' in error ? String(error.reason) : error.message
    door.handshakeFailed(addressOf(socket), authorizationError ? notGood(socket) : words)
  })
}

/** A TLS socket that has been destroyed has no address any more; the one below it does. */
function addressOf(socket: TLSSocket): string | undefined {
  return socket.remoteAddress ?? (socket as TLSSocket & { readonly _parent?: Socket })._parent?.remoteAddress
}

export function notGood({ authorizationError }: TLSSocket): string {
  return `its certificate is not good: ${authorizationError}`
}

export async function tlsUpgrade({ door, accept, tls }: ListenOptions): Promise<Upgrade> {
  const options = await tlsServerOptions(tls)
  const server = createServer(options, (socket) => {
    socket.on('error', () => {}) // the gate has a listener of its own, once there is a gate
    door.handshakeDone(socket)
    const { remoteAddress } = socket
    if (remoteAddress === undefined || !isGood(socket)) {
      door.handshakeFailed(remoteAddress, notGood(socket))
      socket.destroy()
      return
    }
    accept({ stream: socket, remoteAddress, certificateName: certificateNameOf(socket) })
  })
  tellFailures(server, door)
  return {
    take: (socket) => server.emit('connection', socket),
    reloadCertificate: reloading(server, tls!, options),
  }
}
