// The certificate a node shows and how it judges those of clients: read from PEM files at the start and again on demand, so that a renewed
// certificate needs no restart. Used by the listeners with TLS.

import { readFile } from 'node:fs/promises'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import { messageOf, SluiceError } from '../base/errors.js'

export interface TlsOptions {
  readonly certFile: string
  readonly keyFile: string
  /** Whose client certificates are good. With it clients are asked for one, and a bad one is refused. */
  readonly caFile?: string | undefined
  /** Which of these have been revoked. Needs a list of each authority in caFile, and none out of date. */
  readonly crlFile?: string | undefined
  /** Clients without a certificate are refused. */
  readonly requireClientCert: boolean
}

/** @throws SluiceError INVALID_CONFIG naming the file that cannot be read. */
export async function readIdentity({ certFile, keyFile, caFile, crlFile }: TlsOptions): Promise<SecureContextOptions> {
  const [cert, key, ca, crl] = await Promise.all([
    read(certFile),
    read(keyFile),
    caFile === undefined ? undefined : read(caFile),
    crlFile === undefined ? undefined : read(crlFile),
  ])
  return { cert, key, ca, crl, minVersion: 'TLSv1.2' }
}

/** @returns the name in a client's certificate, which has been verified, empty if that has none; undefined without a certificate. */
export function certificateNameOf(socket: TLSSocket): string | undefined {
  if (!socket.authorized) return undefined
  const name: unknown = socket.getPeerCertificate()?.subject?.CN
  // A subject may have several.
  return typeof name === 'string' ? name : ''
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw new SluiceError('INVALID_CONFIG', `${path} cannot be read: ${messageOf(error)}`, { path }, error)
  }
}
