// `sluice passwd`: who may connect, in mosquitto's file format and with mosquitto_passwd's options.

import { SluiceError } from '../base/errors.js'
import { type CommandContext, defineCommand, UsageError } from './command.js'
import {
  hashPassword,
  MAX_CREDENTIAL_BYTES,
  readPasswordFile,
  userNameProblem,
  withoutUser,
  withUser,
  writePasswordFile,
} from './password-file.js'
import { readSecret } from './read-secret.js'

export const command = defineCommand({
  name: 'passwd',
  summary: 'add, change or remove users of a password file',
  usage: ['passwd [-c] FILE USER', 'passwd [-c] -b FILE USER PASSWORD', 'passwd -D FILE USER'],
  description:
    "The file has mosquitto's format ($7$, PBKDF2 with SHA-512) and serves both brokers. The password is asked for twice, or read from\n" +
    'stdin where that is no terminal. With -b it stands in the command line, where other users of the machine can see it.',
  options: {
    create: { type: 'boolean', short: 'c', description: 'make a new file; one that exists is not overwritten' },
    delete: { type: 'boolean', short: 'D', description: 'remove the user' },
    batch: { type: 'boolean', short: 'b', description: 'take the password from the command line' },
  },
  positionals: { min: 2, max: 3 },
  examples: ['sluice passwd -c /etc/sluice/passwd sensor-1', 'sluice passwd -D /etc/sluice/passwd sensor-1'],
  async run(context) {
    const { values, positionals, stderr } = context
    const [file, user] = positionals
    if (values.delete && (values.create || values.batch)) throw new UsageError('-D stands alone, without -c and -b')
    if ((positionals.length === 3) !== (values.batch === true))
      throw new UsageError(values.batch ? '-b needs a PASSWORD' : 'a password in the command line needs -b')
    const problem = userNameProblem(user)
    if (problem !== null) throw new UsageError(`the user name ${JSON.stringify(user)} ${problem}`)
    const text = existingText(file, values.create === true)
    if (values.delete) {
      const rest = withoutUser(text, user)
      if (rest === null) throw new SluiceError('NOT_FOUND', `there is no user ${JSON.stringify(user)} in ${file}`)
      writePasswordFile(file, rest)
      await stderr.line(`Removed ${user} from ${file}.`)
      return 0
    }
    const password = values.batch ? positionals[2] : await askTwice(user, context)
    if (password === null) return 1
    if (password === '' || Buffer.byteLength(password) > MAX_CREDENTIAL_BYTES)
      throw new UsageError(`a password has 1 to ${MAX_CREDENTIAL_BYTES} bytes`)
    writePasswordFile(file, withUser(text, user, hashPassword(password)))
    await stderr.line(`Wrote ${user} to ${file}.`)
    return 0
  },
})

function existingText(file: string, create: boolean): string {
  const text = readPasswordFile(file)
  if (text === null && !create)
    throw new SluiceError('NOT_FOUND', `${file} does not exist; make it with: sluice passwd -c ${file} USER`)
  if (text !== null && create)
    throw new SluiceError('INVALID_REQUEST', `${file} exists already; leave -c away to add to it`)
  return text ?? ''
}

async function askTwice(user: string, context: Pick<CommandContext, 'stdin' | 'stderr'>): Promise<string | null> {
  const password = await readSecret(`Password for ${user}: `, context)
  if (password === null || context.stdin.isTTY !== true) return password ?? ''
  const again = await readSecret('Again: ', context)
  if (again !== null && again !== password)
    throw new SluiceError('INVALID_REQUEST', 'the two passwords differ; nothing was changed')
  return again
}
