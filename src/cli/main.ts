// From the command line to a command and back to an exit code: 0 done, 1 failed, 2 misuse. Operating errors are one line with the way
// out; a stack trace is for us, and is shown only with SLUICE_DEBUG=1.

import { readFileSync } from 'node:fs'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { BrokenInvariant } from '../base/assert.js'
import { messageOf, SluiceError } from '../base/errors.js'
import { nearestName } from '../base/nearest.js'
import { snakeCased } from '../base/snake-case.js'
import { ApiClient } from './api-client.js'
import { COMMON_OPTIONS, type Command, type CommandContext, type OptionSpecs, UsageError } from './command.js'
import { COMMANDS, type Commands } from './commands.js'
import { commandHelp, overview } from './help.js'
import { Interruption } from './interruption.js'
import { Output } from './output.js'

export interface Surroundings extends Pick<CommandContext, 'stdout' | 'stderr' | 'stdin' | 'env'> {
  readonly interruption: Interruption
  /** By name; default: those there are. */
  readonly commands?: Commands
}

/** Runs the command line of this process and ends it. */
export async function runProcess(): Promise<void> {
  const stdout = new Output(process.stdout)
  const stderr = new Output(process.stderr)
  const interruption = new Interruption(process)
  // Nobody reads any more (`sluice consume … | head`): a quiet end, not a failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') interruption.readerGone()
    else process.exit(1)
  })
  process.stderr.on('error', () => {})
  // Thrown where no command could catch it: nothing can be known of the state, so the process ends, and quickly.
  process.on('uncaughtException', (error) => {
    const command = process.argv[2] ?? ''
    const options = { asJson: false, debug: process.env['SLUICE_DEBUG'] === '1', stderr }
    void report(error, Object.hasOwn(COMMANDS, command) ? command : null, options).finally(() => process.exit(1))
  })
  const code = await main(process.argv.slice(2), {
    stdout,
    stderr,
    stdin: process.stdin,
    env: process.env,
    interruption,
  })
  await stdout.flushed()
  await stderr.flushed()
  // Connections kept alive must not hold up a program that is done.
  process.exit(code)
}

/** @returns the exit code. */
export async function main(argv: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr, env, commands = COMMANDS } = surroundings
  const first = argv[0] ?? ''
  // Known before the options are parsed, for errors of the parsing itself.
  const asJson = argv.includes('--json')
  try {
    if (first === '--version' || first === '-V' || first === 'version') return await printVersion(stdout)
    if (first === '' || first === '--help' || first === '-h' || (first === 'help' && argv.length === 1)) {
      await (first === '' ? stderr : stdout).write(overview(await loadAll(commands)))
      return first === '' ? 2 : 0
    }
    if (first.startsWith('-')) throw new UsageError(`the command comes first: sluice COMMAND ${first} …`)
    const command = await load(commands, first === 'help' ? argv[1] : first)
    if (first === 'help') {
      await stdout.write(commandHelp(command))
      return 0
    }
    return await runCommand(command, argv.slice(1), surroundings)
  } catch (error) {
    const known = Object.hasOwn(commands, first) ? first : null
    return report(error, known, { asJson, debug: env['SLUICE_DEBUG'] === '1', stderr })
  }
}

async function runCommand(command: Command, args: string[], surroundings: Surroundings): Promise<number> {
  const { values, positionals } = parse(command, args)
  const { interruption, commands = COMMANDS, ...streams } = surroundings
  if (values['help'] === true) {
    await streams.stdout.write(commandHelp(command))
    return 0
  }
  const { min, max } = command.positionals ?? { min: 0, max: 0 }
  if (positionals.length > max) throw new UsageError(`unexpected argument ${JSON.stringify(positionals[max])}`)
  if (positionals.length < min) throw new UsageError(`too few arguments; usage: sluice ${command.usage[0]}`)
  const api = connect(values['url'] ?? streams.env['SLUICE_URL'], values['token'] ?? streams.env['SLUICE_TOKEN'])
  try {
    return await command.run({
      ...streams,
      values: values as CommandContext['values'],
      positionals,
      loadCommands: () => loadAll(commands),
      api,
      get signal() {
        return interruption.signal
      },
    })
  } finally {
    api.close()
  }
}

