// Writing mosquitto's password files: one `user:$7$iterations$salt$hash` a line, PBKDF2 with SHA-512. Other lines stay as they are.

import { pbkdf2Sync, randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { SluiceError } from '../base/errors.js'

/** What mosquitto_passwd 2.0 writes. The whole file is checked at every login, on a small machine. */
const ITERATIONS = 101
const SALT_BYTES = 12
const HASH_BYTES = 64
/** MQTT strings and passwords have a two-byte length [MQTT-1.5.3]. */
export const MAX_CREDENTIAL_BYTES = 65_535
export const MAX_PASSWORD_FILE_BYTES = 16 * 1024 * 1024

export function hashPassword(password: string, salt: Buffer = randomBytes(SALT_BYTES)): string {
  const hash = pbkdf2Sync(password, salt, ITERATIONS, HASH_BYTES, 'sha512')
  return `$7$${ITERATIONS}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** @returns what is wrong with a user name, as a phrase that follows it, or null. */
export function userNameProblem(user: string): string | null {
  if (user === '') return 'is empty'
  if (/^\s|\s$/.test(user)) return 'begins or ends with a blank, which is not read as a part of it'
  if (user.includes(':')) return 'contains a colon, which ends the name in the file'
  if (user.startsWith('#')) return 'begins with #, which makes the line a comment'
  if (/\p{Cc}/u.test(user)) return 'contains a control character'
  return Buffer.byteLength(user) > MAX_CREDENTIAL_BYTES ? `is longer than ${MAX_CREDENTIAL_BYTES} bytes` : null
}

/** @returns the text of the file with the line of `user` set, in its old place if it had one. */
export function withUser(text: string, user: string, hash: string): string {
  const line = `${user}:${hash}`
  const lines = linesOf(text)
  const at = lines.findIndex((one) => one.startsWith(`${user}:`))
  if (at === -1) lines.push(line)
  else lines[at] = line
  return lines.map((one) => `${one}\n`).join('')
}

/** @returns the text without `user`, or null when it is not there. */
export function withoutUser(text: string, user: string): string | null {
  const lines = linesOf(text)
  const kept = lines.filter((line) => !line.startsWith(`${user}:`))
  return kept.length === lines.length ? null : kept.map((line) => `${line}\n`).join('')
}

function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  return lines
}

/** @returns null when there is no such file. @throws SluiceError NOT_FOUND where it cannot be read. */
export function readPasswordFile(path: string): string | null {
  try {
    const { size } = statSync(path)
    if (size > MAX_PASSWORD_FILE_BYTES)
      throw new SluiceError(
        'INVALID_REQUEST',
        `${path} is larger than ${MAX_PASSWORD_FILE_BYTES} bytes: not a password file`,
      )
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof SluiceError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw fileError('read', path, error)
  }
}

/**
 * Replaces the file in one step: whoever reads it, also after a power cut, sees the old text or the new. For its owner only (0600).
 */
export function writePasswordFile(path: string, text: string): void {
  let temporary: string | null = null
  try {
    const previous = statSync(path, { throwIfNoEntry: false })
    // A symbolic link stays one: what it points to is replaced.
    const target = previous === undefined ? path : realpathSync(path)
    temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}`)
    const file = openSync(temporary, 'wx', 0o600)
    try {
      writeSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    // Made by root, it must stay readable for the user the broker runs as.
    if (previous !== undefined && process.getuid?.() === 0) chownSync(temporary, previous.uid, previous.gid)
    renameSync(temporary, target)
    temporary = null
    syncFolder(dirname(target))
  } catch (error) {
    if (temporary !== null) rmSync(temporary, { force: true })
    throw fileError('write', path, error)
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

function fileError(action: string, path: string, error: unknown): SluiceError {
  const { code } = error as NodeJS.ErrnoException
  const why =
    code === 'EACCES' || code === 'EPERM'
      ? 'permission denied; run this as its owner'
      : code === 'ENOENT'
        ? 'its folder does not exist'
        : code === 'ENOSPC'
          ? 'the disk is full'
          : code === 'EISDIR'
            ? 'it is a folder'
            : (error as Error).message
  return new SluiceError('INVALID_REQUEST', `cannot ${action} ${path}: ${why}`, { path }, error)
}
