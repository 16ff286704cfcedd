// A program run beside a test, the demo or a benchmark: its output is kept, lines can be waited for, and it does not outlive the process that
// started it.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'

export interface ProgramEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProgramOptions {
  /** Added to the environment of this process; undefined removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
  /** Core to run on, where `taskset` is installed. */
  readonly core?: number
}

const MAX_OUTPUT_CHARACTERS = 1_000_000
const DEFAULT_WAIT_MS = 60_000
const alive = new Set<Program>()
process.once('exit', () => {
  for (const program of alive) program.signal('SIGKILL')
})

export class Program {
  /** Resolves when the program has ended and all its output has been read. */
  readonly ended: Promise<ProgramEnd>
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>
  private readonly watchers = new Set<() => void>()
  private hasEnded = false
  stdout = ''
  stderr = ''

  constructor(
    readonly command: string,
    args: readonly string[],
    options: ProgramOptions = {},
  ) {
    const pinned = options.core === undefined ? [] : ['taskset', '-c', String(options.core)]
    const [program, ...rest] = [...pinned, command, ...args]
    this.child = spawn(program, rest, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    alive.add(this)
    this.child.stdin.on('error', () => {}) // it ended without reading everything; `ended` tells
    const keep = (name: 'stdout' | 'stderr') => (chunk: string) => {
      this[name] = (this[name] + chunk).slice(-MAX_OUTPUT_CHARACTERS)
      for (const watcher of [...this.watchers]) watcher()
    }
    this.child.stdout.setEncoding('utf8').on('data', keep('stdout'))
    this.child.stderr.setEncoding('utf8').on('data', keep('stderr'))
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null) => {
        this.hasEnded = true
        alive.delete(this)
        resolve({ code, signal })
        for (const watcher of [...this.watchers]) watcher()
      }
      this.child.on('error', (error) => {
        this.stderr += error.message
        end(127, null)
      })
      this.child.on('close', end)
    })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get running(): boolean {
    return !this.hasEnded
  }

  /** Standard input of the program. */
  get stdin(): Writable {
    return this.child.stdin
  }

  /** Stops reading its output, as `head` does once it has enough. */
  closeStdout(): void {
    this.child.stdout.destroy()
  }

  /** Waits until what it has written matches; @throws Error with its output when it ends first, or after `timeoutMs`. */
  waitFor(
    pattern: RegExp,
    from: 'stdout' | 'stderr' | 'both' = 'both',
    timeoutMs = DEFAULT_WAIT_MS,
  ): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.watchers.delete(look)
        settle()
      }
      const look = () => {
        const text = from === 'both' ? `${this.stdout}\n${this.stderr}` : this[from]
        const match = pattern.exec(text)
        if (match !== null) finish(() => resolve(match))
        else if (this.hasEnded) finish(() => reject(this.complaint(`ended before it wrote ${pattern}`)))
      }
      const timer = setTimeout(() => {
        finish(() => reject(this.complaint(`did not write ${pattern} within ${timeoutMs} ms`)))
      }, timeoutMs)
      this.watchers.add(look)
      look()
    })
  }

  /** Sends a signal and waits for the end; after `timeoutMs` it is killed. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = DEFAULT_WAIT_MS): Promise<ProgramEnd> {
    this.signal(signal)
    const timer = setTimeout(() => this.signal('SIGKILL'), timeoutMs)
    try {
      return await this.ended
    } finally {
      clearTimeout(timer)
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (!this.hasEnded) this.child.kill(signal)
  }

  private complaint(what: string): Error {
    return new Error(`${this.command} ${what}. Its output:\n${this.stdout}\n${this.stderr}`)
  }
}

/** Runs a program to its end. */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions & { readonly input?: string } = {},
): Promise<ProgramEnd & { readonly stdout: string; readonly stderr: string }> {
  const program = new Program(command, args, options)
  program.stdin.end(options.input ?? '')
  const end = await program.ended
  return { ...end, stdout: program.stdout, stderr: program.stderr }
}