function connect(url: unknown, token: unknown): ApiClient {
  try {
    return new ApiClient(
      typeof url === 'string' && url !== '' ? url : undefined,
      typeof token === 'string' ? token : undefined,
    )
  } catch {
    throw new UsageError(`--url takes an http or https URL, not ${JSON.stringify(url)}`)
  }
}

function parse(command: Command, args: string[]): { values: Record<string, unknown>; positionals: string[] } {
  const options: OptionSpecs = { ...command.options, ...COMMON_OPTIONS }
  try {
    const config = {
      args: withNegativeNumbers(args, options),
      options,
      allowPositionals: true,
      strict: true,
    } as unknown as ParseArgsConfig
    return parseArgs(config) as { values: Record<string, unknown>; positionals: string[] }
  } catch (error) {
    const unknown = /^Unknown option '(-[^']*)'/.exec(messageOf(error))?.[1]
    if (unknown === undefined) throw new UsageError(firstSentence(messageOf(error)))
    const nearest = nearestName(
      unknown,
      Object.keys(options).map((name) => `--${name}`),
    )
    throw new UsageError(`unknown option ${unknown}${nearest === null ? '' : `; did you mean ${nearest}?`}`)
  }
}

/** In `--shift-by -10` the number belongs to the option before it: no option begins with a digit. */
function withNegativeNumbers(args: readonly string[], options: OptionSpecs): string[] {
  const joined: string[] = []
  for (const arg of args) {
    const option = joined.at(-1)
    const takesIt = option?.startsWith('--') && options[option.slice(2)]?.type === 'string'
    if (takesIt && /^-\d/.test(arg)) joined[joined.length - 1] = `${option}=${arg}`
    else joined.push(arg)
  }
  return joined
}

async function load(commands: Commands, name: string): Promise<Command> {
  if (Object.hasOwn(commands, name)) return (await commands[name]()).command
  const nearest = nearestName(name, Object.keys(commands))
  throw new UsageError(`unknown command ${JSON.stringify(name)}${nearest === null ? '' : `; did you mean ${nearest}?`}`)
}

function loadAll(commands: Commands): Promise<Command[]> {
  return Promise.all(Object.values(commands).map(async (loadOne) => (await loadOne()).command))
}

async function printVersion(stdout: Output): Promise<number> {
  const packageFile = new URL('../../../package.json', import.meta.url)
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }
  await stdout.line(`sluice ${version} (Node.js ${process.versions.node}, ${process.platform} ${process.arch})`)
  return 0
}

async function report(
  error: unknown,
  command: string | null,
  { asJson, debug, stderr }: { asJson: boolean; debug: boolean; stderr: Output },
): Promise<number> {
  const who = command === null ? 'sluice' : `sluice ${command}`
  const told = (line: string): Promise<void> => stderr.line(`${who}: ${line}`)
  if (error instanceof UsageError) {
    await told(`${error.message}\nSee: ${command === null ? 'sluice --help' : `sluice help ${command}`}`)
    return 2
  }
  if (error instanceof SluiceError) {
    const { code, message, details } = error
    await (asJson ? stderr.json({ error: { code, message, details: snakeCased(details) } }) : told(message))
  } else if (!(error instanceof Error && error.name === 'AbortError')) {
    await told(`unexpected error: ${messageOf(error)}${debug ? '' : ' (SLUICE_DEBUG=1 shows where)'}`)
  }
  // A broken invariant is a fault of this program: where it broke is what a report of it needs.
  const showStack = debug || error instanceof BrokenInvariant
  if (showStack && error instanceof Error && error.stack !== undefined) await stderr.line(error.stack)
  return 1
}

function firstSentence(text: string): string {
  return text.split(/\.\s|\n/)[0]
}
