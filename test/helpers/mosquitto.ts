// A real mosquitto: the broker that others run, as cloud in tests and as the other contestant in benchmarks.

import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join } from 'node:path'
import { Program, type ProgramEnd } from './program.js'
import { tempDir } from './temp-dir.js'

/** Full path of an installed program, or null. Debian keeps daemons where an ordinary PATH does not look. */
export function findProgram(name: string): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null
}

/** Why tests with a real mosquitto cannot run here; null when they can. */
export const mosquittoMissing = findProgram('mosquitto') === null ? 'mosquitto is not installed' : null

export interface MosquittoOptions {
  /** Lines added to its configuration, which listens on loopback, lets anyone in and lifts its limits on waiting messages. */
  readonly config?: readonly string[]
  /** Keep messages in this folder across restarts. */
  readonly persistenceDir?: string
  readonly core?: number
}

export class Mosquitto {
  private program: Program | null = null

  private constructor(
    readonly port: number,
    private readonly options: MosquittoOptions,
  ) {}

  static async start(options: MosquittoOptions = {}): Promise<Mosquitto> {
    const mosquitto = new Mosquitto(await freePort(), options)
    await mosquitto.startAgain()
    return mosquitto
  }

  /** A port reserved for a broker that is not running yet: `startAgain` starts it. */
  static async notYetStarted(options: MosquittoOptions = {}): Promise<Mosquitto> {
    return new Mosquitto(await freePort(), options)
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.program?.pid ?? 0
  }

  async startAgain(): Promise<void> {
    const { persistenceDir, core } = this.options
    const path = join(tempDir(), 'mosquitto.conf')
    const lines = [
      `listener ${this.port} 127.0.0.1`,
      'allow_anonymous true',
      'max_inflight_messages 0',
      'max_queued_messages 0',
      'max_queued_bytes 0',
      'log_dest stderr',
      'connection_messages false',
      // As root it would become another user, who cannot write into our folder.
      'user root',
      ...(persistenceDir === undefined ? [] : ['persistence true', `persistence_location ${persistenceDir}/`]),
      ...(this.options.config ?? []),
    ]
    writeFileSync(path, `${lines.join('\n')}\n`)
    this.program = new Program(findProgram('mosquitto') ?? 'mosquitto', ['-c', path], { core })
    await this.program.waitFor(/mosquitto version \S+ running/)
  }

  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<ProgramEnd> {
    if (this.program === null) throw new TypeError('mosquitto was never started')
    return this.program.stop(signal)
  }
}

/** A port nobody listens on now; for programs that cannot be told to choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}
