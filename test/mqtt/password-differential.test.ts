// Password files that mosquitto_passwd and `sluice passwd` have written in turns let the same logins in at a real mosquitto and here. A long run:
// PASSWORD_FILES=200 SLUICE_TEST_SEED=12345 node dist/test/mqtt/password-differential.test.js

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test as uvuTest } from 'uvu'
import * as assert from 'uvu/assert'
import { PasswordFile } from '../../src/mqtt/password-file.js'
import { runCli } from '../cli/cli-helper.js'
import { findProgram, Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { type SeededRandom, withSeed } from '../helpers/seeded-random.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { connectPacket, RawClient, text } from './raw-client.js'
import { startFront } from './start-front.js'

const FILES = Number(process.env['PASSWORD_FILES'] ?? 1)
const CHANGES = 15
const mosquittoPasswd = findProgram('mosquitto_passwd')
const missing = mosquittoMissing ?? (mosquittoPasswd === null ? 'mosquitto_passwd is not installed' : null)
const test = unlessSkipped(uvuTest, missing)
const CHARACTERS = [...'abcXYZ019 .,;$%&/()=?+*~#\'"\\<>|_@é漢😀']

interface Login {
  readonly user: string | undefined
  readonly password: string | undefined
}

test('whoever a password file of either program lets in at mosquitto gets in here, and nobody else', () =>
  withSeed(async (random) => {
    for (let n = 0; n < FILES; n++) await compare(random)
  }))

async function compare(random: SeededRandom): Promise<void> {
  const path = join(tempDir(), 'passwd')
  const expected = await randomFile(path, random)
  const content = readFileSync(path, 'utf8')
  const file = new PasswordFile(content)
  assert.is(file.problem, null, content)
  const mosquitto = await Mosquitto.start({ config: ['allow_anonymous false', `password_file ${path}`] })
  const node = await startFront({ authenticate: ({ username, password }) => file.verify(username, password) })
  try {
    for (const login of loginsTo(expected, random)) {
      const theirs = await letsIn(mosquitto.port, login)
      const ours = await letsIn(node.port, login)
      const should =
        login.user !== undefined && login.password !== undefined && expected.get(login.user) === login.password
      assert.equal({ theirs, ours }, { theirs: should, ours: should }, `${JSON.stringify(login)}, by\n${content}`)
    }
  } finally {
    await mosquitto.kill()
    await node.stop()
  }
}

/** Adds, changes and removes users in turns. @returns who is in the file now, and the passwords. */
async function randomFile(path: string, random: SeededRandom): Promise<Map<string, string>> {
  const expected = new Map<string, string>()
  writeFileSync(path, '')
  for (let n = 0; n < CHANGES; n++) {
    const there = [...expected.keys()]
    const user = there.length > 0 && random.chance(0.4) ? there[random.below(there.length)] : randomText(random, 12)
    const remove = expected.has(user) && expected.size > 1 && random.chance(0.3)
    const password = randomText(random, 30)
    const args = remove ? ['-D', path, user] : ['-b', path, user, password]
    if (random.chance(0.5)) execFileSync(mosquittoPasswd!, args, { stdio: 'ignore' })
    else assert.is((await runCli(['passwd', ...args])).code, 0)
    if (remove) expected.delete(user)
    else expected.set(user, password)
  }
  // What files of older versions have, and what people write into them.
  appendFileSync(path, `# written by hand\n\n \t older\t:${olderHash('of older')}\r\n`)
  expected.set('older', 'of older')
  // mosquitto_passwd writes it so, and mosquitto lets nobody in by it.
  appendFileSync(path, `nothing:${olderHash('')}\n`)
  return expected
}

function loginsTo(expected: ReadonlyMap<string, string>, random: SeededRandom): Login[] {
  const logins: Login[] = [
    { user: undefined, password: undefined },
    { user: '', password: '' },
    { user: 'nothing', password: '' },
    { user: '# written by hand', password: '' },
  ]
  const passwords = [...expected.values()]
  for (const [user, password] of expected) {
    logins.push({ user, password })
    for (const wrong of [
      '',
      `${password} `,
      password.slice(1),
      password.toUpperCase(),
      passwords[random.below(passwords.length)],
    ])
      logins.push({ user, password: wrong })
    logins.push({ user, password: undefined })
    for (const nobody of [` ${user}`, `${user} `, user.toUpperCase(), `${user}x`, user.slice(1)])
      logins.push({ user: nobody, password })
  }
  return logins
}

async function letsIn(port: number, { user, password }: Login): Promise<boolean> {
  const client = await RawClient.open(port)
  const flags = 2 | (user === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40)
  const payload = Buffer.concat([user, password].map((one) => (one === undefined ? Buffer.alloc(0) : text(one))))
  client.write(connectPacket({ clientId: 'c', flags, payload }))
  const connack = await client.next()
  client.socket.destroy()
  if (connack === null || connack.first !== 0x20) throw new Error('CONNECT was not answered')
  return connack.body[1] === 0
}

/** As mosquitto_passwd before 2.0. */
function olderHash(password: string): string {
  const salt = Buffer.from('0123456789ab')
  return `$6$${salt.toString('base64')}$${createHash('sha512').update(password).update(salt).digest('base64')}`
}

function randomText(random: SeededRandom, most: number): string {
  const characters: string[] = Array.from(
    { length: 1 + random.below(most) },
    () => CHARACTERS[random.below(CHARACTERS.length)],
  )
  // Blanks around a name are not part of it, and a line that begins with # is a comment: `sluice passwd` refuses such names.
  const text = characters
    .join('')
    .replace(/^[# ]+/, '')
    .trimEnd()
  return text === '' ? 'x' : text
}

uvuTest.run()
