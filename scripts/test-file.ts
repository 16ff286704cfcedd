// One test file as a process of its own, in a process group of its own, so that whatever it leaves behind ends with it. Used by test.ts.
//
// A file counts as failed when a test fails, when it crashes, runs out of time, or runs no test at all. uvu swallows an error thrown in a
// `before` or `after` hook and still exits 0; that shows as fewer passed than there are tests.

import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export interface TestFile {
  /** Path of the source, relative to the repository. */
  readonly name: string
  /** Path of the compiled program. */
  readonly path: string
  readonly limitSeconds: number
  /** No other test file runs beside it. */
  readonly alone: boolean
}

export interface TestFileResult {
  readonly file: TestFile
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** `name: reason` of each skipped test that gave one (test/helpers/skip.ts). */
  readonly skipReasons: readonly string[]
  /** What was wrong with the file as a whole; null when only its tests decide. */
  readonly problem: string | null
  readonly output: string
  readonly durationMs: number
  /** All its tests had passed when its time was up. */
  readonly hungAtItsEnd: boolean
  /** So it was with the run before this one. */
  readonly hungBefore?: true
}

const running = new Set<ChildProcess>()
const REPORT = pathToFileURL(join(import.meta.dirname, 'test-report.js')).href
/** Output kept of one file; the middle of more is cut. */
const MAX_OUTPUT_CHARACTERS = 400_000

/**
 * Runs a compiled test to its end or its time limit. Never rejects. One whose tests have all passed and which then does not end is run once more: Node itself
 * can hang there, while V8's threads wait for the main one and it for them (nodejs/node issue 54918). A test that leaves something open hangs again.
 */
export async function runTestFile(file: TestFile, cwd: string): Promise<TestFileResult> {
  const result = await runOnce(file, cwd)
  if (!result.hungAtItsEnd) return result
  return { ...(await runOnce(file, cwd)), hungBefore: true }
}

function runOnce(file: TestFile, cwd: string): Promise<TestFileResult> {
  return new Promise((resolve) => {
    const startedAt = performance.now()
    let output = ''
    let outOfTime = false
    const child = spawn(process.execPath, ['--import', REPORT, file.path], {
      cwd,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.add(child)
    const collect = (chunk: string) => {
      output += chunk
      if (output.length > 2 * MAX_OUTPUT_CHARACTERS) output = shorten(output)
    }
    child.stdout.setEncoding('utf8').on('data', collect)
    child.stderr.setEncoding('utf8').on('data', collect)
    const timer = setTimeout(() => {
      outOfTime = true
      killGroup(child)
    }, file.limitSeconds * 1000)
    let ended = false
    const end = (code: number | null, signal: NodeJS.Signals | null) => {
      if (ended) return
      ended = true
      clearTimeout(timer)
      running.delete(child)
      const reason = outOfTime ? `stopped: still running after ${file.limitSeconds} s` : endOf(code, signal)
      const result = judge(file, shorten(output), reason, performance.now() - startedAt)
      resolve({ ...result, hungAtItsEnd: outOfTime && result.passed > 0 && result.problem === reason })
    }
    child.on('error', (error) => {
      output += `${error.message}\n`
      end(1, null)
    })
    // 'close' also waits for whoever inherited the pipes, so the group ends first.
    child.on('exit', () => killGroup(child))
    child.on('close', end)
  })
}

/** Kills every test that still runs, with its children. */
export function stopRunningTests(): void {
  for (const child of running) killGroup(child)
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // Nothing of the group is left, which is what was wanted.
  }
}

function endOf(code: number | null, signal: NodeJS.Signals | null): string | null {
  if (signal !== null) return `ended by ${signal}`
  return code === 0 ? null : `exit code ${code}`
}

function judge(file: TestFile, output: string, badEnd: string | null, durationMs: number): TestFileResult {
  const last = (label: string) =>
    Number([...output.matchAll(new RegExp(`^ {2}${label}: +(\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0)
  const total = last('Total')
  const passed = last('Passed')
  const skipped = last('Skipped')
  const skipReasons = [...output.matchAll(/^SKIP (.*)$/gm)].map((match) => match[1])
  const failedTests = total - passed
  let problem: string | null = null
  if (total + skipped === 0) problem = `no test was run${badEnd === null ? '' : ` (${badEnd})`}`
  else if (badEnd !== null && failedTests === 0) problem = badEnd
  else if (badEnd === null && failedTests > 0) problem = 'a before or after hook threw (uvu shows nothing of it)'
  else if (badEnd !== null && badEnd !== 'exit code 1') problem = badEnd
  const failed = Math.max(failedTests, problem === null ? 0 : 1)
  return { file, passed, failed, skipped, skipReasons, problem, output, durationMs, hungAtItsEnd: false }
}

function shorten(output: string): string {
  if (output.length <= MAX_OUTPUT_CHARACTERS) return output
  const half = MAX_OUTPUT_CHARACTERS / 2
  return `${output.slice(0, half)}\n… (${output.length - 2 * half} characters left out) …\n${output.slice(-half)}`
}
