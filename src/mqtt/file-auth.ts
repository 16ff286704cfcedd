// Logins and access by mosquitto's two files, read at start and again on demand. A file that cannot be read or understood lets nobody
// in: it is said once, as an error, and the node runs on. Guessing is slowed down (login-throttle.ts).

import { readFile } from 'node:fs/promises'
import { type Clock, systemClock } from '../base/clock.js'
import { messageOf } from '../base/errors.js'
import type { Logger } from '../base/logger.js'
import { type AccessKind, AclFile, type Who } from './acl-file.js'
import { LoginThrottle } from './login-throttle.js'
import { LoginTurns } from './login-turns.js'
import type { Credentials, LoginRefusal } from './mqtt-front-options.js'
import { PasswordFile } from './password-file.js'

export interface FileAuthOptions {
  /** Without one, everybody may connect. */
  readonly passwordFile: string | undefined
  /** Without one, everybody may do everything. */
  readonly aclFile: string | undefined
  readonly logger: Logger
  readonly clock?: Clock
}

const NOTHING_GIVEN: LoginRefusal = { reason: 'it gave no user name and password' }
const WRONG: LoginRefusal = { reason: 'its user name or password is wrong' }
const THROTTLED: LoginRefusal = {
  reason: 'too many logins from its address or under its name have failed just now: unheard, it may try again',
  passing: true,
}
const TOO_MANY_WAIT: LoginRefusal = { reason: 'too many logins wait already', passing: true }
const GONE: LoginRefusal = { reason: null, passing: true }

export class FileAuth {
  private passwords: PasswordFile | null = null
  private acl: AclFile | null = null

  private readonly throttle: LoginThrottle
  private readonly turns = new LoginTurns()

  private constructor(private readonly options: FileAuthOptions) {
    this.throttle = new LoginThrottle(options.clock ?? systemClock)
  }

  static async load(options: FileAuthOptions): Promise<FileAuth> {
    const auth = new FileAuth(options)
    await auth.reload()
    return auth
  }

  /**
   * Reads both files again.
   * @returns for `MqttFront.accessChanged`: whether a login under this name, good before, would fail now.
   */
  async reload(): Promise<(username: string | undefined) => boolean> {
    const before = this.passwords
    const { passwordFile, aclFile } = this.options
    const passwords = passwordFile === undefined ? null : new PasswordFile(await this.read(passwordFile))
    const acl = aclFile === undefined ? null : new AclFile(await this.read(aclFile))
    this.passwords = passwords
    this.acl = acl
    if (passwords?.problem) this.report('nobody can log in', passwordFile, passwords.problem)
    if (acl?.problem) this.report('nobody may publish or receive anything', aclFile, acl.problem)
    return (username) => passwords !== null && before !== null && !passwords.hasSamePassword(username, before)
  }

  readonly authenticate = async (credentials: Credentials): Promise<true | LoginRefusal> => {
    if (this.passwords === null) return true
    const { username, password } = credentials
    // Nothing is guessed where nothing is given.
    if (username === undefined || password === undefined) return NOTHING_GIVEN
    if (!(await this.turns.begin())) return TOO_MANY_WAIT
    try {
      return await this.judge(username, password, credentials)
    } finally {
      this.turns.end()
    }
  }

  readonly authorize = (who: Who, kind: AccessKind, topic: string): boolean =>
    this.acl === null || this.acl.allows(who, kind, topic)

  private async judge(
    username: string,
    password: Buffer,
    { remoteAddress, isGone }: Credentials,
  ): Promise<true | LoginRefusal> {
    for (;;) {
      const { passwords } = this
      if (passwords === null) return true
      if (passwords.problem !== null) return { reason: `nobody can log in: ${passwords.problem}` }
      if (isGone?.()) return GONE
      const attempt = this.throttle.begin(remoteAddress, username)
      if (attempt === null) return THROTTLED
      const known = await passwords.verify(username, password)
      if (known) attempt.succeeded()
      // While it was being hashed the file may have been read again.
      if (passwords === this.passwords) return known || WRONG
    }
  }

  private async read(path: string): Promise<string> {
    try {
      return await readFile(path, 'utf8')
    } catch (error) {
      this.options.logger.error('file cannot be read', { file: path, error: messageOf(error) })
      return ''
    }
  }

  private report(event: string, file: string | undefined, problem: string): void {
    this.options.logger.error(event, { file, problem })
  }
}
