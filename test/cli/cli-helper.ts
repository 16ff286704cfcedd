// Runs a command line inside the test's own process and keeps what it wrote.

import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import type { Commands } from '../../src/cli/commands.js'
import { Interruption } from '../../src/cli/interruption.js'
import { main } from '../../src/cli/main.js'
import { Output } from '../../src/cli/output.js'

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly commands?: Commands
  readonly signals?: FakeSignals
  /** Sees stdout as it is written. */
  readonly onStdout?: (text: string) => void
}

export async function runCli(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const written = { stdout: '', stderr: '' }
  stdout.on('data', (chunk: Buffer) => {
    written.stdout += chunk
    options.onStdout?.(String(chunk))
  })
  stderr.on('data', (chunk: Buffer) => (written.stderr += chunk))
  const code = await main(args, {
    stdout: new Output(stdout),
    stderr: new Output(stderr),
    stdin: Readable.from(options.input === undefined ? [] : [Buffer.from(options.input)]),
    env: options.env ?? {},
    interruption: new Interruption(options.signals ?? new FakeSignals()),
    commands: options.commands,
  })
  return { code, ...written }
}

/** Stands for the signals and the end of a process. */
export class FakeSignals {
  readonly exits: number[] = []
  private readonly listeners: (() => void)[] = []

  on(_event: 'SIGINT' | 'SIGTERM', listener: () => void): void {
    this.listeners.push(listener)
  }

  exit(code: number): void {
    this.exits.push(code)
  }

  /** As if Ctrl-C were pressed. */
  interrupt(): void {
    this.listeners[0]?.()
  }
}

export interface FakeNode {
  readonly url: string
  readonly requests: {
    readonly method: string
    readonly url: string
    readonly headers: IncomingMessage['headers']
    readonly body: string
  }[]
  close(): Promise<void>
}

/** An HTTP server that gives the same answer to everything. */
export async function fakeNode(status: number, body: unknown): Promise<FakeNode> {
  const requests: FakeNode['requests'] = []
  const server = createServer((request, response) => {
    let received = ''
    request.on('data', (chunk: Buffer) => (received += chunk))
    request.on('end', () => {
      requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body: received })
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
