import { parseArgs } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { assert as invariant } from '../../src/base/assert.js'
import { SluiceError } from '../../src/base/errors.js'
import { COMMON_OPTIONS, defineCommand, integerOption } from '../../src/cli/command.js'
import { COMMANDS, type Commands } from '../../src/cli/commands.js'
import { runCli } from './cli-helper.js'

const FAILURES: Readonly<Record<string, () => never | number>> = {
  operating: () => {
    throw new SluiceError('STORAGE_FULL', 'the disk is full; free some space', { freeBytes: 0 })
  },
  bug: () => {
    throw new Error('something odd')
  },
  invariant: () => {
    invariant(false, 'offsets are contiguous')
    return 0
  },
  aborted: () => {
    throw new DOMException('stopped', 'AbortError')
  },
  none: () => 0,
}

const probe = defineCommand({
  name: 'probe',
  summary: 'fail as told',
  usage: ['probe HOW [--count N]'],
  options: { count: { type: 'string', value: 'N', short: 'n', description: 'how many' } },
  positionals: { min: 1, max: 1 },
  examples: ['sluice probe none'],
  async run({ values, positionals, stdout }) {
    const count = integerOption('count', values.count, { min: 1, max: 10 })
    if (count !== undefined) await stdout.line(`count ${count}`)
    return FAILURES[positionals[0]]()
  },
})
const commands: Commands = { probe: async () => ({ command: probe }) }

test('no command at all is misuse, and shows what there is', async () => {
  const { code, stdout, stderr } = await runCli([])
  assert.is(code, 2)
  assert.is(stdout, '')
  assert.match(stderr, /Usage: sluice COMMAND/)
})

test('help lists every command, on stdout', async () => {
  for (const args of [['--help'], ['-h'], ['help']]) {
    const { code, stdout, stderr } = await runCli(args)
    assert.is(code, 0)
    assert.is(stderr, '')
    for (const name of Object.keys(COMMANDS)) assert.match(stdout, new RegExp(`^  ${name} +\\S`, 'm'))
  }
})

test('every command explains itself: usage, each option, examples that it would accept', async () => {
  for (const [name, load] of Object.entries(COMMANDS)) {
    const { command } = await load()
    assert.is(command.name, name)
    const { code, stdout } = await runCli(['help', name])
    assert.is(code, 0)
    assert.is((await runCli([name, '--help'])).stdout, stdout)
    assert.is((await runCli([name, '-h'])).stdout, stdout)
    for (const option of Object.keys({ ...command.options, ...COMMON_OPTIONS })) assert.match(stdout, `--${option}`)
    assert.ok(command.examples.length > 0, `${name} has an example`)
    for (const usage of command.usage) assert.ok(usage.startsWith(name), usage)
    for (const example of command.examples) {
      assert.match(stdout, example)
      const options = { ...command.options, ...COMMON_OPTIONS }
      const line = /sluice (\S+)([^|>#]*)/.exec(example)
      assert.is(line?.[1], name, example)
      const args = (line?.[2].match(/'[^']*'|"[^"]*"|\S+/g) ?? []).map((arg) => arg.replace(/^['"]|['"]$/g, ''))
      const { positionals } = parseArgs({ args, options, allowPositionals: true, strict: true })
      const { min, max } = command.positionals ?? { min: 0, max: 0 }
      assert.ok(positionals.length >= min && positionals.length <= max, example)
    }
  }
})

test('the version names the program, Node.js and the machine', async () => {
  const { code, stdout } = await runCli(['--version'])
  assert.is(code, 0)
  assert.match(stdout, /^sluice \d+\.\d+\.\d+ \(Node\.js \d+/)
})

test('a misspelt command or option is misuse that names the nearest', async () => {
  const wrongCommand = await runCli(['ledgr'])
  assert.is(wrongCommand.code, 2)
  assert.match(wrongCommand.stderr, /unknown command "ledgr"; did you mean ledger\?\nSee: sluice --help/)
  assert.match((await runCli(['help', 'chek'])).stderr, /did you mean check\?/)
  assert.match((await runCli(['frobnicate'])).stderr, /unknown command "frobnicate"\n/)
  assert.match((await runCli(['toString'])).stderr, /unknown command/)
  const wrongOption = await runCli(['probe', '--cuont', '1'], { commands })
  assert.is(wrongOption.code, 2)
  assert.match(
    wrongOption.stderr,
    /sluice probe: unknown option --cuont; did you mean --count\?\nSee: sluice help probe/,
  )
})

test('too few and too many arguments, and an option without its value, are misuse', async () => {
  for (const args of [['probe'], ['probe', 'none', 'more'], ['probe', 'none', '--count'], ['--json', 'probe']]) {
    const { code, stderr } = await runCli(args, { commands })
    assert.is(code, 2, args.join(' '))
    assert.not.match(stderr, /unexpected error/)
  }
})

test('a number is taken at its bounds and refused beyond them', async () => {
  for (const [text, code] of [
    ['1', 0],
    ['10', 0],
    ['0', 2],
    ['11', 2],
    ['1.5', 2],
    ['x', 2],
    ['', 2],
  ] as const)
    assert.is((await runCli(['probe', 'none', `--count=${text}`], { commands })).code, code, text)
})

test('a negative number after an option is its value, with and without =', async () => {
  for (const args of [['--count', '-3'], ['--count=-3']]) {
    const { code, stderr } = await runCli(['probe', 'none', ...args], { commands })
    assert.is(code, 2)
    assert.match(stderr, '--count takes a whole number from 1 to 10, not "-3"')
  }
  assert.match((await runCli(['probe', 'none', '-3'], { commands })).stderr, 'unknown option -3')
})

test('an operating error is one line without a stack trace, or one of JSON', async () => {
  const plain = await runCli(['probe', 'operating'], { commands })
  assert.equal(plain, { code: 1, stdout: '', stderr: 'sluice probe: the disk is full; free some space\n' })
  const json = await runCli(['probe', 'operating', '--json'], { commands })
  assert.is(json.code, 1)
  assert.equal(JSON.parse(json.stderr), {
    error: { code: 'STORAGE_FULL', message: 'the disk is full; free some space', details: { free_bytes: 0 } },
  })
})

test('an unexpected error is one line; SLUICE_DEBUG=1 adds where it came from', async () => {
  const { code, stderr } = await runCli(['probe', 'bug'], { commands })
  assert.is(code, 1)
  assert.is(stderr, 'sluice probe: unexpected error: something odd (SLUICE_DEBUG=1 shows where)\n')
  const debug = await runCli(['probe', 'bug'], { commands, env: { SLUICE_DEBUG: '1' } })
  assert.match(debug.stderr, /\n {4}at /)
})

test('a broken invariant always shows where it broke', async () => {
  assert.match((await runCli(['probe', 'invariant'], { commands })).stderr, /offsets are contiguous[\s\S]*\n {4}at /)
})

test('a command that was interrupted says nothing', async () => {
  assert.equal(await runCli(['probe', 'aborted'], { commands }), { code: 1, stdout: '', stderr: '' })
})

test('a bad --url is misuse, wherever it comes from', async () => {
  for (const url of ['ftp://x', 'http://'])
    assert.is((await runCli(['probe', 'none', '--url', url], { commands })).code, 2, url)
  assert.is((await runCli(['probe', 'none'], { commands, env: { SLUICE_URL: 'ftp://x' } })).code, 2)
  assert.is((await runCli(['probe', 'none', '--url', 'gw-17:7883'], { commands })).code, 0)
})

test.run()
