// What an upstream, and the HTTP side, needs of the files it names: its password, certificates and key, read and tried once at the start, so that a bad one is
// a problem of the configuration and not of a connection at night.

import { createSecureContext } from 'node:tls'
import { messageOf } from '../base/errors.js'
import { readBytesFile, readTextFile } from './files.js'
import type { UpstreamConfig, UpstreamTls, WrittenConfig } from './schema.js'
import { Unfit } from './unfit.js'

type Report = (key: string, what: string, fix?: string) => void
type WrittenUpstream = WrittenConfig['upstream'][number]
type TlsFiles = Partial<
  Pick<WrittenUpstream, 'caFile' | 'certFile' | 'keyFile'> & Pick<WrittenConfig['mqtt'], 'crlFile'>
>

/** Files that cannot be read are left out here: that was reported where their paths were read. */
export function readUpstreamSecrets(
  upstream: WrittenUpstream,
  report: Report,
): Pick<UpstreamConfig, 'password' | 'tls'> {
  return { password: readPassword(upstream, report), tls: readTls(upstream, report) }
}

function readPassword({ password, passwordFile }: WrittenUpstream, report: Report): string | undefined {
  if (passwordFile === undefined) return password
  const text = readTextFile(passwordFile)
  if (text instanceof Unfit) return undefined
  const [line] = text.split(/\r?\n/, 1)
  if (line === '') report('password_file', 'has an empty first line', 'write the password there')
  return line
}

/** The files of one TLS identity, tried together. */
export function readTls({ caFile, crlFile, certFile, keyFile }: TlsFiles, report: Report): UpstreamTls | undefined {
  const ca = readPem(caFile, 'ca_file', 'CERTIFICATE', report)
  const crl = readPem(crlFile, 'crl_file', 'X509 CRL', report)
  const cert = readPem(certFile, 'cert_file', 'CERTIFICATE', report)
  const key = readPem(keyFile, 'key_file', 'PRIVATE KEY', report)
  if (ca === undefined && cert === undefined && key === undefined) return undefined
  try {
    createSecureContext({ ca, ...(crl && { crl }), ...(cert && key && { cert, key }) })
  } catch (error) {
    const keys = [caFile && 'ca_file', certFile && 'cert_file', keyFile && 'key_file'].filter(Boolean).join(', ')
    const fix = 'give PEM files that belong together, the key without a passphrase'
    report(keys.split(', ')[0], `does not make a TLS identity together with ${keys}: ${messageOf(error)}`, fix)
  }
  return { ca, cert, key }
}

function readPem(path: string | undefined, key: string, kind: string, report: Report): Buffer | undefined {
  if (path === undefined) return undefined
  const bytes = readBytesFile(path)
  if (bytes instanceof Unfit) return undefined
  if (bytes.includes(`${kind}-----`)) return bytes
  report(key, `names ${path}, which holds no ${kind} in PEM`, `convert it: it has a line -----BEGIN ${kind}-----`)
  return undefined
}
