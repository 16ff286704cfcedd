import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { silentLogger } from '../../src/base/logger.js'
import { AclFile } from '../../src/mqtt/acl-file.js'
import { FileAuth } from '../../src/mqtt/file-auth.js'
import { PasswordFile } from '../../src/mqtt/password-file.js'
import { FakeClock } from '../helpers/fake-clock.js'
import { findProgram } from '../helpers/mosquitto.js'
import { unlessSkipped } from '../helpers/skip.js'
import { tempDir } from '../helpers/temp-dir.js'
import { PINGREQ, publishPacket, RawClient } from './raw-client.js'
import { nextMessage, startFront } from './start-front.js'

/** What `mosquitto_passwd -b` 2.0 wrote for user "ada", password "lovelace". */
const ADA = `ada:${pbkdf2Line('lovelace')}`

function pbkdf2Line(password: string): string {
  const salt = Buffer.from('0123456789ab')
  const key = execFileSync(process.execPath, [
    '-e',
    `process.stdout.write(crypto.pbkdf2Sync(${JSON.stringify(password)}, Buffer.from('0123456789ab'), 101, 64, 'sha512').toString('base64'))`,
  ])
  return `$7$101$${salt.toString('base64')}$${key}`
}

function digestLine(password: string): string {
  const salt = Buffer.from('0123456789ab')
  const digest = createHash('sha512').update(password).update(salt).digest('base64')
  return `$6$${salt.toString('base64')}$${digest}`
}

const bytes = (password: string) => Buffer.from(password)

test('a password is accepted in both formats of mosquitto, another one and another user are not', async () => {
  const file = new PasswordFile(`# users\n${ADA}\n\nold:${digestLine('sesame')}\r\n`)
  assert.is(file.problem, null)
  assert.ok(await file.verify('ada', bytes('lovelace')))
  assert.ok(await file.verify('old', bytes('sesame')))
  assert.not(await file.verify('ada', bytes('Lovelace')))
  assert.not(await file.verify('old', bytes('lovelace')))
  assert.not(await file.verify('eve', bytes('lovelace')))
  assert.not(await file.verify('ada', undefined))
  assert.not(await new PasswordFile(`eve:${pbkdf2Line('')}`).verify('eve', bytes('')), 'an empty password is none')
  assert.not(await file.verify(undefined, undefined))
})

/** Logins by a password file that knows ada. */
async function authOf(): Promise<(password: string, remoteAddress: string) => ReturnType<FileAuth['authenticate']>> {
  const passwordFile = join(tempDir(), 'passwd')
  writeFileSync(passwordFile, `${ADA}\n`)
  const auth = await FileAuth.load({ passwordFile, aclFile: undefined, logger: silentLogger, clock: new FakeClock() })
  return (password, remoteAddress) =>
    auth.authenticate({ clientId: 'c', username: 'ada', password: bytes(password), remoteAddress })
}

test('two thousand devices that share a name and an address come back at once, and all are let in', async () => {
  const login = await authOf()
  const answers = await Promise.all(Array.from({ length: 2000 }, () => login('lovelace', '10.0.0.1')))
  assert.equal(
    answers.filter((answer) => answer !== true),
    [],
  )
})

test('of a hundred guesses at once ten are heard, and who has the password is told to come again', async () => {
  const login = await authOf()
  const guesses = Array.from({ length: 100 }, (_, i) => login('guess', `10.0.0.${i}`))
  const answers = [...(await Promise.all(guesses)), await login('lovelace', '10.0.1.1')]
  const heard = answers.filter((answer) => answer !== true && !answer.passing)
  assert.is(heard.length, 10)
  assert.is(answers.filter((answer) => answer !== true && answer.passing).length, 91)
})

for (const [name, text, problem] of [
  ['an empty file', '', 'names no user'],
  ['a file of comments', '# nobody\n\n', 'names no user'],
  ['a password in clear', `${ADA}\neve:plain\n`, 'line 2'],
  ['an unknown hash', `${ADA}\neve:$5$abc$def\n`, 'line 2'],
  ['a hash cut short', `${ADA.slice(0, -8)}\n`, 'line 1'],
  ['no iterations', `ada:$7$0$YWJj$${'A'.repeat(86)}==\n`, 'line 1'],
] as const)
  test(`with ${name} nobody gets in, and the problem is named`, async () => {
    const file = new PasswordFile(text)
    assert.match(file.problem ?? '', problem)
    assert.not(await file.verify('ada', bytes('lovelace')))
  })

unlessSkipped(test, findProgram('mosquitto_passwd') === null ? 'mosquitto_passwd is not installed' : null)(
  'a file written by mosquitto_passwd is understood',
  async () => {
    const path = join(tempDir(), 'passwd')
    execFileSync(findProgram('mosquitto_passwd')!, ['-b', '-c', path, 'ada', 'lovelace'], { stdio: 'ignore' })
    const auth = await FileAuth.load({ passwordFile: path, aclFile: undefined, logger: silentLogger })
    const login = (password: string) =>
      auth.authenticate({ clientId: 'c', username: 'ada', password: bytes(password), remoteAddress: '' })
    assert.is(await login('lovelace'), true)
    assert.is.not(await login('x'), true)
  },
)

const ACL = `
topic read public/#
topic deny public/secret

user ada
topic sensors/#
topic deny sensors/private/#
topic read $SYS/#
topic write cmd/my valve

pattern readwrite clients/%c/#
pattern read users/%u
`
const ada = { clientId: 'c1', username: 'ada' }
const anonymous = { clientId: 'c2', username: undefined }

