// The program as a process: what only shows from outside.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runSluice, startSluice } from '../helpers/node-process.js'
import { tempDir } from '../helpers/temp-dir.js'
import { fakeNode } from './cli-helper.js'

const folder = tempDir()

/** Files loaded by a run of the program. */
async function loadedBy(args: readonly string[]): Promise<string[]> {
  const coverage = tempDir()
  await runSluice(args, { env: { NODE_V8_COVERAGE: coverage } })
  return readdirSync(coverage).flatMap((file) => {
    const { result } = JSON.parse(readFileSync(join(coverage, file), 'utf8')) as { result: { url: string }[] }
    return result.map(({ url }) => url)
  })
}

test('exit codes tell done, failed and misuse apart', async () => {
  assert.is((await runSluice(['--version'])).code, 0)
  assert.is((await runSluice(['check', '--config', join(folder, 'none')])).code, 1)
  assert.is((await runSluice(['frobnicate'])).code, 2)
})

test('a reader that goes away ends the program quietly', async () => {
  const entry = {
    destination: 'x'.repeat(1000),
    stream: 's',
    partition: 0,
    first_offset: 0,
    last_offset: 0,
    records: 1,
    reason: 'r',
    at_ms: 0,
  }
  const node = await fakeNode(200, {
    entries: Array.from({ length: 2000 }, () => entry),
    total_entries: 2000,
    total_records: 2000,
  })
  const program = startSluice(['ledger', '--json', '--url', node.url])
  program.closeStdout()
  assert.equal(await program.ended, { code: 0, signal: null })
  assert.is(program.stderr, '')
  await node.close()
})

test('commands load neither the broker nor the store, and help loads no node', async () => {
  for (const args of [['check'], ['ledger'], ['help', 'serve'], ['--help']]) {
    const loaded = await loadedBy(args)
    assert.ok(
      loaded.some((url) => url.endsWith('/cli/main.js')),
      'the probe sees what is loaded',
    )
    const heavy = loaded.filter((url) =>
      /node_modules\/(aedes|level|classic-level|mqtt|cbor-x)\/|\/src\/node\.js$/.test(url),
    )
    assert.equal(heavy, [], args.join(' '))
  }
})

test('the thread pool has eight threads before anything uses it, unless it was set', async () => {
  const script = join(folder, 'print.cjs')
  writeFileSync(script, `process.on('exit', () => console.log('pool=' + process.env.UV_THREADPOOL_SIZE))`)
  const env = { NODE_OPTIONS: `--require=${script}` }
  assert.match((await runSluice(['--version'], { env })).stdout, /pool=8/)
  assert.match((await runSluice(['--version'], { env: { ...env, UV_THREADPOOL_SIZE: '3' } })).stdout, /pool=3/)
})

test('./sluice.toml is used where there is one', async () => {
  const cwd = join(folder, 'here')
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'sluice.toml'), 'frobnicate = 1')
  const { code, stdout } = await runSluice(['check'], { cwd })
  assert.is(code, 1)
  assert.match(stdout, /^sluice\.toml:1: frobnicate/)
})

test('a half-written configuration does not start a node, and touches nothing', async () => {
  const cwd = join(folder, 'half')
  mkdirSync(cwd)
  writeFileSync(join(cwd, 'sluice.toml'), '[mqtt\nlisten = ')
  const { code, stdout, stderr } = await runSluice(['serve'], { cwd })
  assert.is(code, 1)
  assert.is(stdout, '')
  assert.match(stderr, /^sluice serve: the configuration has a problem:\n {2}sluice\.toml:1:6: is not TOML/)
  assert.not.match(stderr, /\n {4}at /)
  assert.equal(readdirSync(cwd), ['sluice.toml'])
})

test.run()
