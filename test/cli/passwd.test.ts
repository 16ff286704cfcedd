import { chmodSync, lstatSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { hashPassword, MAX_CREDENTIAL_BYTES, withoutUser, withUser } from '../../src/cli/password-file.js'
import { findProgram, Mosquitto, mosquittoMissing } from '../helpers/mosquitto.js'
import { runProgram } from '../helpers/program.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { runCli } from './cli-helper.js'

const folder = tempDir()
let files = 0
const newFile = (): string => join(folder, `passwd-${++files}`)

test('a hash has the format, rounds and sizes of mosquitto_passwd 2.0', () => {
  const [, kind, rounds, salt, hash] = hashPassword('secret').split('$')
  assert.equal([kind, rounds], ['7', '101'])
  assert.is(Buffer.from(salt, 'base64').length, 12)
  assert.is(Buffer.from(hash, 'base64').length, 64)
  assert.is.not(hashPassword('secret'), hashPassword('secret'))
})

test('a file is created for its owner only, users are added, changed in place and removed', async () => {
  const file = newFile()
  assert.is((await runCli(['passwd', '-c', '-b', file, 'alice', 'one'])).code, 0)
  assert.is(statSync(file).mode & 0o777, 0o600)
  assert.is((await runCli(['passwd', file, 'bob'], { input: 'two\n' })).code, 0)
  const before = readFileSync(file, 'utf8').split('\n')
  assert.is((await runCli(['passwd', '-b', file, 'alice', 'three'])).code, 0)
  const after = readFileSync(file, 'utf8').split('\n')
  assert.match(after[0], /^alice:\$7\$101\$/)
  assert.is.not(after[0], before[0])
  assert.is(after[1], before[1])
  assert.is((await runCli(['passwd', '-D', file, 'alice'])).code, 0)
  assert.is(readFileSync(file, 'utf8'), `${before[1]}\n`)
  assert.equal(
    readdirSync(folder).filter((name) => name.startsWith('.')),
    [],
  )
})

test('other lines, names that only begin alike and Windows line ends are left alone', () => {
  const text = '# gateways\nalice2:x\r\nalice:y\n\nbob:z'
  assert.is(withUser(text, 'alice', 'new'), '# gateways\nalice2:x\nalice:new\n\nbob:z\n')
  assert.is(withoutUser(text, 'alice'), '# gateways\nalice2:x\n\nbob:z\n')
  assert.is(withoutUser(text, 'ali'), null)
})

test('-c does not overwrite, and without -c nothing is created', async () => {
  const file = newFile()
  const absent = await runCli(['passwd', '-b', file, 'a', 'b'])
  assert.is(absent.code, 1)
  assert.match(absent.stderr, /does not exist; make it with: sluice passwd -c/)
  writeFileSync(file, 'a:x\n')
  const present = await runCli(['passwd', '-c', '-b', file, 'a', 'b'])
  assert.is(present.code, 1)
  assert.match(present.stderr, /exists already; leave -c away/)
  assert.is(readFileSync(file, 'utf8'), 'a:x\n')
})

test('names and passwords that the file or MQTT cannot hold are misuse, up to the last byte', async () => {
  const file = newFile()
  writeFileSync(file, '')
  const codeOf = async (user: string, password: string): Promise<number> =>
    (await runCli(['passwd', '-b', file, user, password])).code
  for (const user of ['', 'a:b', '#a', ' a', 'a ', 'a\nb', 'x'.repeat(MAX_CREDENTIAL_BYTES + 1)])
    assert.is(await codeOf(user, 'p'), 2, user)
  for (const password of ['', 'x'.repeat(MAX_CREDENTIAL_BYTES + 1)]) assert.is(await codeOf('a', password), 2)
  assert.is(readFileSync(file, 'utf8'), '')
  assert.is(await codeOf('x'.repeat(MAX_CREDENTIAL_BYTES), 'x'.repeat(MAX_CREDENTIAL_BYTES)), 0)
})

test('options that contradict each other are misuse', async () => {
  const file = newFile()
  for (const args of [
    ['-b', file, 'a'],
    [file, 'a', 'p'],
    ['-D', '-c', file, 'a'],
    ['-D', '-b', file, 'a', 'p'],
    [file],
  ])
    assert.is((await runCli(['passwd', ...args])).code, 2, args.join(' '))
})

test('an input that ends before a password changes nothing', async () => {
  const file = newFile()
  writeFileSync(file, 'a:x\n')
  assert.is.not((await runCli(['passwd', file, 'a'])).code, 0)
  assert.is(readFileSync(file, 'utf8'), 'a:x\n')
})

test('a symbolic link stays one: the file behind it is replaced', async () => {
  const file = newFile()
  const link = newFile()
  writeFileSync(file, '')
  symlinkSync(file, link)
  assert.is((await runCli(['passwd', '-b', link, 'a', 'b'])).code, 0)
  assert.ok(lstatSync(link).isSymbolicLink())
  assert.match(readFileSync(file, 'utf8'), /^a:\$7\$/)
})

test('a folder that is missing or closed is named, without a stack trace', async () => {
  const missing = await runCli(['passwd', '-c', '-b', join(folder, 'none', 'passwd'), 'a', 'b'])
  assert.is(missing.code, 1)
  assert.match(missing.stderr, /cannot write .*: its folder does not exist\n$/)
  if (process.getuid?.() === 0) return
  chmodSync(folder, 0o500)
  const closed = await runCli(['passwd', '-c', '-b', newFile(), 'a', 'b'])
  chmodSync(folder, 0o700)
  assert.match(closed.stderr, /permission denied/)
})

const clientMissing = findProgram('mosquitto_pub') === null ? 'mosquitto_pub is not installed' : null
const withMosquitto = unlessSkipped(test, mosquittoMissing ?? clientMissing)

withMosquitto('a real mosquitto lets in whom the file names, and nobody else', async () => {
  const file = newFile()
  await runCli(['passwd', '-c', '-b', file, 'alice', 'wörd: with $ and space'])
  await runCli(['passwd', file, 'bob'], { input: 'piped\r\n' })
  const broker = await Mosquitto.start({ config: ['allow_anonymous false', `password_file ${file}`] })
  const publish = async (user: string, password: string): Promise<number | null> => {
    const login = ['-u', user, '-P', password]
    const args = ['-p', String(broker.port), ...login, '-t', 'a', '-m', 'b', '-q', '1']
    return (await runProgram(findProgram('mosquitto_pub') ?? '', args)).code
  }
  assert.is(await publish('alice', 'wörd: with $ and space'), 0)
  assert.is(await publish('bob', 'piped'), 0)
  assert.is.not(await publish('alice', 'wrong'), 0)
  assert.is.not(await publish('carol', 'piped'), 0)
  await broker.kill()
})

const passwdMissing = findProgram('mosquitto_passwd') === null ? 'mosquitto_passwd is not installed' : null
unlessSkipped(test, passwdMissing)(
  'a file made by mosquitto_passwd is changed without harm to what it holds',
  async () => {
    const file = newFile()
    const made = await runProgram(findProgram('mosquitto_passwd') ?? '', ['-c', '-b', file, 'old', 'pw'])
    assert.is(made.code, 0, made.stderr)
    const old = readFileSync(file, 'utf8')
    assert.is((await runCli(['passwd', '-b', file, 'new', 'pw'])).code, 0)
    assert.ok(readFileSync(file, 'utf8').startsWith(old))
  },
)

test.run()