for (const [who, kind, topic, allowed] of [
  [anonymous, 'receive', 'public/a', true],
  [anonymous, 'publish', 'public/a', false],
  [anonymous, 'receive', 'public/secret', false],
  [anonymous, 'receive', 'sensors/a', false],
  [anonymous, 'publish', 'clients/c2/x', true],
  [anonymous, 'receive', 'users/', false],
  [ada, 'publish', 'sensors/a', true],
  [ada, 'receive', 'sensors/a/b', true],
  [ada, 'publish', 'sensors/private/a', false],
  [ada, 'receive', 'public/a', false],
  [ada, 'receive', '$SYS/broker/uptime', true],
  [ada, 'publish', '$SYS/broker/uptime', false],
  [ada, 'publish', 'cmd/my valve', true],
  [ada, 'receive', 'cmd/my valve', false],
  [ada, 'publish', 'clients/c1/x', true],
  [ada, 'publish', 'clients/c2/x', false],
  [ada, 'receive', 'users/ada', true],
  [ada, 'publish', 'users/ada', false],
  [ada, 'subscribe', 'sensors/#', true],
  [ada, 'subscribe', '#', true],
  [ada, 'subscribe', 'cmd/+', false],
  [ada, 'subscribe', 'sensors/+/#', true],
  [ada, 'subscribe', 'sensors/private/#', false],
  [ada, 'subscribe', 'sensors/private/+', false],
  [ada, 'subscribe', 'sensors/+/a', true],
  [anonymous, 'subscribe', 'public/secret', false],
  [anonymous, 'subscribe', 'public/+', true],
  [ada, 'subscribe', 'other/#', false],
  [{ clientId: '#', username: undefined }, 'publish', 'clients/anything/x', false],
  [{ clientId: '+', username: undefined }, 'publish', 'clients/+/x', false],
] as const)
  test(`${who.username ?? `client ${who.clientId}`} may ${allowed ? '' : 'not '}${kind} ${topic}`, () => {
    const acl = new AclFile(ACL)
    assert.is(acl.problem, null)
    assert.is(acl.allows(who, kind, topic), allowed)
  })

for (const [text, problem] of [
  ['', 'allows nothing'],
  ['topic #\nusr ada\n', 'line 2'],
  ['topic reed a/b\n', 'reed'],
  ['topic read a/#/b\n', 'line 1'],
  ['user\n', 'line 1'],
] as const)
  test(`with an ACL file ${JSON.stringify(text)} nobody may do anything, and the problem is named`, () => {
    const acl = new AclFile(text)
    assert.match(acl.problem ?? '', problem)
    assert.not(acl.allows(anonymous, 'publish', 'a'))
  })

test('a node with both files lets the right ones in and closes the connection of a QoS 1 publish that is not allowed', async () => {
  const directory = tempDir()
  writeFileSync(join(directory, 'passwd'), `${ADA}\n`)
  writeFileSync(join(directory, 'acl'), 'user ada\ntopic sensors/#\ntopic read news\n')
  const auth = await FileAuth.load({
    passwordFile: join(directory, 'passwd'),
    aclFile: join(directory, 'acl'),
    logger: silentLogger,
  })
  const { connect, client, front, testLog, stop } = await startFront({
    authenticate: auth.authenticate,
    authorize: auth.authorize,
  })
  const refused = (options: object) =>
    new Promise<number>((resolve) =>
      client(options).once('error', (error) => resolve((error as { code?: number }).code ?? -1)),
    )
  assert.is(await refused({}), 5)
  assert.is(await refused({ username: 'ada', password: 'wrong' }), 5)
  assert.is(await refused({ username: 'eve', password: 'lovelace' }), 5)
  const login = { username: 'ada', password: 'lovelace' }
  const subscriber = await connect(login)
  const grants = await subscriber.subscribeAsync(['sensors/#', 'other']).catch((error) => error)
  assert.instance(grants, Error)
  const message = nextMessage(subscriber)
  const publisher = await connect(login)
  await publisher.publishAsync('sensors/1', 'x', { qos: 1 })
  assert.is((await message).payload, 'x')
  await publisher.publishAsync('news', 'dropped', { qos: 0 })
  const closed = new Promise<void>((resolve) => publisher.once('close', () => resolve()))
  publisher.publish('news', 'denied', { qos: 1 })
  await closed
  assert.is(testLog.log.stream('mqtt').nextOffset(0 as never), 1)
  // What is revoked ends for connections that are already there.
  writeFileSync(join(directory, 'acl'), 'user ada\ntopic write sensors/#\n')
  await auth.reload()
  front.accessChanged()
  const second = await connect(login)
  let received = 0
  subscriber.on('message', () => {
    received += 1
  })
  await second.publishAsync('sensors/1', 'y', { qos: 1 })
  await second.publishAsync('sensors/1', 'z', { qos: 0 })
  await subscriber.unsubscribeAsync('sensors/#')
  assert.is(received, 0)
  await stop()
})

test('while the password is being checked nothing else of the connection is taken', async () => {
  let admit: (admitted: boolean) => void = () => {}
  const { port, testLog, stop } = await startFront({
    authenticate: () =>
      new Promise((resolve) => {
        admit = resolve
      }),
  })
  const client = await RawClient.open(port)
  client.write(Buffer.from('100d00044d51545404020000000161', 'hex'), publishPacket('t', 'x', { qos: 1 }), PINGREQ)
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(client.packets, [])
  assert.is(testLog.log.stream('mqtt').nextOffset(0 as never), 0)
  admit(false)
  assert.equal([...((await client.next())?.body ?? [])], [0, 5])
  await client.whenClosed()
  assert.is(testLog.log.stream('mqtt').nextOffset(0 as never), 0)
  await stop()
})

test.run()
