// Runs the tests: every dist/test/**/*.test.js is a process of its own with a time limit, two at a time; e2e/ and crash/ come last.
// `npm test -- TEXT …` runs only the files whose path contains one of the texts. A line in the test's source
// `// test-run: alone` keeps others from running beside it, `// test-run: limit 300 s` changes its time limit; both may stand in one
// line, separated by a comma. The very last line is always `N passed, N failed`.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { runTestFile, stopRunningTests, type TestFile, type TestFileResult } from './test-file.js'

const ROOT = join(import.meta.dirname, '..', '..')
const DEFAULT_LIMIT_SECONDS = 120
const PARALLEL = 2

function findTestFiles(filters: readonly string[]): TestFile[] {
  const folder = join(ROOT, 'dist', 'test')
  const files: TestFile[] = []
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!entry.endsWith('.test.js')) continue
    const source = join(ROOT, 'test', entry.replace(/\.js$/, '.ts'))
    if (!existsSync(source)) continue // left by a build of a test that is no longer there
    const name = relative(ROOT, source)
    if (filters.length > 0 && !filters.some((filter) => name.includes(filter))) continue
    const wishes = /^\/\/ test-run: (.*)$/m.exec(readFileSync(source, 'utf8'))?.[1] ?? ''
    const limitSeconds = Number(/limit (\d+) s/.exec(wishes)?.[1] ?? DEFAULT_LIMIT_SECONDS)
    files.push({ name, path: join(folder, entry), limitSeconds, alone: /\balone\b/.test(wishes) })
  }
  return files
}

/** Quick ones first; what needs the machine for itself last. */
function rank(file: TestFile): number {
  if (file.alone) return 3
  return /^test\/(e2e|crash)\//.test(file.name) ? 2 : 1
}

async function runAll(files: readonly TestFile[]): Promise<TestFileResult[]> {
  const results: TestFileResult[] = []
  const report = (result: TestFileResult) => {
    results.push(result)
    const counts = `${result.passed} passed${result.failed > 0 ? `, ${result.failed} FAILED` : ''}`
    const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : ''
    const seconds = (result.durationMs / 1000).toFixed(1)
    const again = result.hungBefore ? ' (had passed before, and hung at its end)' : ''
    console.log(`${results.length}/${files.length}  ${result.file.name}  ${counts}${skipped}  ${seconds} s${again}`)
    if (result.failed > 0)
      console.log(`\n${result.output.trimEnd()}\n${result.problem ? `\n  ${result.problem}\n` : ''}`)
  }
  const work = async (queue: TestFile[]) => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) report(await runTestFile(file, ROOT))
  }
  const together = files.filter((file) => !file.alone)
  await Promise.all(Array.from({ length: PARALLEL }, () => work(together)))
  await work(files.filter((file) => file.alone))
  return results
}

function summarize(results: readonly TestFileResult[]): boolean {
  const sum = (count: (result: TestFileResult) => number) => results.reduce((total, result) => total + count(result), 0)
  const skipped = sum((result) => result.skipped)
  if (skipped > 0) {
    console.log('\nSkipped:')
    for (const result of results) {
      for (const reason of result.skipReasons) console.log(`  ${result.file.name}: ${reason}`)
      const silent = result.skipped - result.skipReasons.length
      if (silent > 0) console.log(`  ${result.file.name}: ${silent} without a reason (test.skip or test.only)`)
    }
  }
  const failing = results.filter((result) => result.failed > 0)
  if (failing.length > 0) {
    console.log('\nFailed, and how to run each alone:')
    for (const { file } of failing)
      console.log(`  node --import ./dist/scripts/test-report.js ${relative(ROOT, file.path)}`)
  }
  const failed = sum((result) => result.failed)
  console.log(`\n${sum((r) => r.passed)} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return failed === 0
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    stopRunningTests()
    process.exit(130)
  })
}
const files = findTestFiles(process.argv.slice(2)).sort((a, b) => rank(a) - rank(b))
if (files.length === 0) {
  console.log('No test file matches.\n\n0 passed, 1 failed')
  process.exit(1)
}
process.exitCode = summarize(await runAll(files)) ? 0 : 1
