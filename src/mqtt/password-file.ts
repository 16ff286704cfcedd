// Checks user names and passwords against a mosquitto password file, read as it is. Fails closed: an empty file or a single line that
// cannot be understood lets nobody in, and `problem` says why.
//
//   line = user ":" hash
//   hash = "$7$" iterations "$" salt "$" key      PBKDF2-HMAC-SHA-512, salt and key in base64
//        | "$6$" salt "$" digest                  SHA-512 of password and salt, what mosquitto before 2.0 wrote

import { createHash, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify(pbkdf2)
const KEY_BYTES = 64
const EDGE_BLANKS = /^[ \t\v\f]+|[ \t\v\f]+$/g
const MAX_ITERATIONS = 10_000_000

interface PasswordHash {
  /** 0: the older digest. */
  readonly iterations: number
  readonly salt: Buffer
  readonly key: Buffer
}

/** Hashed in place of an unknown user, so that the time an answer takes does not tell which users there are. */
const NOBODY: PasswordHash = { iterations: 101, salt: Buffer.alloc(12), key: Buffer.alloc(KEY_BYTES) }

export class PasswordFile {
  /** Why nobody gets in, as a phrase; null when the file is sound. */
  readonly problem: string | null
  private readonly users = new Map<string, PasswordHash>()

  constructor(text: string) {
    this.problem = this.parse(text)
    if (this.problem !== null) this.users.clear()
  }

  /** Whether this user has this password. An empty one is none, whatever the file says, as mosquitto has it. Never rejects. */
  async verify(username: string | undefined, password: Buffer | undefined): Promise<boolean> {
    if (username === undefined || !password?.length || this.problem !== null) return false
    const known = this.users.get(username)
    const expected = known ?? NOBODY
    const actual = await keyOf(expected, password)
    return timingSafeEqual(actual, expected.key) && known !== undefined
  }

  /** Whether a login under this name that was good by an earlier version of the file is so by this one. */
  hasSamePassword(username: string | undefined, before: PasswordFile): boolean {
    const [now, then] = [this.users.get(username ?? ''), before.users.get(username ?? '')]
    if (now === undefined || then === undefined) return false
    return now.iterations === then.iterations && now.salt.equals(then.salt) && now.key.equals(then.key)
  }

  private parse(text: string): string | null {
    for (const [index, raw] of text.split('\n').entries()) {
      const line = raw.replace(/\r$/, '')
      if (line.trim() === '' || line.startsWith('#')) continue
      const colon = line.indexOf(':')
      const hash = colon < 1 ? null : parseHash(line.slice(colon + 1))
      if (hash === null) return `line ${index + 1} is not "user:$7$…", as sluice passwd or mosquitto_passwd write it`
      // As mosquitto has it.
      this.users.set(line.slice(0, colon).replaceAll(EDGE_BLANKS, ''), hash)
    }
    return this.users.size === 0 ? 'it names no user' : null
  }
}

function parseHash(text: string): PasswordHash | null {
  const [empty, type, ...fields] = text.trim().split('$')
  if (empty !== '') return null
  if (type === '7' && fields.length === 3) {
    const iterations = /^[1-9]\d{0,7}$/.test(fields[0]) ? Number(fields[0]) : 0
    return iterations > 0 && iterations <= MAX_ITERATIONS ? hashOf(iterations, fields[1], fields[2]) : null
  }
  return type === '6' && fields.length === 2 ? hashOf(0, fields[0], fields[1]) : null
}

function hashOf(iterations: number, saltText: string, keyText: string): PasswordHash | null {
  const salt = Buffer.from(saltText, 'base64')
  const key = Buffer.from(keyText, 'base64')
  return salt.length > 0 && key.length === KEY_BYTES ? { iterations, salt, key } : null
}

function keyOf({ iterations, salt }: PasswordHash, password: Buffer): Promise<Buffer> {
  if (iterations > 0) return derive(password, salt, iterations, KEY_BYTES, 'sha512')
  return Promise.resolve(createHash('sha512').update(password).update(salt).digest())
}
