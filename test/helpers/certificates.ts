// Certificates for tests of TLS, made with openssl: an authority, and what it signs.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from './mosquitto.js'
import { tempDir } from './temp-dir.js'

export const opensslMissing = findProgram('openssl') === null ? 'openssl is not installed' : null

export interface Identity {
  readonly certFile: string
  readonly keyFile: string
}

/** An authority of its own in a folder of its own. */
export class Authority {
  readonly folder = tempDir()
  readonly caFile = join(this.folder, 'ca.pem')
  private serial = 1

  constructor() {
    const keyFile = join(this.folder, 'ca.key')
    openssl([
      'req',
      '-x509',
      ...NEW_KEY,
      '-keyout',
      keyFile,
      '-out',
      this.caFile,
      '-days',
      '2',
      '-subj',
      '/CN=test authority',
    ])
  }

  /** @returns a file that lists these certificates as revoked. @param goodUntil There must be another list then. */
  revoke(identities: readonly Identity[], file: string, goodUntil = '20991231000000Z'): string {
    const at = (name: string) => join(this.folder, name)
    writeFileSync(at('index.txt'), '')
    writeFileSync(at('ca.cnf'), `[ca]\ndefault_ca = own\n[own]\ndatabase = ${at('index.txt')}\ndefault_md = sha256\n`)
    const ca = ['ca', '-config', at('ca.cnf'), '-cert', this.caFile, '-keyfile', at('ca.key')]
    for (const { certFile } of identities) openssl([...ca, '-revoke', certFile])
    openssl([...ca, '-gencrl', '-crl_nextupdate', goodUntil, '-out', at(file)])
    return at(file)
  }

  /** A certificate for 127.0.0.1 and localhost, also good for clients. @param subject In place of a common name. */
  issue(commonName: string, file = commonName, { subject = `/CN=${commonName}`, days = 2 } = {}): Identity {
    const at = (name: string) => join(this.folder, name)
    const [certFile, keyFile] = [at(`${file}.pem`), at(`${file}.key`)]
    writeFileSync(at('ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
    openssl(['req', ...NEW_KEY, '-keyout', keyFile, '-out', at('csr'), '-subj', subject])
    const signing = [
      '-CA',
      this.caFile,
      '-CAkey',
      at('ca.key'),
      '-set_serial',
      String(this.serial++),
      '-days',
      String(days),
    ]
    openssl(['x509', '-req', '-in', at('csr'), ...signing, '-extfile', at('ext'), '-out', certFile])
    return { certFile, keyFile }
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

function openssl(args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: 'ignore' })
}
