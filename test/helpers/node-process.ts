// A real `sluice serve` in a process of its own, on ports of its own, that can be killed and started again on the same ports and data.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Program, type ProgramEnd, type ProgramOptions, runProgram } from './program.js'
import { tempDir } from './temp-dir.js'

const SLUICE = join(import.meta.dirname, '..', '..', 'src', 'cli', 'sluice.cjs')
const READY = /^sluice ready .*\n/m

export interface NodeProcessOptions extends ProgramOptions {
  /** Default: a new temporary folder. */
  readonly dataDir?: string
  /** Text of a sluice.toml. Addresses come from the environment and need not be in it. */
  readonly config?: string
}

export class NodeProcess {
  private program: Program | null = null
  mqttPort = 0
  httpPort = 0

  private constructor(
    readonly dataDir: string,
    private readonly options: NodeProcessOptions,
  ) {}

  /** Resolves when the node is ready; @throws Error with its output when it does not get there. */
  static async start(options: NodeProcessOptions = {}): Promise<NodeProcess> {
    const node = new NodeProcess(options.dataDir ?? join(tempDir(), 'data'), options)
    await node.startAgain()
    return node
  }

  get mqttUrl(): string {
    return `mqtt://127.0.0.1:${this.mqttPort}`
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.httpPort}`
  }

  get pid(): number {
    return this.program?.pid ?? 0
  }

  /** What it has written since it was last started. */
  get output(): string {
    return `${this.program?.stdout ?? ''}${this.program?.stderr ?? ''}`
  }

  get ended(): Promise<ProgramEnd> {
    if (this.program === null) throw new TypeError('the node was never started')
    return this.program.ended
  }

  /** Sends a signal and waits for its end. */
  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<ProgramEnd> {
    if (this.program === null) throw new TypeError('the node was never started')
    return this.program.stop(signal)
  }

  /** Starts the node again, on the same ports and data, after it has ended. */
  async startAgain(): Promise<void> {
    const args = ['serve', '--data', this.dataDir]
    if (this.options.config !== undefined) {
      const path = join(tempDir(), 'sluice.toml')
      writeFileSync(path, this.options.config)
      args.push('--config', path)
    }
    this.program = new Program(process.execPath, [SLUICE, ...args], {
      ...this.options,
      env: {
        SLUICE_MQTT_LISTEN: `127.0.0.1:${this.mqttPort}`,
        SLUICE_HTTP_LISTEN: `127.0.0.1:${this.httpPort}`,
        ...this.options.env,
      },
    })
    const [line] = await this.program.waitFor(READY, 'stdout')
    this.mqttPort = portIn(line, 'mqtt')
    this.httpPort = portIn(line, 'http')
  }
}

/** Runs another command of the program to its end. */
export function runSluice(
  args: readonly string[],
  options: ProgramOptions & { readonly input?: string } = {},
): ReturnType<typeof runProgram> {
  return runProgram(process.execPath, [SLUICE, ...args], options)
}

/** Starts another command of the program. */
export function startSluice(args: readonly string[], options: ProgramOptions = {}): Program {
  return new Program(process.execPath, [SLUICE, ...args], options)
}

function portIn(readyLine: string, protocol: 'mqtt' | 'http'): number {
  const port = new RegExp(`${protocol}(?:=|://)\\S*?:(\\d+)`).exec(readyLine)?.[1]
  if (port === undefined) throw new Error(`the ready line names no ${protocol} address: ${readyLine}`)
  return Number(port)
}
