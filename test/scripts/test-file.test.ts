import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { runTestFile, type TestFileResult } from '../../scripts/test-file.js'

const project = join(import.meta.dirname, '..', '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'test-file-'))
mkdirSync(folder, { recursive: true })
symlinkSync(join(project, 'node_modules'), join(folder, 'node_modules'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a test file with this body as `npm test` would. */
async function run(body: string, limitSeconds = 30): Promise<TestFileResult> {
  const path = join(folder, 'planted.test.mjs')
  writeFileSync(path, `import { test } from 'uvu'\n${body}\n`)
  return runTestFile({ name: 'planted.test.ts', path, limitSeconds, alone: false }, folder)
}

test('tests that pass are counted', async () => {
  const result = await run("test('a', () => {}); test('b', () => {}); test.run()")
  assert.equal([result.passed, result.failed, result.skipped, result.problem], [2, 0, 0, null])
})

test('a test that fails is counted, and its output is kept', async () => {
  const result = await run("test('a', () => {}); test('b', () => { throw new Error('rust in the gate') }); test.run()")
  assert.equal([result.passed, result.failed, result.problem], [1, 1, null])
  assert.match(result.output, 'rust in the gate')
})

test('an operating error is shown with code, details and cause, where uvu alone would show nothing and run no further', async () => {
  const result = await run(`import { SluiceError } from '${join(project, 'dist', 'src', 'base', 'errors.js')}'
    const full = new SluiceError('STORAGE_FULL', 'no room', { stream: 'telemetry', limit: 7 }, new Error('the card is old'))
    test('a', () => { throw full }); test('b', () => {}); test.run()`)
  for (const text of ['no room', 'STORAGE_FULL', "stream: 'telemetry'", 'limit: 7', 'the card is old'])
    assert.match(result.output, text)
  assert.equal([result.passed, result.failed, result.problem], [1, 1, null])
})

test('an assertion is shown with what it compared', async () => {
  const result = await run("import * as a from 'uvu/assert'; test('a', () => a.equal([1, 2], [1, 3])); test.run()")
  assert.match(result.output, '(equal)')
  assert.match(result.output, /Actual[\s\S]*3/)
})

test('an error that comes with a code of its own, and no details, is shown with it', async () => {
  const result = await run(
    "import { readFileSync } from 'node:fs'; test('a', () => readFileSync('/no/such')); test.run()",
  )
  assert.match(result.output, '(ENOENT)')
})

test('a file that runs no test counts as failed', async () => {
  const result = await run("test('never run', () => {})")
  assert.equal([result.passed, result.failed, result.problem], [0, 1, 'no test was run'])
})

test('a file that crashes before its tests counts as failed', async () => {
  const result = await run("throw new Error('at the top'); test.run()")
  assert.equal([result.passed, result.failed], [0, 1])
  assert.match(result.output, 'at the top')
})

test('a file that crashes after its tests have passed counts as failed', async () => {
  const result = await run(
    "test('a', () => {}); test.run(); setTimeout(() => process.kill(process.pid, 'SIGABRT'), 200)",
  )
  assert.equal([result.passed, result.failed, result.problem], [1, 1, 'ended by SIGABRT'])
})

test('an error in a before hook, which uvu swallows, counts as failed', async () => {
  const result = await run("test.before(() => { throw new Error('no') }); test('a', () => {}); test.run()")
  assert.ok(result.failed > 0)
})

test('a file past its time limit is stopped together with the processes it started', async () => {
  const body = `import { spawn } from 'node:child_process'
    const child = spawn('sleep', ['600'], { stdio: 'inherit' })
    console.log('child ' + child.pid)
    test('hangs', () => new Promise(() => {})); test.run()`
  const result = await run(body, 1)
  assert.equal([result.passed, result.failed], [0, 1])
  assert.match(result.problem ?? '', 'still running after 1 s')
  assert.ok(result.durationMs < 20_000, 'did not wait for the child')
})

test('a file that hangs once its tests have passed is run again, and counts as failed if it hangs again', async () => {
  const once = `import { existsSync, writeFileSync } from 'node:fs'
    const marker = new URL('hung-once', import.meta.url)
    if (!existsSync(marker)) setInterval(() => {}, 1000)
    writeFileSync(marker, '')
    test('a', () => {}); test.run()`
  const result = await run(once, 5)
  assert.equal([result.passed, result.failed, result.problem, result.hungBefore], [1, 0, null, true])
  const again = await run("setInterval(() => {}, 1000); test('a', () => {}); test.run()", 3)
  assert.equal([again.passed, again.failed], [1, 1])
  assert.match(again.problem ?? '', 'still running after 3 s')
})

test('a skipped test is counted, with its reason', async () => {
  const helper = join(project, 'dist', 'test', 'helpers', 'skip.js')
  const result = await run(`import { unlessSkipped } from '${helper}'
    const when = unlessSkipped(test, 'there is no moon'); when('howls', () => {}); test.run()`)
  assert.equal([result.passed, result.failed, result.skipped], [0, 0, 1])
  assert.equal(result.skipReasons, ['howls: there is no moon'])
})

test.run()
